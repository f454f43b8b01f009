"""The step `vary`."""
