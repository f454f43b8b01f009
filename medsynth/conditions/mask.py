"""The image's own label map: where each structure is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medsynth.conditions import planes
from medsynth.conditions.kind import GIVEN, Condition, Features, Kind, Reading, mean_probability
from medsynth.conditions.statistics import NAN, Criterion, Statistic
from medsynth.config import Mask
from medsynth.config.columns import MASK_OF

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

BLOCK = 256  # masks that are averaged at once


def _mean(each: np.ndarray) -> float:
    return float(each.mean()) if len(each) else NAN


def _dice(dice: np.ndarray, of_mean: np.ndarray, *volumes: np.ndarray) -> float:
    return _mean(dice)


def _dice_of_mean_mask(dice: np.ndarray, of_mean: np.ndarray, *volumes: np.ndarray) -> float:
    """What reading the mean of all masks from every image reaches."""
    return _mean(of_mean)


def _volumes(dice: np.ndarray, of_mean: np.ndarray, alike: np.ndarray, mean_alike: np.ndarray) -> float:
    return _mean(alike)


def _volumes_of_mean_mask(dice: np.ndarray, of_mean: np.ndarray, alike: np.ndarray, mean_alike: np.ndarray) -> float:
    return _mean(mean_alike)


class MaskKind(Kind):
    """One scalar says whether the mask is given; the mask itself is drawn, and read at each position of the grid."""

    reads_places = True
    needs_mask = True
    statistics = (
        Statistic("mean_dice", True, "", _dice, Criterion("mean_dice", _dice, _dice_of_mean_mask)),
        Statistic(
            "volume_similarity",
            True,
            "",
            _volumes,
            Criterion("volume_similarity", _volumes, _volumes_of_mean_mask),
        ),
    )

    def __init__(
        self, name: str, settings: Mask, spatial_dims: int, structures: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(name, settings, spatial_dims, structures)
        self.columns = ()
        self.structures = tuple(structures or {})
        self.labels = tuple((structures or {}).values())
        self.planes = len(self.labels) + 1

    @property
    def width(self) -> int:
        return 1

    def encode(self, cells: Mapping[str, Sequence[str]], count: int) -> Condition:
        """Given where the column MASK_OF names a mask; the schema says which rows have one at all."""
        import torch

        states = torch.zeros(count, 1, dtype=torch.int64)
        for row, text in enumerate(cells.get(MASK_OF, ())):
            states[row] = text == ""
        return Condition(torch.zeros(count, 1), states)

    def decode(self, part: Condition) -> dict[str, list[str]]:
        return {}

    def draw(self, parts: Mapping[str, Condition], shape: Sequence[int]) -> list[Tensor]:
        """The share of each cell that each structure covers, and a plane of ones where a mask is given."""
        part = parts[self.name]
        given = planes.over((part.states[:, 0] == GIVEN).float(), shape)
        everywhere = given.expand(-1, *shape)
        if part.mask is None:
            return [0 * everywhere] * len(self.labels) + [everywhere]
        return [*(planes.structures(part.mask, self.labels, shape) * given[:, None]).unbind(1), everywhere]

    def head(self, pooled: int, grid_channels: int) -> nn.Module:
        from torch import nn

        conv = nn.Conv2d if self.spatial_dims == 2 else nn.Conv3d
        return conv(grid_channels, len(self.labels) + 1, 1)

    def outputs_of(self, head: nn.Module, features: Features) -> tuple[Tensor, ...]:
        """Logits (N, 1 + structures, *grid) of the background and each structure."""
        return (head(features.grid),)

    def known(self, part: Condition) -> Tensor:
        return super().known(part) & (part.mask is not None)

    def losses(self, outputs: Sequence[Tensor], part: Condition, grid: Sequence[int]) -> list[Tensor]:
        """Cross-entropy with the shares of each cell."""
        assert part.mask is not None
        target = self._shares(part.mask, grid)
        return [-(target * outputs[0].log_softmax(1)).sum(1).mean()]

    def _shares(self, mask: Tensor, grid: Sequence[int]) -> Tensor:
        import torch

        covered = planes.structures(mask, self.labels, grid)
        return torch.cat([1 - covered.sum(1, keepdim=True), covered], 1)

    def averaged(self, outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        return (mean_probability([logits for (logits,) in outputs]),)

    def read(self, outputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        return {}, outputs[0].softmax(1).numpy()

    def structures_read(self, reading: Reading) -> dict[str, np.ndarray]:
        """Where each is the likeliest of all and the background."""
        likeliest = reading.probabilities[self.name].argmax(1)
        return {name: likeliest == place + 1 for place, name in enumerate(self.structures)}

    def asked(self, table: pd.DataFrame, masks: np.ndarray | None) -> np.ndarray:
        if masks is None:
            return np.zeros(len(table), bool)
        given = np.array([np.isin(self.labels, mask).any() for mask in masks], bool)
        return given & (table[MASK_OF] != "").to_numpy() if MASK_OF in table else given

    def asked_and_read(
        self, table: pd.DataFrame, masks: np.ndarray | None, reading: Reading, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, ...]:
        """(k,) four times, each image's mean over the structures asked, with what was read and with the mean of all
        masks: Dice, 2 sum min(a, b) / sum (a + b) of the cells' shares, and the similarity of volumes,
        1 - |A - B| / (A + B) of their sums (Taha & Hanbury 2015)."""
        import torch

        given = self.asked(table, masks)
        if masks is None or not given.any():
            return (np.zeros(0),) * 4
        rows = np.flatnonzero(given)
        shares = reading.probabilities[self.name][rows, 1:]
        covered = [
            planes.structures(torch.from_numpy(masks[part]), self.labels, shares.shape[2:]).numpy()
            for part in np.split(rows, range(BLOCK, len(rows), BLOCK))
        ]
        asked = np.concatenate(covered).reshape(*shares.shape[:2], -1)
        present = asked.sum(2) > 0

        def of_present(each: np.ndarray) -> np.ndarray:
            return (each * present).sum(1) / np.maximum(present.sum(1), 1)

        found: list[np.ndarray] = []
        volumes: list[np.ndarray] = []
        for read in (shares.reshape(asked.shape), asked.mean(0, keepdims=True)):
            both = np.maximum((asked + read).sum(2), 1e-9)
            found.append(of_present(2 * np.minimum(asked, read).sum(2) / both))
            volumes.append(of_present(1 - np.abs((asked - read).sum(2)) / both))
        return *found, *volumes
