"""Images in memory and on disk: modalities, intensity, geometry, formats."""
