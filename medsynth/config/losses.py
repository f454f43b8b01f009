"""The terms beside a model's own loss: what each has to be told, by its name in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union

from pydantic import BeforeValidator, StringConstraints, TypeAdapter, model_validator

from medsynth import registry
from medsynth.config.section import Positive, Strict, one_of, refuse_unknown
from medsynth.disk import files


class Loss(Strict):
    """A term beside the model's own loss."""

    needs: ClassVar[str | None] = None  # the condition kind that a dataset must have

    weight: Positive
    """Its weight; the model's own loss has weight 1."""
    below: Positive | None = None
    """Noise level below which it acts, null for all. At high noise the denoised image is a mean, and blurred."""


class Perceptual(Loss):
    """The distance in features of a small network, which learns from the training split before the first step."""

    weights: str | None = None
    """A safetensors file of a feature network in place of one that is learnt: levels of 3 x 3 convolutions with ReLU,
    each half as fine as the one before, as tensors `<level>.<convolution>.weight` and `.bias`, counted from 0.
    """
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Digest of `weights`; what the file has when the configuration is read if left out."""

    @model_validator(mode="before")
    @classmethod
    def _has_its_digest(cls, section: Any) -> Any:
        if not isinstance(section, dict) or not isinstance(path := section.get("weights"), str):
            if isinstance(section, dict) and section.get("sha256") is not None:
                raise ValueError("sha256 is of weights, and there are none")
            return section
        if section.get("sha256") is not None:
            return section
        try:
            return section | {"sha256": files.sha256(Path(path))}
        except OSError as error:
            raise ValueError(f"weights {path}: cannot be read ({error.strerror}), expected safetensors") from None


class Anatomical(Loss):
    """1 - soft Dice between what a small segmenter finds and the mask asked for.

    The segmenter learns from the masks of the training split before the first step.
    """

    needs: ClassVar = "mask"


def _settings_of(name: str) -> type[Loss]:
    entry = registry.LOSSES[name]
    return entry.load_settings() if entry.settings else Loss


def _by_name(losses: Any) -> Any:
    """Check each loss by the class of its name; an error then names its key."""
    if not isinstance(losses, dict) or not all(isinstance(name, str) for name in losses):
        return losses
    refuse_unknown("loss", losses, registry.LOSSES)
    found: dict[str, Loss] = {}
    for name, value in losses.items():
        of_its_class: Any = dict[str, _settings_of(name)]  # type: ignore[misc]
        checked: TypeAdapter[dict[str, Loss]] = TypeAdapter(of_its_class)
        found |= checked.validate_python({name: value})
    return found


if TYPE_CHECKING:
    Losses = dict[str, Loss]
else:
    _all = Union[tuple(dict.fromkeys([Loss, *map(_settings_of, registry.LOSSES)]))]  # noqa: UP007 - of a tuple
    Losses = Annotated[dict[Annotated[str, one_of(registry.LOSSES)], _all], BeforeValidator(_by_name)]
