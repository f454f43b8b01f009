"""The interface of a phantom: a simulated patient whose image, structures and true conditions derive from one seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsynth.errors import InputError
from medsynth.images.modalities import MODALITIES

NOT_APPLICABLE = "n/a"
SMALLEST_SIZE = 16
LEAST_SEVERITY = 0.15  # of a patient drawn with a disease

Conditions = dict[str, str | float]


def draw_conditions(
    rng: np.random.Generator, fields: Mapping[str, Mapping[str, Any]], overrides: Mapping[str, str | float]
) -> Conditions:
    """A value of each field, in their order: every class as likely, numbers even over their range; no lesions.

    Overrides take the place of draws without moving the others. A `normal` patient has severity 0.

    Args:
        fields: as `Phantom.conditions`.
    """
    drawn: Conditions = {}
    for name, field in fields.items():
        if field["kind"] in ("categorical", "ordinal"):
            drawn[name] = field["values"][rng.integers(len(field["values"]))]
        elif field["kind"] == "number":
            low, high = field["range"]
            drawn[name] = float(rng.uniform(LEAST_SEVERITY if name == "severity" else low, high))
    conditions = drawn | dict(overrides)
    if conditions.get("pathology") == "normal":
        conditions["severity"] = 0.0
    return conditions


@dataclass(frozen=True)
class PhantomImage:
    """One rendered patient.

    Attributes:
        voxels: float32 (C, *spatial), the modality's channels, within `Phantom.window`.
        labels: uint8 (*spatial), the numbers of `Phantom.structures`, 0 elsewhere.
        conditions: the true value of every condition column; "n/a" where it does not apply.
        spacing_mm: of a voxel along each spatial axis, the patient along the world's axes; None where there is none.
    """

    voxels: np.ndarray
    labels: np.ndarray
    conditions: Conditions
    spacing_mm: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Phantom:
    """One kind of simulated image.

    Attributes:
        modality: a key of `modalities.MODALITIES`.
        conditions: the fields it knows, written as in the configuration.
        structures: the label map's numbers.
        draw: (seed, size, overrides) to an image; the arguments are already checked.
        window: lowest and highest voxel, in the modality's unit.
    """

    modality: str
    conditions: dict[str, dict[str, Any]]
    structures: dict[str, int]
    draw: Callable[[int, tuple[int, ...], Mapping[str, str | float]], PhantomImage]
    window: tuple[float, float] = (0.0, 1.0)

    def render(self, seed: int, size: tuple[int, ...], **overrides: str | float) -> PhantomImage:
        """Render the patient of a seed; the same arguments give the same bits.

        Args:
            seed: not negative. Another size shows the same patient.
            size: pixels along each spatial axis, 16 or more.
            overrides: true conditions to set, by field name, while everything else of the patient stays:
                the same patient with a worse disease, or ten years later. A lesion is measured, never set.
        Raises:
            InputError: the seed, the size or an override is not one that this phantom can render.
        """
        if seed < 0:
            raise InputError(f"phantom {self.modality}: seed {seed} is negative")
        axes = MODALITIES[self.modality].spatial_dims
        if len(size) != axes or min(size) < SMALLEST_SIZE:
            raise InputError(
                f"phantom {self.modality}: size {list(size)}, expected {axes} axes of {SMALLEST_SIZE} or more"
            )
        for name, value in overrides.items():
            if reason := self._refusal(name, value):
                raise InputError(f"phantom {self.modality}: {name} = {value!r}, expected {reason}")
        return self.draw(seed, size, overrides)

    def _refusal(self, name: str, value: str | float) -> str | None:
        field = self.conditions.get(name, {"kind": "unknown"})
        if field["kind"] in ("categorical", "ordinal"):
            return None if value in field["values"] else f"one of {field['values']}"
        if field["kind"] == "number":
            low, high = field["range"]
            good = isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high
            return None if good else f"a number from {low:g} to {high:g}"
        settable = [key for key, other in self.conditions.items() if other["kind"] != "lesions"]
        return f"one of the fields {settable}"
