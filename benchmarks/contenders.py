"""What is compared: medsynth and what a user would pick instead, each a network, its training step and its sampler.

Every contender gets the same images from memory, the whole machine and, of the settings below, its best one. A setting
is asked for as `name:setting`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ddim
from medsynth import config
from medsynth.batches import Examples, training_order
from medsynth.conditions import GIVEN
from medsynth.config import TrainSettings
from medsynth.devices import memory_format
from medsynth.errors import InputError
from medsynth.evaluation.features import to_uint8
from medsynth.sampling import sample_seed
from medsynth.store import Store, to_stored
from medsynth.training import LOG_EVERY, Trainer

SAMPLED_TOGETHER = 64


class NotInstalled(InputError):
    """A peer whose package is not here."""


@dataclass(frozen=True)
class Task:
    """What every contender is given.

    Attributes:
        minutes: the training's budget, for a schedule that needs one.
        medsynth: keys of `config.Diffusion` that differ from its defaults.
        compile: run the networks through torch.compile.
    """

    store: Store
    device: torch.device
    seed: int
    minutes: float
    medsynth: dict[str, Any]
    compile: bool = False


class Contender(ABC):
    """A model in training."""

    batch_size: int
    images_seen = 0

    @abstractmethod
    def step(self) -> None:
        """One turn of its training loop, with all that the loop does."""

    @abstractmethod
    def sample(self, count: int, seed: int) -> np.ndarray:
        """Images of the model as its users would sample it now: uint8 (count, H, W) or (count, H, W, 3)."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers are trained."""


class Medsynth(Contender):
    """This project's own training loop, without checkpoints on disk."""

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        values = {"family": "diffusion"} | setting | task.medsynth
        training = {"compile": task.compile} | values.get("training", {})
        values["training"] = training | {"images": 10**12, "minutes": task.minutes, "patience": None}  # time decides
        model = config.parse(config.Diffusion, values, "medsynth")
        self.trainer = Trainer(TrainSettings(seed=task.seed, model=model), task.store, task.device)
        self.settings = model
        self.training_samples = task.store.split("train").samples
        self.batch_size = model.training.effective_batch_size

    @property
    def parameters(self) -> int:
        return count_parameters(self.trainer.model)

    def step(self) -> None:
        before = self.images_seen
        means = self.trainer.advance()
        self.images_seen = self.trainer.images_seen
        interval = self.settings.training.validate_every
        due = self.images_seen // interval > before // interval
        if due or self.trainer.step % LOG_EVERY == 0:
            self.trainer.record(means, self.trainer.validate() if due else None)

    def sample(self, count: int, seed: int) -> np.ndarray:
        trainer = self.trainer
        trained = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        trainer.model.load_state_dict(trainer.ema)
        rows = np.random.default_rng(seed).choice(len(self.training_samples), count)
        condition = trainer.spec.conditions.encode(self.training_samples.iloc[rows])
        seeds = [sample_seed(seed, str(number)) for number in range(count)]
        images = [
            trainer.model.sample(condition[part], seeds[part], self.settings.sampler).float().cpu()
            for part in batches(count, self.settings.sampler.batch_size)
        ]
        trainer.model.load_state_dict(trained)
        return to_uint8(to_stored(torch.cat(images).numpy()))


class Peer(Contender):
    """A plain training loop around a peer's network: the same order of images, Adam, its own averaging."""

    network: nn.Module

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        torch.manual_seed(task.seed)
        self.task, self.setting = task, setting
        self.batch_size = setting["batch_size"]
        self.examples = Examples(task.store.split("train"), task.device)
        self.layout = memory_format(2) if setting["channels_last"] else torch.contiguous_format

    def prepare(self, network: nn.Module) -> nn.Module:
        """Put a network on the device and make its optimiser."""
        self.network = network.to(device=self.task.device, memory_format=self.layout)
        self.optimiser = torch.optim.Adam(
            network.parameters(), self.setting["learning_rate"], betas=self.setting.get("betas", (0.9, 0.999)), fused=True
        )
        if self.task.compile:
            self.network.compile(dynamic=False)
        return self.network

    @property
    def parameters(self) -> int:
        return count_parameters(self.network)

    def step(self) -> None:
        rows = training_order(self.task.seed, len(self.examples), self.images_seen, self.batch_size)
        images, condition = self.examples.gather(rows)
        device = self.task.device.type
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = self.loss(images.contiguous(memory_format=self.layout), condition)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.images_seen += self.batch_size
        self.average()

    @abstractmethod
    def loss(self, images: Tensor, condition: Any) -> Tensor:
        """The mean loss of images (N, C, H, W) in [-1, 1]."""

    @abstractmethod
    def average(self) -> None:
        """Update the averaged weights."""


