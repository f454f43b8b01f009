"""The step `evaluate`."""
