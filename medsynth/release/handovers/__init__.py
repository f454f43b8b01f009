"""Further forms of a released dataset, one module each: `registry.HANDOVERS`."""