class Monai(Peer):
    """MONAI's DiffusionModelUNet and DDPMScheduler, trained as in its 2D DDPM tutorial, with classes as conditions.

    The tutorial averages no weights; an average with a warm-up, min(decay, (1 + n) / (10 + n)), helps it here.
    """

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        super().__init__(task, setting)
        from monai.networks.nets import DiffusionModelUNet
        from monai.networks.schedulers import DDPMScheduler

        info = task.store.info
        self.classes = len(info.conditions[info.label].values)
        self.noise_schedule = DDPMScheduler(num_train_timesteps=1000, schedule=setting["noise_schedule"])
        network = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=info.channels,
            out_channels=info.channels,
            num_class_embeds=self.classes + 1,  # the last one is for a missing label
            **setting["network"],
        )
        self.averaged = {name: tensor.clone() for name, tensor in self.prepare(network).state_dict().items()}
        self.updates = 0

    def loss(self, images: Tensor, condition: Any) -> Tensor:
        noise = torch.randn_like(images)
        times = torch.randint(0, 1000, (len(images),), device=images.device)
        noisy = self.noise_schedule.add_noise(images, noise, times)
        return F.mse_loss(self.network(noisy, times, class_labels=self._classes(condition)).float(), noise)

    def _classes(self, condition: Any) -> Tensor:
        given = condition.states[:, 0] == GIVEN
        return torch.where(given, condition.values[:, 0].long(), self.classes)

    @torch.no_grad()
    def average(self) -> None:
        self.updates += 1
        keep = min(self.setting["ema"], (1 + self.updates) / (10 + self.updates))
        current = self.network.state_dict()
        torch._foreach_lerp_(list(self.averaged.values()), [current[name] for name in self.averaged], 1 - keep)

    @torch.no_grad()
    def sample(self, count: int, seed: int) -> np.ndarray:
        trained = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged)
        self.network.eval()
        rows = torch.from_numpy(np.random.default_rng(seed).choice(len(self.examples), count))
        classes = self._classes(self.examples.condition[rows.to(self.task.device)])
        noise = torch.randn(count, *self.task.store.info.image_shape, generator=torch.Generator().manual_seed(seed))
        images = []
        for part in batches(count, SAMPLED_TOGETHER):
            labels = classes[part]
            start = noise[part].to(self.task.device, memory_format=self.layout)
            images.append(
                ddim.sample(
                    lambda x, t, labels=labels: self.network(x, t, class_labels=labels),
                    start,
                    self.noise_schedule.alphas_cumprod,
                    self.setting["steps"],
                    self.setting["solver"],
                ).cpu()
            )
        self.network.load_state_dict(trained)
        self.network.train()
        return to_uint8(to_stored(torch.cat(images).clamp(-1, 1).numpy()))


class DenoisingDiffusionPytorch(Peer):
    """denoising-diffusion-pytorch's Unet and GaussianDiffusion: its loss, its EMA and its DDIM, as its Trainer has them."""

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        super().__init__(task, setting)
        unet, gaussian_diffusion, ema = import_denoising_diffusion_pytorch()
        info = task.store.info
        network = unet(channels=info.channels, flash_attn=task.device.type == "cuda", **setting["network"])
        # Images come in [-1, 1] already, hence no auto_normalize.
        diffusion = gaussian_diffusion(
            network, image_size=info.size, sampling_timesteps=setting["steps"], auto_normalize=False
        )
        self.diffusion = self.prepare(diffusion)
        self.ema = ema(diffusion, beta=0.995, update_every=10).to(task.device)

    def loss(self, images: Tensor, condition: Any) -> Tensor:
        return self.diffusion(images)

    def average(self) -> None:
        self.ema.update()

    def sample(self, count: int, seed: int) -> np.ndarray:
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        self.ema.ema_model.eval()
        images = [
            self.ema.ema_model.sample(batch_size=part.stop - part.start).float().cpu()
            for part in batches(count, SAMPLED_TOGETHER)
        ]
        torch.set_rng_state(state)
        return to_uint8(to_stored(torch.cat(images).clamp(-1, 1).numpy()))


