"""The step `reference`."""
