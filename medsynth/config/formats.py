"""Which images a released file can hold: the torch-free side of `registry.RELEASE_FORMATS`."""

from __future__ import annotations


class Png:
    """8 or 16 bits, grayscale or RGB, an image a file."""

    @staticmethod
    def misfit(image_shape: tuple[int, ...]) -> str | None:
        """Why it cannot hold images (C, *spatial), None where it can."""
        _, *spatial = image_shape
        return None if len(spatial) == 2 else f"holds images of 2 axes, these have {len(spatial)}"


class Nifti:
    """A volume a file, or an image as a single slice; its affine in mm and its scale to the modality's unit."""

    @staticmethod
    def misfit(image_shape: tuple[int, ...]) -> str | None:
        """Why it cannot hold images (C, *spatial), None where it can."""
        channels, *_ = image_shape
        return None if channels == 1 else f"holds one channel, these have {channels}"


DEFAULTS = {2: ("png",), 3: ("nifti",)}  # by the number of spatial axes
