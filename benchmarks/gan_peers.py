"""GANs that a user would pick instead of medsynth's, by their own networks and losses: their trainers ask for CUDA.

Both know no classes. Both train in float32, as by default: in bfloat16 the gradients of convolutions of 4 x 4 pixels
take ten times as long on a CPU (oneDNN in torch 2.13).
"""

from __future__ import annotations

import copy
import random
import sys
from abc import abstractmethod
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from contract import Contender, Task, count_parameters, slices
from peers import import_peer
from torch import Tensor, nn

from medsynth.errors import InputError
from medsynth.judges.features import to_uint8
from medsynth.train.batches import Examples
from medsynth.train.order import TrainingOrder

SAMPLED_TOGETHER = 64
PENALTY_EVERY, PENALTY = 4, 10.0  # steps, weight: as in their trainers
BETAS, EMA = (0.5, 0.9), 0.995  # likewise
AUGMENTATIONS = ["translation", "cutout", "color"]


class GanPeer(Contender):
    """One step of a peer's Trainer.train at a time: hinge losses, and gradient penalties every fourth step.

    Their trainers begin to average weights after 20,000 steps; here they are averaged from the start, which can only
    serve them at budgets of minutes.
    """

    package = ""

    def __init__(self, task: Task, setting: dict[str, Any]) -> None:
        # A tracker that one of them imports, and that is not used here.
        sys.modules.setdefault("aim", ModuleType("aim"))
        with mock.patch("torch.cuda.is_available", return_value=True):  # which they ask for as they are imported
            self.peer: ModuleType = import_peer(self.package, "see benchmarks/README.md")
        if (side := task.store.info.size[0]) & (side - 1):
            raise InputError(f"--size {side}: {self.package.partition('.')[0]} expects a power of two")
        torch.manual_seed(task.seed)
        random.seed(task.seed)  # by which they choose what to augment
        self.device, self.setting = task.device, setting
        self.batch_size = setting["batch_size"]
        self.info = task.store.info
        train = task.store.split("train")
        self.examples = Examples(train, task.device)
        self.order = TrainingOrder(task.seed, train.label_values())
        self.generator, discriminator = (network.to(task.device) for network in self.networks())
        for module in (*self.generator.modules(), *discriminator.modules()):
            if type(module) in (nn.Conv2d, nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in", nonlinearity="leaky_relu")
        self.judged = self.peer.AugWrapper(discriminator, self.info.size[0])
        self.averaged = copy.deepcopy(self.generator)
        rate = setting["learning_rate"]
        self.optimisers = [
            torch.optim.Adam(self.judged.parameters(), rate * setting.get("discriminator_rate", 1), BETAS, fused=True),
            torch.optim.Adam(self.generator.parameters(), rate, BETAS, fused=True),
        ]
        self.steps = 0

    @abstractmethod
    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Generator and discriminator."""

    @abstractmethod
    def draw(self, generator: nn.Module, latents: Tensor) -> Tensor:
        """Images in [0, 1], as far as it has learnt that."""

    @abstractmethod
    def outputs(self, judged: Any) -> tuple[list[Tensor], Tensor | float]:
        """From what its discriminator returns: the outputs that a hinge loss takes, and its own further term."""

    @property
    def parameters(self) -> int:
        return count_parameters(self.generator) + count_parameters(self.judged)

    def latents(self, count: int) -> Tensor:
        return torch.randn(count, self.setting["latent"]).to(self.device)

    def step(self) -> None:
        augmented = {"prob": self.setting["augmented"], "types": AUGMENTATIONS}
        penalised = self.steps % PENALTY_EVERY == 0
        image = self.examples.gather(self.order.rows(self.images_seen, self.batch_size)).image
        assert image is not None
        image = self.coloured((image + 1) / 2).requires_grad_(penalised)
        with torch.no_grad():
            drawn = self.draw(self.generator, self.latents(self.batch_size))
        drawn.requires_grad_(penalised)
        fakes, _ = self.outputs(self.judged(drawn, **augmented))
        reals, own = self.outputs(self.judged(image, **augmented, **self.setting.get("arguments_of_real", {})))
        loss = own + sum(
            (1 + real).relu().mean() + (1 - fake).relu().mean() for real, fake in zip(reals, fakes, strict=True)
        )
        if penalised:
            for outputs, given in ((reals, image), (fakes, drawn)):
                total = sum(output.sum() for output in outputs)
                (gradient,) = torch.autograd.grad(total, given, create_graph=True)
                loss = loss + PENALTY * gradient.flatten(1).square().sum(1).mean()
        self._move(0, loss)
        fakes, _ = self.outputs(self.judged(self.draw(self.generator, self.latents(self.batch_size)), **augmented))
        self._move(1, sum(fake.mean() for fake in fakes))
        self.steps += 1
        self.images_seen += self.batch_size
        keep = min(EMA, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for mine, theirs in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
                mine.lerp_(theirs, 1 - keep)
            for mine, theirs in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
                mine.copy_(theirs)

    def coloured(self, image: Tensor) -> Tensor:
        """With as many channels as its networks have."""
        return image

    def _move(self, number: int, loss: Any) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[number].step()

    @torch.no_grad()
    def sample(self, count: int, seed: int) -> np.ndarray:
        self.averaged.eval()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            sizes = [part.stop - part.start for part in slices(count, SAMPLED_TOGETHER)]
            images = torch.cat([self.draw(self.averaged, self.latents(size)).cpu() for size in sizes])
        images = images.mean(1, keepdim=True) if self.info.channels == 1 else images
        return to_uint8((65535 * images.clamp(0, 1)).round().numpy().astype(np.uint16))


class LightweightGan(GanPeer):
    """lightweight-gan (after Liu et al. 2021, "FastGAN")."""

    package = "lightweight_gan.lightweight_gan"

    def networks(self) -> tuple[nn.Module, nn.Module]:
        shape = {"image_size": self.info.size[0], "greyscale": self.info.channels == 1} | self.setting["network"]
        generator = self.peer.Generator(latent_dim=self.setting["latent"], **shape)
        return generator, self.peer.Discriminator(disc_output_size=1, **shape)

    def draw(self, generator: nn.Module, latents: Tensor) -> Tensor:
        return generator(latents)

    def outputs(self, judged: Any) -> tuple[list[Tensor], Tensor | float]:
        whole, small, own = judged
        return [whole, small], 0.0 if own is None else own


class Stylegan2Pytorch(GanPeer):
    """stylegan2-pytorch (after Karras et al. 2020), without style mixing; its path lengths begin after 5,000 steps."""

    package = "stylegan2_pytorch.stylegan2_pytorch"

    def networks(self) -> tuple[nn.Module, nn.Module]:
        size, latent = self.info.size[0], self.setting["latent"]
        styles = self.peer.StyleVectorizer(latent, 8, lr_mul=0.1)
        generator = self.peer.Generator(size, latent, **self.setting["network"])
        return nn.ModuleDict({"styles": styles, "image": generator}), self.peer.Discriminator(
            size, **self.setting["network"]
        )

    def draw(self, generator: nn.Module, latents: Tensor) -> Tensor:
        image = generator["image"]
        styles = generator["styles"](latents)[:, None].expand(-1, image.num_layers, -1)
        size = self.info.size[0]
        return image(styles, torch.rand(len(latents), size, size, 1, device=self.device))

    def outputs(self, judged: Any) -> tuple[list[Tensor], Tensor | float]:
        return [judged[0]], 0.0

    def coloured(self, image: Tensor) -> Tensor:
        return image.expand(-1, 3, -1, -1)


LIGHTWEIGHT = {"augmented": 0.3, "latent": 256, "arguments_of_real": {"calc_aux_loss": True}}
STYLEGAN2 = {"augmented": 0.3, "latent": 512, "discriminator_rate": 2}
GAN_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "lightweight_gan": {
        "thin": LIGHTWEIGHT
        | {"network": {"fmap_max": 128, "fmap_inverse_coef": 10}, "batch_size": 8, "learning_rate": 1e-3},
        "readme": LIGHTWEIGHT | {"network": {}, "batch_size": 16, "learning_rate": 2e-4},
    },
    "stylegan2_pytorch": {
        "thin": STYLEGAN2
        | {"network": {"network_capacity": 8, "fmap_max": 128}, "batch_size": 16, "learning_rate": 1e-3},
        "thin_batch8": STYLEGAN2
        | {"network": {"network_capacity": 8, "fmap_max": 128}, "batch_size": 8, "learning_rate": 1e-3},
        "thin_slow": STYLEGAN2
        | {"network": {"network_capacity": 8, "fmap_max": 128}, "batch_size": 16, "learning_rate": 2e-4},
        "readme": STYLEGAN2 | {"network": {}, "batch_size": 5, "learning_rate": 2e-4},
    },
}
