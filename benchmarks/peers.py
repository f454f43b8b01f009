"""What a user would pick instead of medsynth, each trained by a plain loop, and the settings that are worth a try."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import ddim
import numpy as np
import torch
import torch.nn.functional as F
from contract import Contender, NotInstalledError, Task, count_parameters, slices
from torch import Tensor, nn

from medsynth.artifacts.store import to_stored
from medsynth.conditions.schema import GIVEN, Condition
from medsynth.judges.features import to_uint8
from medsynth.machine.devices import autocast_dtype, memory_format
from medsynth.train.batches import Examples
from medsynth.train.order import TrainingOrder

SAMPLED_TOGETHER = 64


class Peer(Contender):
    """A plain training loop around a peer's network: the same order of images, Adam, its own averaging."""

    network: nn.Module

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        torch.manual_seed(task.seed)
        self.task, self.setting = task, setting
        self.batch_size = setting["batch_size"]
        train = task.store.split("train")
        self.examples = Examples(train, task.device)
        self.order = TrainingOrder(task.seed, train.label_values())
        dims = len(task.store.info.size)
        self.layout = memory_format(dims) if setting["channels_last"] else torch.contiguous_format

    def prepare(self, network: nn.Module) -> nn.Module:
        """Put a network on the device and make its optimiser."""
        self.network = network.to(device=self.task.device, memory_format=self.layout)
        self.optimiser = torch.optim.Adam(
            network.parameters(),
            self.setting["learning_rate"],
            betas=self.setting.get("betas", (0.9, 0.999)),
            fused=True,
        )
        if self.task.compile:
            self.network.compile(dynamic=False)
        return self.network

    @property
    def parameters(self) -> int:
        return count_parameters(self.network)

    def step(self) -> None:
        batch = self.examples.gather(self.order.rows(self.images_seen, self.batch_size))
        with self.autocast():
            loss = self.loss(batch.image.contiguous(memory_format=self.layout), batch.condition)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.images_seen += self.batch_size
        self.average()

    def autocast(self) -> torch.autocast:
        """The number format of its networks, in training and in sampling."""
        dtype = autocast_dtype(self.task.device, self.task.precision)
        return torch.autocast(self.task.device.type, dtype, enabled=dtype is not torch.float32)

    @abstractmethod
    def loss(self, images: Tensor, condition: Condition) -> Tensor:
        """The mean loss of images (N, C, *spatial) in [-1, 1]."""

    @abstractmethod
    def average(self) -> None:
        """Update the averaged weights."""


