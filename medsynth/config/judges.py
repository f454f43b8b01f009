"""What judges images, fixed by real ones before a model exists."""

from __future__ import annotations

from pydantic import field_validator

from medsynth import registry
from medsynth.config.section import Count, Strict, refuse_unknown

EXTRACTORS = {2: "efficientnet_lite0", 3: "efficientnet_lite0_planes"}  # by the number of spatial axes


class Judges(Strict):
    """The reader that learns conditions from real images, and the extractor that features are taken by."""

    reader_epochs: Count = 30
    extractor: str | None = None

    @field_validator("extractor")
    @classmethod
    def _exists(cls, extractor: str | None) -> str | None:
        refuse_unknown("extractor", [extractor] if extractor else [], registry.EXTRACTORS)
        return extractor

    def extractor_of(self, size: tuple[int, ...]) -> str:
        """Its name for images of this spatial size."""
        return self.extractor or EXTRACTORS[len(size)]
