"""How a trained model is sampled: sampler.json, written by the step `tune`, read by whatever samples or distils it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsynth.config import Sampler, Strict, parse_json
from medsynth.config.models import AnySampler
from medsynth.disk import files
from medsynth.errors import InputError


class Tuned(Strict):
    """The sampler of one model, and how it was chosen.

    Attributes:
        weights_sha256: of the model that it was chosen for.
        tried: settings that were compared with the configured one; 0 where the configured one is taken as it is.
        images: drawn on validation conditions with each of them.
        changed: the keys that are not as configured, with their values.
        note: what speaks for the choice, or why nothing was tried.
    """

    sampler: AnySampler
    weights_sha256: str
    tried: int
    images: int
    changed: dict[str, Any]
    note: str

    def write(self, path: Path) -> None:
        files.write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Tuned:
        """Read sampler.json.

        Raises:
            InputError: it is missing or damaged.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(f"{path}: no such file, expected the sampler.json that tune wrote") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: damaged ({error}); remove it and tune again") from None
        return parse_json(cls, text, str(path))

    def sampler_of(self, weights_sha256: str, family: str, path: Path) -> Sampler:
        """The sampler, for the model that it was chosen for.

        Raises:
            InputError: it was chosen for other weights, or is of another family.
        """
        if self.sampler.family != family:
            raise InputError(
                f"{path}: is the sampler of a {self.sampler.family} model, expected that of a {family} model"
            )
        if self.weights_sha256 != weights_sha256:
            raise InputError(
                f"{path}: chosen for weights with sha256 {self.weights_sha256[:12]}, these have {weights_sha256[:12]}"
            )
        return self.sampler
