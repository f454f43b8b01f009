"""The judges: trained on real images, or fixed, before any generator exists."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from medsynth import registry
from medsynth.config.section import Count, Strict, one_of, refuse_unknown

# By the number of spatial axes: the one by default, and the one that stands in where a choice must not see the first.
EXTRACTOR_PAIRS = {
    2: ("efficientnet_lite0", "efficientnet_lite1"),
    3: ("efficientnet_lite0_planes", "efficientnet_lite1_planes"),
}
EXTRACTORS = {dims: pair[0] for dims, pair in EXTRACTOR_PAIRS.items()}


def other_extractor(extractor: str, spatial_dims: int) -> str:
    """The extractor by which a sampler is chosen: another one than distances are measured in."""
    first, second = EXTRACTOR_PAIRS[spatial_dims]
    return first if extractor == second else second


class OfImages:
    """An extractor that looks at images."""

    spatial_dims = 2


class OfVolumes:
    """An extractor that looks at volumes."""

    spatial_dims = 3


class Judges(Strict):
    """The reader, which reads conditions from images, and the feature extractor."""

    reader_epochs: Count = 30
    """Training epochs of each reader, which reads conditions from images and sees real images only."""
    readers: Count = 2
    """Readers of different seeds whose readings are averaged; one more is trained for `tune` alone."""
    planted_copies: Count = 60
    """Copies of training images, of each kind of change, by which the search for copies is measured; as many others
    set its limits.
    """
    extractor: Annotated[str, one_of(registry.EXTRACTORS)] | None = None
    """The network whose features distances are measured in; null takes the one for the images' axes. `tune`
    looks through another one."""

    @field_validator("extractor")
    @classmethod
    def _exists(cls, extractor: str | None) -> str | None:
        refuse_unknown("extractor", [extractor] if extractor else [], registry.EXTRACTORS)
        return extractor

    def extractor_of(self, size: tuple[int, ...]) -> str:
        """Name of the extractor for images of this spatial size.

        Raises:
            ValueError: the configured one is for another number of axes.
        """
        name = self.extractor or EXTRACTORS[len(size)]
        dims = registry.EXTRACTORS[name].load_settings().spatial_dims  # type: ignore[attr-defined]
        if dims != len(size):
            raise ValueError(f"judges.extractor: {name} looks at images of {dims} axes, these have {len(size)}")
        return name
