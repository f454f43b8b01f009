"""Image file formats: each reads and writes."""