class Monai(Peer):
    """MONAI's DiffusionModelUNet and DDPMScheduler, trained as in its DDPM tutorials, with classes as conditions.

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
            spatial_dims=len(info.size),
            in_channels=info.channels,
            out_channels=info.channels,
            num_class_embeds=self.classes + 1,  # the last one is for a missing label
            **setting["network"],
        )
        self.averaged = {name: tensor.clone() for name, tensor in self.prepare(network).state_dict().items()}
        self.updates = 0

    def loss(self, images: Tensor, condition: Condition) -> Tensor:
        noise = torch.randn_like(images)
        times = torch.randint(0, 1000, (len(images),), device=images.device)
        noisy = self.noise_schedule.add_noise(images, noise, times)
        return F.mse_loss(self.network(noisy, times, class_labels=self._classes(condition)).float(), noise)

    def _classes(self, condition: Condition) -> Tensor:
        given = condition.states[:, 0] == GIVEN
        return torch.where(given, condition.values[:, 0].long(), self.classes)

    def _noise_of(self, classes: Tensor, x: Tensor, times: Tensor) -> Tensor:
        with self.autocast():
            return self.network(x, times, class_labels=classes).float()

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
        for part in slices(count, SAMPLED_TOGETHER):
            start = noise[part].to(self.task.device, memory_format=self.layout)
            noise_of = partial(self._noise_of, classes[part])
            schedule = self.noise_schedule.alphas_cumprod
            images.append(ddim.sample(noise_of, start, schedule, self.setting["steps"], self.setting["solver"]).cpu())
        self.network.load_state_dict(trained)
        self.network.train()
        return to_uint8(to_stored(torch.cat(images).clamp(-1, 1).numpy()))


class DenoisingDiffusionPytorch(Peer):
    """denoising-diffusion-pytorch's Unet and GaussianDiffusion, with its loss, EMA and DDIM as in its Trainer."""

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        super().__init__(task, setting)
        package = import_peer("denoising_diffusion_pytorch")
        info = task.store.info
        network = package.Unet(channels=info.channels, flash_attn=task.device.type == "cuda", **setting["network"])
        # Images come in [-1, 1] already, hence no auto_normalize.
        diffusion = package.GaussianDiffusion(
            network, image_size=info.size, sampling_timesteps=setting["steps"], auto_normalize=False
        )
        self.diffusion = self.prepare(diffusion)
        # Its Trainer updates every 10 steps, which at some 100 steps in all would judge weights of up to 9 steps ago.
        self.ema = import_peer("ema_pytorch").EMA(diffusion, beta=0.995, update_every=1).to(task.device)

    def loss(self, images: Tensor, condition: Condition) -> Tensor:
        return self.diffusion(images)

    def average(self) -> None:
        self.ema.update()

    def sample(self, count: int, seed: int) -> np.ndarray:
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        self.ema.ema_model.eval()
        with self.autocast():
            images = [
                self.ema.ema_model.sample(batch_size=part.stop - part.start).float().cpu()
                for part in slices(count, SAMPLED_TOGETHER)
            ]
        torch.set_rng_state(state)
        return to_uint8(to_stored(torch.cat(images).clamp(-1, 1).numpy()))


def import_peer(name: str, installed_by: str = "pip install 'medsynth[bench]'") -> ModuleType:
    """
    Raises:
        NotInstalledError: it, or what it needs, is not here.
    """
    try:
        try:
            return import_module(name)
        except RuntimeError:
            # A torchvision built for CUDA cannot load its operators beside a torch for CPU, and fails as it declares
            # what they return. Peers read image folders with it, which is not asked for here.
            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            return import_module(name)
    except ImportError as error:
        raise NotInstalledError(f"{error}: {installed_by}") from None


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
PEER_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "monai": {
        "deep": MONAI_COMMON
        | {
            "network": MONAI_SMALL | {"channels": (16, 32, 64, 128), "attention_levels": (False, False, False, True)},
            "batch_size": 16,
            "learning_rate": 1e-3,
        },
        "small": MONAI_COMMON | {"network": MONAI_SMALL, "batch_size": 32, "learning_rate": 1e-3},
        "small_batch8": MONAI_COMMON | {"network": MONAI_SMALL, "batch_size": 8, "learning_rate": 1e-3},
        "small_cosine": MONAI_COMMON
        | {"network": MONAI_SMALL, "batch_size": 8, "learning_rate": 1e-3, "noise_schedule": "cosine"},
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
        # MONAI/tutorials, generation/3d_ddpm, a quarter as wide: two residual blocks, attention at the coarsest.
        "tutorial_3d": MONAI_COMMON
        | {
            "network": {
                "channels": (64, 64, 128),
                "attention_levels": (False, False, True),
                "num_res_blocks": 2,
                "num_head_channels": (0, 0, 64),
            },
            "batch_size": 2,
            "learning_rate": 5e-5,
        },
    },
    "denoising_diffusion_pytorch": {
        "small": DDP_COMMON | {"network": {"dim": 16}, "batch_size": 32, "learning_rate": 1e-3},
        "small_batch8": DDP_COMMON | {"network": {"dim": 16}, "batch_size": 8, "learning_rate": 1e-3},
        "shallow": DDP_COMMON
        | {"network": {"dim": 16, "dim_mults": (1, 2, 4)}, "batch_size": 16, "learning_rate": 1e-3},
        "narrow": DDP_COMMON | {"network": {"dim": 8}, "batch_size": 16, "learning_rate": 1e-3},
        # The README's first example: dim 64, four levels.
        "readme": DDP_COMMON | {"network": {"dim": 64}, "batch_size": 32, "learning_rate": 8e-5},
    },
}
