"""Simulated patients whose true conditions are known: one module a body part, listed in `registry.PHANTOMS`."""
