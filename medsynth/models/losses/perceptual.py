"""The distance of two images in the features of a small network that knows the collection.

The network learns from the training split, or comes from a file; nothing is downloaded. Features of a network that has
learnt without labels serve as well as those of ImageNet (Zhang et al. 2018, section 4.1).
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.conditions.kind import Features
from medsynth.config.losses import Perceptual
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.models.contract import Batch, ImageSpec
from medsynth.models.losses.learned import LearnedLoss, degraded, fit, shrunk, steps_of
from medsynth.models.networks.blocks import AVERAGE_POOL, CONV

log = logging.getLogger(__name__)

CHANNELS = (16, 32, 48, 64)  # one convolution a level
MOST_PIXELS = 30_000 * 64**2  # that the network learns from: less than a minute on a processor
CROP = {2: 64, 3: 32}  # pixels or voxels a side: of larger images a random part is compared
EPSILON = 0.1  # of the length of a feature: positions that show nothing have no direction


class FeatureNetwork(nn.Module):
    """Levels of 3 x 3 convolutions with ReLU, each level half as fine as the one before.

    Args:
        convolutions: for each level, (channels in, channels out) of its convolutions.
    """

    def __init__(self, spatial_dims: int, convolutions: Sequence[Sequence[tuple[int, int]]]) -> None:
        super().__init__()
        conv = CONV[spatial_dims]
        self.levels = nn.ModuleList(
            nn.ModuleList(conv(into, out, 3, padding=1) for into, out in level) for level in convolutions
        )
        for weight in (parameter for parameter in self.parameters() if parameter.ndim > 1):
            nn.init.kaiming_normal_(weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, *spatial) → the features of each level; an image too small for a level has none of it."""
        found = []
        for number, level in enumerate(self.levels):
            if number:
                if min(x.shape[2:]) < 2:
                    break
                x = AVERAGE_POOL[x.ndim - 2](x, 2)
            for convolution in level:
                x = F.relu(convolution(x))
            found.append(x)
        return found


