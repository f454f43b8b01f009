"""Whether an image shows the structures of the label map that it was asked for by."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from medsynth.conditions import planes
from medsynth.conditions.kind import GIVEN
from medsynth.config.losses import Anatomical
from medsynth.errors import InputError
from medsynth.models.contract import Batch, ImageSpec
from medsynth.models.losses.learned import LearnedLoss, degraded, fit, shrunk, steps_of
from medsynth.models.networks.unet import UNet

log = logging.getLogger(__name__)

WIDTHS = (8, 16, 32)  # channels, the last for all coarser levels
COARSEST = 8  # pixels or voxels a side of the coarsest level of the largest images, where they can be halved to it
MOST_PIXELS = 8_000 * 64**2  # that the segmenter learns from: about a minute on a processor
ADEQUATE = 0.5  # Dice on training images: below it, the loss asks for what the segmenter does not see


class AnatomicalLoss(LearnedLoss):
    """1 - soft Dice between what a small segmenter finds and what was asked for, the mean over the labels asked for.

    Rows without a mask have no loss.
    """

    def __init__(self, settings: Anatomical, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        kinds = spec.conditions.kinds
        mask = next((kind for kind in kinds.values() if kind.needs_mask), None)
        if mask is None:
            raise InputError(f"losses.anatomical needs a condition of kind mask, got {', '.join(kinds) or 'none'}")
        self.field, self.labels = mask.name, mask.labels

    def begin(self, batches: Iterator[Batch], images: int, shapes: Sequence[Sequence[int]]) -> None:
        first = next(batches)
        assert first.image is not None
        extents = {extent for shape in shapes for extent in shape}
        halvings = 0
        while max(extents) > COARSEST * 2**halvings and all(extent % 2 ** (halvings + 1) == 0 for extent in extents):
            halvings += 1
        channels = [WIDTHS[min(level, len(WIDTHS) - 1)] for level in range(halvings + 1)]
        outputs = len(self.labels) + 1
        self.segmenter = UNet(self.spec.spatial_dims, self.spec.channels, outputs, channels, 1, embedding=1)
        self.segmenter.to(first.image.device)
        steps = steps_of(images, first.image, MOST_PIXELS)
        found: list[Tensor] = []

        def error(batch: Batch) -> Tensor:
            image, _ = degraded(shrunk(batch, shapes[int(torch.randint(len(shapes), ()))]))
            logits, (asked, given) = self._logits(image), self._asked(batch, image)
            background = 1 - asked.sum(1, keepdim=True)
            entropy = -(torch.cat([background, asked], 1) * logits.log_softmax(1)).sum(1).flatten(1).mean(1)
            missed = _missed(logits.softmax(1)[:, 1:], asked)
            found.append(1 - missed.detach()[asked.flatten(1).any(1)])
            return ((entropy + missed) * given).sum() / given.sum().clamp(min=1)

        fit(self.segmenter, itertools.chain([first], itertools.islice(batches, steps - 1)), steps, error)
        dice = float(torch.cat(found[-max(1, steps // 4) :]).mean())
        log.info("anatomical: a segmenter from %d images, Dice %.2f at last", steps * len(first), dice)
        if not dice >= ADEQUATE:
            log.warning("anatomical: Dice %.2f on training images, expected %g: the loss says little", dice, ADEQUATE)

    def forward(self, image: Tensor, batch: Batch) -> Tensor:
        asked, _ = self._asked(batch, image)
        return _missed(self._logits(image).softmax(1)[:, 1:], asked)

    def _logits(self, image: Tensor) -> Tensor:
        """(N, 1 + labels, *spatial): of the background and each label."""
        return self.segmenter(image, image.new_zeros(len(image), 1))

    def _asked(self, batch: Batch, image: Tensor) -> tuple[Tensor, Tensor]:
        """The share of each cell of the image that each label covers (N, K, *spatial), and which rows have a mask."""
        if batch.mask is None:
            return image.new_zeros(len(image), len(self.labels), *image.shape[2:]), image.new_zeros(len(image))
        states = self.spec.conditions.parts(batch.condition)[self.field].states[:, 0]
        given = (states == GIVEN).to(image)
        shares = planes.structures(batch.mask, self.labels, image.shape[2:])
        return shares * given.view(-1, *[1] * (shares.ndim - 1)), given


def _missed(found: Tensor, asked: Tensor) -> Tensor:
    """1 - 2 sum(p q) / (sum p^2 + sum q^2) (Milletari et al. 2016, section 3): (N,), the mean over labels asked for.

    0 where none is.

    Args:
        found, asked: (N, K, *spatial) in [0, 1].
    """
    found, asked = found.flatten(2), asked.flatten(2)
    dice = 2 * (found * asked).sum(2) / (found.square() + asked.square()).sum(2).clamp(min=1e-6)
    present = asked.any(2).to(dice)
    return ((1 - dice) * present).sum(1) / present.sum(1).clamp(min=1)
