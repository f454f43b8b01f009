"""Generative models and their parts."""
