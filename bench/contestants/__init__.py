"""Says which contestants are measured, and how each is filled and started."""
