"""Conditions: what an image is requested by."""
