"""The command `insert`."""
