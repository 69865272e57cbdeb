"""Stand-in providers that are not the bottleneck."""
