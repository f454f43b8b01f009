"""The step `release`."""
