"""Weights as safetensors, everything else as JSON; a pickle is never read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import medsynth
from medsynth import config
from medsynth.artifacts.store import StoreInfo
from medsynth.artifacts.tensors import read_tensors, write_tensors
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.machine.devices import memory_format
from medsynth.models.contract import GenerativeModel, ImageSpec, build

VERSION = 2


class ParentInfo(config.Strict):
    """A model that another one began from or learnt from.

    Attributes:
        simulated: every image that it and its own parents learned from.
    """

    weights_sha256: str
    store_sha256: str
    images_seen: int
    simulated: bool


class CheckpointInfo(config.Strict):
    """What stands in model.json: from what a generator was made, how, and the digest of its weights.

    Attributes:
        parents: role → the model that had it.
        images_seen: in training, each as often as it came, by its parents too.
        val_loss: mean score of held-out images; None for a family that has no score.
        overfitted_from: images seen when that score was best, where it was worse from there on; None where it was not.
    """

    version: int
    medsynth: str
    store: StoreInfo
    settings: config.TrainSettings
    parents: dict[str, ParentInfo]
    images_seen: int
    seconds: float
    val_loss: float | None
    overfitted_from: int | None
    weights_sha256: str


def spec_of(store: StoreInfo) -> ImageSpec:
    """What a model must know of a store's images."""
    return ImageSpec(store.channels, store.size, store.condition_schema)


def save_model(
    folder: Path,
    weights: dict[str, Tensor],
    store: StoreInfo,
    settings: config.TrainSettings,
    parents: Mapping[str, ParentInfo],
    images_seen: int,
    seconds: float,
    val_loss: float | None,
    overfitted_from: int | None = None,
) -> CheckpointInfo:
    """Write model.safetensors and, last, the model.json that vouches for it."""
    write_tensors(folder / "model.safetensors", weights, {"store": store.digest})
    info = CheckpointInfo(
        version=VERSION,
        medsynth=medsynth.__version__,
        store=store,
        settings=settings,
        parents=dict(parents),
        images_seen=images_seen + sum(parent.images_seen for parent in parents.values()),
        seconds=round(seconds, 3),
        val_loss=val_loss,
        overfitted_from=overfitted_from,
        weights_sha256=files.sha256(folder / "model.safetensors"),
    )
    files.write_text(folder / "model.json", info.model_dump_json(indent=2) + "\n")
    return info


def read_info(weights: Path) -> CheckpointInfo:
    """Read the model.json beside the weights."""
    path = weights.with_suffix(".json")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected beside {weights.name}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged ({error}); remove it and train again") from None
    info = config.parse_json(CheckpointInfo, text, str(path))
    if info.version != VERSION:
        raise InputError(f"{path}: version {info.version}, expected {VERSION}: train the model again")
    return info


def load_model(weights: Path, device: torch.device) -> tuple[GenerativeModel, CheckpointInfo]:
    """Load a trained model, ready to sample.

    Raises:
        InputError: weights that are missing, a pickle, damaged, or not those that model.json names.
    """
    tensors, _ = read_tensors(weights)
    info = read_info(weights)
    digest = files.sha256(weights)
    if digest != info.weights_sha256:
        raise InputError(
            f"{weights}: sha256 is {digest[:12]}, model.json names {info.weights_sha256[:12]}; "
            "remove both and train again"
        )
    settings, spec = info.settings, spec_of(info.store)
    model = build(settings.model, spec, settings.parents)
    expected = set(model.sampled_state())
    if any(name.startswith("guide.") for name in tensors):
        model.guide = build(settings.model, spec, settings.parents)
        expected |= {f"guide.{name}" for name in model.guide.sampled_state()}
    load_weights(model, tensors, weights, expected)
    model.to(device=device, memory_format=memory_format(len(info.store.size)))
    return model.eval().requires_grad_(False), info


def load_parent(
    weights: Path, role: config.Role, store: StoreInfo, device: torch.device
) -> tuple[GenerativeModel, ParentInfo]:
    """Load a model for another one to begin from or learn from.

    Raises:
        InputError: as `load_model`; it makes images of another kind, or learnt from another store where it may not.
    """
    model, info = load_model(weights, device)
    if info.settings.model.family not in role.families:
        raise InputError(f"{weights}: is a {info.settings.model.family} model, expected {' or '.join(role.families)}")
    got, expected = info.store, store
    if not role.elsewhere:
        refuse_other_store(weights, got, expected)
    if len(got.size) != len(expected.size):
        raise InputError(f"{weights}: makes images of {len(got.size)} axes, expected {len(expected.size)}")
    return model, ParentInfo(
        weights_sha256=info.weights_sha256,
        store_sha256=got.digest,
        images_seen=info.images_seen,
        simulated=got.simulated and all(parent.simulated for parent in info.parents.values()),
    )


def refuse_other_store(weights: Path, learned: StoreInfo, store: StoreInfo) -> None:
    """Refuse weights that were trained on other data.

    Raises:
        InputError: the two stores differ.
    """
    if learned.digest != store.digest:
        raise InputError(
            f"{weights}: trained on a store with digest {learned.digest[:12]}, this one has {store.digest[:12]}"
        )


def load_weights(model: GenerativeModel, tensors: dict[str, Tensor], path: Path, expected: set[str]) -> None:
    """Put tensors into a model, or say which do not fit.

    Args:
        expected: the names that there must be.
    """
    try:
        if strange := set(tensors) ^ expected:
            raise InputError(f"{path}: weights of another model configuration ({min(strange)} is on one side alone)")
        model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise InputError(f"{path}: weights of another model configuration ({first})") from None


def difference(got: Any, expected: Any, key: str) -> str:
    """The first place where two nested records differ, as one phrase."""
    if isinstance(got, dict) and isinstance(expected, dict):
        for name in expected:
            if got.get(name) != expected[name]:
                return difference(got.get(name), expected[name], f"{key}.{name}")
    return f"{key}: it has {got!r}, expected {expected!r}"
