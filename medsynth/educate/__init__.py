"""The step `educate`."""
