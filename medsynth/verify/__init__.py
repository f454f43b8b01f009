"""The step `verify`: whether a released folder is whole, marked and true to its own tables."""
