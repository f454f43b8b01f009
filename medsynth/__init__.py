"""medsynth: conditional generative models for medical images."""

__version__ = "0.1.0"
