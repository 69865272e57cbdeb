"""Who is measured, and how each is filled and started."""
