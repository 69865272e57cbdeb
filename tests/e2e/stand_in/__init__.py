"""A product that does nothing, so that the command which runs it can be tested in seconds."""
