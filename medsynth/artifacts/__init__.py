"""Data that one step writes and other steps read."""
