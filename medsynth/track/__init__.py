"""The step `track`."""
