"""What an image format is: how its files are read and, where they can be, written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from medsynth.images.image import Image


class Decode(Protocol):
    """The content of a file → its image.

    Raises:
        InputError: what is wrong with the content. It quotes no header text, which may identify a person.
    """

    def __call__(self, data: bytes, /) -> Image: ...


class DecodeFrame(Protocol):
    """The content of a file of several images or volumes → one of them, counted from 0.

    Raises:
        InputError: as `Decode`, or there is no such image.
    """

    def __call__(self, data: bytes, frame: int, /) -> Image: ...


class Encode(Protocol):
    """An image of integers → the content of a file.

    Args:
        image: voxels (C, *spatial) uint8 or uint16.
        slope, intercept: an intensity in the modality's unit is voxel * slope + intercept.
        about: what the file says of itself, as text by name.
    """

    def __call__(self, image: Image, slope: float, intercept: float, about: Mapping[str, str]) -> bytes: ...


@dataclass(frozen=True)
class Format:
    """One kind of image file; `registry.FORMATS` has one for each suffix.

    Attributes:
        decode_frame, count_frames: of formats whose files can have several images, or volumes.
        about: the content of a file → all that `encode` let it say of itself, as one text.
    """

    name: str
    decode: Decode
    encode: Encode | None = None
    about: Callable[[bytes], str] | None = None
    decode_frame: DecodeFrame | None = None
    count_frames: Callable[[bytes], int] | None = None
