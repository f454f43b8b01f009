"""The table of contenders: medsynth and what a user would pick instead.

Every contender gets the same images from memory and the whole machine. A setting is asked for as `name:setting`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from contract import Contender, Task, count_parameters, slices
from gan_peers import GAN_SETTINGS, LightweightGan, Stylegan2Pytorch
from peers import PEER_SETTINGS, DenoisingDiffusionPytorch, Monai

from medsynth import config, registry
from medsynth.artifacts.store import to_stored
from medsynth.config import TrainSettings
from medsynth.errors import InputError
from medsynth.judges.features import to_uint8
from medsynth.models.contract import Batch
from medsynth.sample.plan import sample_seed
from medsynth.train.loop import with_base
from medsynth.train.trainer import LOG_EVERY, Trainer


class Medsynth(Contender):
    """This project's own training loop, without checkpoints on disk."""

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        values = {"family": "diffusion"} | setting
        if values["family"] == "diffusion":
            values |= task.medsynth
        training = {"compile": task.compile, "precision": task.precision} | values.get("training", {})
        values["training"] = training | {"images": 10**12, "minutes": task.minutes, "patience": None}  # time decides
        model = config.parse(registry.FAMILIES[values["family"]].load_settings(), values, "medsynth")
        base = model.base(task.store.info.image_shape)
        settings = TrainSettings(seed=task.seed, model=model, base=base.sha256 if base else None)
        self.trainer = Trainer(settings, task.store, task.device, parents=with_base(settings, task.store.info))
        self.settings = model
        self.training_samples = task.store.split("train").samples
        self.batch_size = model.training.effective_batch_size

    @property
    def parameters(self) -> int:
        return count_parameters(self.trainer.model)

    def step(self) -> None:
        before = self.images_seen
        self.trainer.advance()
        self.images_seen = self.trainer.images_seen
        interval = self.settings.training.validate_every
        due = self.images_seen // interval > before // interval
        if due or self.trainer.step % LOG_EVERY == 0:
            self.trainer.record(self.trainer.validate() if due else None)

    def sample(self, count: int, seed: int) -> np.ndarray:
        trainer, sampler = self.trainer, self.settings.sampler
        model = copy.deepcopy(trainer.model)
        model.load_state_dict(trainer.averages.now, strict=False)
        if trainer.averages.early:
            model.guide = copy.deepcopy(model)
            model.guide.load_state_dict(trainer.averages.early, strict=False)
        elif model.keeps_guide:  # judged before there is a weaker model to be guided by
            sampler = sampler.model_copy(update={"autoguidance": 1.0})
        rows = np.random.default_rng(seed).choice(len(self.training_samples), count)
        condition = trainer.spec.conditions.encode(self.training_samples.iloc[rows])
        seeds = [sample_seed(seed, str(number)) for number in range(count)]
        images = [
            model.sample(Batch(condition[part]), seeds[part], sampler).float().cpu()
            for part in slices(count, sampler.batch_size)
        ]
        return to_uint8(to_stored(torch.cat(images).numpy()))


SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "medsynth": {"default": {}, "stylegan": {"family": "stylegan"}},
    **PEER_SETTINGS,
    **GAN_SETTINGS,
}
CLASSES: dict[str, Callable[[Task, dict[str, Any]], Contender]] = {
    "medsynth": Medsynth,
    "monai": Monai,
    "denoising_diffusion_pytorch": DenoisingDiffusionPytorch,
    "lightweight_gan": LightweightGan,
    "stylegan2_pytorch": Stylegan2Pytorch,
}


def build(name: str, task: Task, **changes: Any) -> Contender:
    """An untrained contender.

    Args:
        name: `contender` for its first setting, or `contender:setting`.
        changes: what differs from the setting.
    Raises:
        NotInstalledError: its package is not here.
        InputError: no such contender or setting.
    """
    contender, setting = parse_name(name)
    return CLASSES[contender](task, SETTINGS[contender][setting] | changes)


def parse_name(name: str) -> tuple[str, str]:
    """`contender` or `contender:setting` → both.

    Raises:
        InputError: no such contender or setting.
    """
    contender, _, setting = name.partition(":")
    if contender not in SETTINGS:
        raise InputError(f"unknown contender {contender!r}, expected some of {', '.join(SETTINGS)}")
    setting = setting or next(iter(SETTINGS[contender]))
    if setting not in SETTINGS[contender]:
        raise InputError(f"{contender} has no setting {setting!r}, expected one of {', '.join(SETTINGS[contender])}")
    return contender, setting
