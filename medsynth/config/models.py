"""The unions of the configuration that the registry's families make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from medsynth import registry
from medsynth.config.family import Family, Sampler

if TYPE_CHECKING:
    Model = Family
    AnySampler = Sampler
else:
    FAMILIES = tuple(entry.load_settings() for entry in registry.FAMILIES.values())
    Model = Annotated[Union[FAMILIES], Field(discriminator="family")]  # noqa: UP007 - of a tuple
    SAMPLERS = tuple(family.model_fields["sampler"].annotation for family in FAMILIES)
    AnySampler = Annotated[Union[SAMPLERS], Field(discriminator="family")]  # noqa: UP007
