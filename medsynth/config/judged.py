"""What the step `gates` is told, which depends on the steps that run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medsynth.config.gates import OF_STEPS
from medsynth.config.plans import Oversample
from medsynth.config.section import refuse_unknown
from medsynth.config.steps import GatesSettings

if TYPE_CHECKING:
    from medsynth.config import Config


def judged(config: Config, oversample: Oversample | None) -> GatesSettings:
    """The gates and what is measured for them; a gate of a step that does not run is left out."""
    running = [step for step in OF_STEPS if getattr(config, step) is not None]
    measured = (*config.evaluation.metrics, *(name for step in running for name in OF_STEPS[step]))
    targeted = config.gates.utility.targeted
    return GatesSettings(
        gates=config.gates.by_name(running), measured=measured, targeted=targeted, oversample=oversample
    )


def refuse_unknown_target(config: Config) -> None:
    """Refuse a targeted class that no dataset has.

    Raises:
        ValueError: names the class, and the nearest one that there is.
    """
    targeted = config.gates.utility.targeted
    fields = [dataset.conditions[dataset.label] for dataset in config.datasets.values()]
    classes = [value for field in fields for value in field.values]  # type: ignore[attr-defined]  # a label has some
    refuse_unknown("class in gates.utility.targeted", [targeted] if targeted else [], dict.fromkeys(classes))
