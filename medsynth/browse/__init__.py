"""The step `browse`."""