class PerceptualLoss(LearnedLoss):
    """Squared difference of unit-length features, the mean over positions and levels (Zhang et al. 2018, Eq. 1)."""

    def __init__(self, settings: Perceptual, spec: ImageSpec) -> None:
        super().__init__()
        self.settings, self.spec = settings, spec

    def begin(self, batches: Iterator[Batch], images: int, shapes: Sequence[Sequence[int]]) -> None:
        """Read the network, or train it to tell how blurred and noisy an image is, and what the conditions say of it.

        Raises:
            InputError: weights that are missing, of another digest, or of no such network.
        """
        first = next(batches)
        assert first.image is not None
        if self.settings.weights is not None:
            tensors = self._read(Path(self.settings.weights))
            convolutions = _convolutions(tensors, self.spec, Path(self.settings.weights))
            self.network = FeatureNetwork(self.spec.spatial_dims, convolutions)
            self.network.levels.load_state_dict(tensors)
            self.network.to(first.image.device)
            return
        largest = min(max(min(shape) for shape in shapes), CROP[self.spec.spatial_dims])
        depth = max(1, min(len(CHANNELS), int(math.log2(largest))))
        pairs = list(itertools.pairwise((self.spec.channels, *CHANNELS[:depth])))
        self.network = FeatureNetwork(self.spec.spatial_dims, [[pair] for pair in pairs])
        fitting = [shape for shape in shapes if min(shape) >= 2 ** (depth - 1)]
        (part,) = _cropped(first.image)
        self._learn(itertools.chain([first], batches), steps_of(images, part, MOST_PIXELS), fitting)

    def _read(self, path: Path) -> Mapping[str, Tensor]:
        try:
            digest = files.sha256(path)
            if digest != self.settings.sha256:
                raise InputError(
                    f"{path}: sha256 is {digest[:12]}, the settings name {(self.settings.sha256 or 'none')[:12]}"
                )
            return load_file(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}), expected weights as safetensors") from None
        except SafetensorError as error:
            raise InputError(f"{path}: not a safetensors file ({error})") from None

    def _learn(self, batches: Iterator[Batch], steps: int, shapes: Sequence[Sequence[int]]) -> None:
        schema, first = self.spec.conditions, next(batches)
        assert first.image is not None
        kinds = {name: kind for name, kind in schema.kinds.items() if not kind.reads_places}
        width = sum(level[-1].out_channels for level in self.network.levels)  # type: ignore[index]
        finest = self.network.levels[0][-1].out_channels  # type: ignore[index]
        heads = nn.ModuleDict({f"of_{name}": kind.head(width, finest) for name, kind in kinds.items()})
        amounts_head = nn.Linear(width, 2)
        learner = nn.ModuleList([self.network, heads, amounts_head]).to(first.image.device)
        errors: list[Tensor] = []

        def error(batch: Batch) -> Tensor:
            shape = shapes[int(torch.randint(len(shapes), ()))]
            image, amounts = degraded(*_cropped(shrunk(batch, shape)))
            levels = self.network(image)
            pooled = torch.cat([(level.flatten(2).mean(2) + 1e-3).log() for level in levels], 1)
            of_amounts = F.mse_loss(amounts_head(pooled), amounts)
            errors.append(12 * of_amounts.detach())  # the variance of U(0, 1) is 1 / 12
            terms, parts = [10 * of_amounts], schema.parts(batch.condition)
            none = pooled.new_zeros(len(pooled), 0, 1)
            for name, kind in kinds.items():
                known = kind.known(parts[name])
                if known.any():
                    read = kind.outputs_of(heads[f"of_{name}"], Features(pooled, levels[0], none, none))
                    terms += kind.losses([part[known] for part in read], parts[name][known], levels[0].shape[2:])
            return torch.stack(terms).sum()

        fit(learner, itertools.chain([first], itertools.islice(batches, steps - 1)), steps, error)
        log.info(
            "perceptual: features from %d images; blur and noise are told with %.2f of the error of a guess",
            steps * len(first),
            float(torch.stack(errors[-max(1, steps // 4) :]).mean()),
        )

    def forward(self, image: Tensor, batch: Batch) -> Tensor:
        assert batch.image is not None
        image, target = _cropped(image, batch.image)
        with torch.no_grad():
            expected = self.network(target)
        distances = [
            (_unit_length(one) - _unit_length(other)).square().sum(1).flatten(1).mean(1)
            for one, other in zip(self.network(image), expected, strict=True)
        ]
        return torch.stack(distances).mean(0)


def _cropped(*images: Tensor) -> tuple[Tensor, ...]:
    """The same random part of all images (N, C, *spatial), where they are larger than CROP."""
    side = CROP[images[0].ndim - 2]
    for axis, extent in enumerate(images[0].shape[2:], 2):
        if extent > side:
            start = int(torch.randint(extent - side + 1, ()))
            images = tuple(image.narrow(axis, start, side) for image in images)
    return images


def _unit_length(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + EPSILON**2).sqrt()


def _convolutions(tensors: Mapping[str, Tensor], spec: ImageSpec, path: Path) -> list[list[tuple[int, int]]]:
    """Channels of the convolutions of each level, from tensors named <level>.<convolution>.weight and .bias.

    Raises:
        InputError: they are not those of a `FeatureNetwork` for such images.
    """
    levels: list[list[tuple[int, int]]] = []
    channels, left = spec.channels, set(tensors)
    while f"{len(levels)}.0.weight" in tensors:
        level: list[tuple[int, int]] = []
        while (name := f"{len(levels)}.{len(level)}") + ".weight" in tensors:
            shape = tuple(tensors[f"{name}.weight"].shape)
            out = shape[0] if shape else 0
            if shape != (expected := (out, channels, *[3] * spec.spatial_dims)):
                raise InputError(f"{path}: {name}.weight is {list(shape)}, expected {[*expected]}")
            if f"{name}.bias" not in tensors or tuple(tensors[f"{name}.bias"].shape) != (out,):
                raise InputError(f"{path}: {name}.bias is missing or not of {out} channels")
            level.append((channels, out))
            channels, left = out, left - {f"{name}.weight", f"{name}.bias"}
        levels.append(level)
    if left or not levels:
        raise InputError(
            f"{path}: has {min(left, default='no tensor')}, expected <level>.<convolution>.weight and .bias alone, "
            "both counted from 0"
        )
    return levels