def import_denoising_diffusion_pytorch() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Its Unet, GaussianDiffusion and EMA.

    Raises:
        NotInstalled: it, or what it needs, is not here.
    """
    try:
        try:
            import denoising_diffusion_pytorch as package
        except RuntimeError:
            # A torchvision built for CUDA cannot load its operators beside a torch for CPU, and fails as it declares
            # what they return. The peer reads image folders with it, which is not asked for here.
            library = torch.library.Library("torchvision", "FRAGMENT")
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import denoising_diffusion_pytorch as package
        from ema_pytorch import EMA
    except ImportError as error:
        raise NotInstalled(f"{error}: pip install 'medsynth[bench]'") from None
    return package.Unet, package.GaussianDiffusion, EMA


MONAI_COMMON = {
    "noise_schedule": "linear_beta",
    "channels_last": True,
    "ema": 0.995,
    "solver": "ddim",
    "steps": 50,
}
MONAI_SMALL = {
    "channels": (32, 64, 64),
    "attention_levels": (False, False, True),
    "num_res_blocks": 1,
    "num_head_channels": 32,
    "norm_num_groups": 16,
}
DDP_COMMON = {"channels_last": False, "betas": (0.9, 0.99), "steps": 50}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "medsynth": {"default": {}},
    "monai": {
        "small": MONAI_COMMON | {"network": MONAI_SMALL, "batch_size": 32, "learning_rate": 1e-3},
        "small_batch8": MONAI_COMMON | {"network": MONAI_SMALL, "batch_size": 8, "learning_rate": 1e-3},
        "small_cosine": MONAI_COMMON
        | {"network": MONAI_SMALL, "batch_size": 8, "learning_rate": 1e-3, "noise_schedule": "cosine"},
        "deep": MONAI_COMMON
        | {
            "network": MONAI_SMALL
            | {"channels": (16, 32, 64, 128), "attention_levels": (False, False, False, True)},
            "batch_size": 16,
            "learning_rate": 1e-3,
        },
        # MONAI/tutorials, generation/2d_ddpm: one residual block a level, attention at the two coarser ones.
        "tutorial": MONAI_COMMON
        | {
            "network": {
                "channels": (128, 256, 256),
                "attention_levels": (False, True, True),
                "num_res_blocks": 1,
                "num_head_channels": 256,
            },
            "batch_size": 32,
            "learning_rate": 2.5e-5,
        },
    },
    "denoising_diffusion_pytorch": {
        "small": DDP_COMMON | {"network": {"dim": 16}, "batch_size": 32, "learning_rate": 1e-3},
        "small_batch8": DDP_COMMON | {"network": {"dim": 16}, "batch_size": 8, "learning_rate": 1e-3},
        "shallow": DDP_COMMON
        | {"network": {"dim": 16, "dim_mults": (1, 2, 4)}, "batch_size": 16, "learning_rate": 1e-3},
        # The README's first example: dim 64, four levels.
        "readme": DDP_COMMON | {"network": {"dim": 64}, "batch_size": 32, "learning_rate": 8e-5},
    },
}
CLASSES: dict[str, Callable[[Task, dict[str, Any]], Contender]] = {
    "medsynth": Medsynth,
    "monai": Monai,
    "denoising_diffusion_pytorch": DenoisingDiffusionPytorch,
}


def build(name: str, task: Task, **changes: Any) -> Contender:
    """An untrained contender.

    Args:
        name: `contender` for its first setting, or `contender:setting`.
        changes: what differs from the setting.
    Raises:
        NotInstalled: its package is not here.
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


def batches(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
