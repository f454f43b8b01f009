"""The reader: a small network that learns to read every condition from real images, and then reads the synthetic ones.

Its readings of held-out real images are the yardstick: a synthetic set cannot be read better than the reader reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import HALF_RANGE
from medsynth.conditions.kind import Condition, Features, Reading
from medsynth.conditions.planes import grid_centres
from medsynth.conditions.schema import ConditionSchema
from medsynth.config.columns import PREDICTED
from medsynth.judges.batches import in_blocks

PATCH = 4  # pixels a side that the first layer folds into channels
WIDTHS = (32, 64)
LONGEST_SIDE = {2: 64, 3: 32}  # larger images are averaged down to it, which bounds the time a reader takes
BATCH = 32
READ_AT_ONCE = 4 * BATCH
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.02
SHIFT = 0.06  # largest random shift while training, as a fraction of each side


class Residual(nn.Module):
    def __init__(self, channels: int, spatial_dims: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels, spatial_dims)
        self.second = _conv(channels, channels, spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


def _conv(channels_in: int, channels_out: int, spatial_dims: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    return nn.Sequential(
        conv(channels_in, channels_out, size, stride=stride, padding=size // 2, bias=False), norm(channels_out)
    )


def _patches(x: Tensor) -> Tensor:
    """Fold PATCH pixels of each side into channels: (N, C, *spatial) → (N, C PATCH^dims, *grid)."""
    dims = x.ndim - 2
    x = x.reshape(*x.shape[:2], *[part for extent in x.shape[2:] for part in (extent // PATCH, PATCH)])
    x = x.permute(0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)).flatten(1, 1 + dims)
    return x.contiguous(memory_format=torch.channels_last) if dims == 2 else x.contiguous()


class Reader(nn.Module):
    """Images (N, C, *spatial) → a dictionary of raw outputs, one entry a field, as its kind gives them.

    A place is the mean of a heatmap (Nibali et al. 2018, "Numerical coordinate regression with convolutional neural
    networks"): plain regression of coordinates does not come within a few pixels. The features under the heatmap join
    the global ones, so that size and severity are read where the lesion is.
    """

    def __init__(self, schema: ConditionSchema, channels: int) -> None:
        super().__init__()
        dims = schema.spatial_dims
        narrow, wide = WIDTHS
        self.schema = schema
        kinds = schema.kinds.values()
        heats = sum(kind.heat_maps for kind in kinds)
        self.looks_at_places = any(kind.reads_places for kind in kinds)
        self.fine = nn.Sequential(_conv(channels * PATCH**dims, narrow, dims), nn.ReLU(), Residual(narrow, dims))
        self.coarse = nn.Sequential(_conv(narrow, wide, dims, stride=2), nn.ReLU(), Residual(wide, dims))
        self.context = _conv(wide, narrow, dims, size=1)
        self.heat = nn.Sequential(
            _conv(narrow, narrow, dims),
            nn.ReLU(),
            (nn.Conv2d if dims == 2 else nn.Conv3d)(narrow, max(heats, 1), 1),
        )
        self.dropout = nn.Dropout(0.3)
        self.heads = nn.ModuleList(kind.head(2 * wide + heats * narrow, narrow) for kind in kinds)

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, ...]]:
        fine = self.fine(_patches(x))
        coarse = self.coarse(fine)
        pooled = [coarse.flatten(2).mean(2), coarse.flatten(2).amax(2)]
        if self.looks_at_places:
            fine = F.relu(fine + F.interpolate(self.context(coarse), size=fine.shape[2:], mode="nearest"))
        counts = [kind.heat_maps for kind in self.schema.kinds.values()]
        heats, centres = fine.new_zeros(len(x), 0, 1), fine.new_zeros(len(x), 0, self.schema.spatial_dims)
        if sum(counts):
            heats = F.log_softmax(self.heat(fine).flatten(2), dim=2)
            grid = grid_centres(fine.shape[2:], fine.device)
            centres = torch.stack([heat.exp() @ grid for heat in heats.unbind(1)], 1)
            pooled += [torch.einsum("ncp,np->nc", fine.flatten(2), heat.exp()) for heat in heats.unbind(1)]
        evidence = self.dropout(torch.cat(pooled, 1))
        return {
            name: kind.outputs_of(head, Features(evidence, fine, centre, heat))
            for (name, kind), head, centre, heat in zip(
                self.schema.kinds.items(), self.heads, centres.split(counts, 1), heats.split(counts, 1), strict=True
            )
        }


def reading_loss(
    outputs: dict[str, tuple[Tensor, ...]], condition: Condition, schema: ConditionSchema, grid: Sequence[int]
) -> Tensor:
    """Sum over the fields of their mean loss on the rows where the field is known.

    Args:
        grid: the shape of the reader's positions.
    """
    total = condition.values.new_zeros(())
    parts = schema.parts(condition)
    for name, kind in schema.kinds.items():
        known = kind.known(parts[name])
        if known.any():
            for term in kind.losses([output[known] for output in outputs[name]], parts[name][known], grid):
                total = total + term
    return total


def train_reader(
    training: tuple[np.ndarray, Condition],
    validation: tuple[np.ndarray, Condition],
    schema: ConditionSchema,
    epochs: int,
    seed: int,
) -> Reader:
    """Train on real images; keep the weights of the epoch that reads the validation images best.

    Args:
        training, validation: uint16 images (N, C, *spatial) and their conditions, of different subjects.
    """
    images, held_out = _as_input(training[0]), _as_input(validation[0])
    condition, of_held_out = _scaled(training[1], images.shape[2:]), _scaled(validation[1], held_out.shape[2:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = Reader(schema, images.shape[1])
        steps = -(-len(images) // BATCH)
        optimiser = torch.optim.AdamW(reader.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * steps)
        best, best_loss = reader.state_dict(), float("inf")
        for _ in range(epochs):
            reader.train()
            # Equal parts, since batch normalisation cannot take a last batch of one image.
            for rows in torch.randperm(len(images)).tensor_split(steps):
                batch, target = _shifted(images[rows], condition[rows], schema)
                loss = reading_loss(reader(batch), target, schema, _grid(batch))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            validation_loss = _validation_loss(reader, held_out, of_held_out)
            if validation_loss < best_loss:
                best_loss = validation_loss
                best = {name: value.clone() for name, value in reader.state_dict().items()}
        reader.load_state_dict(best)
    return reader.eval()


@torch.no_grad()
def read(reader: Reader, images: Images) -> Reading:
    """Read every condition from uint16 images (N, C, *spatial)."""
    schema = reader.schema
    starts = range(0, len(images), READ_AT_ONCE)
    raw = _outputs(reader.eval(), (_as_input(images[start : start + READ_AT_ONCE]) for start in starts))
    columns: dict[str, np.ndarray] = {}
    probabilities: dict[str, np.ndarray] = {}
    for name, kind in schema.kinds.items():
        of, shares = kind.read(raw[name])
        columns |= of
        probabilities |= {} if shares is None else {name: shares}
    return Reading(pd.DataFrame(columns, index=range(len(images))), probabilities)


def _as_input(images: Images) -> Tensor:
    """Stored images to float32 in [-1, 1], with no side above LONGEST_SIDE."""
    shape = images.shape[2:]
    share = min(1.0, LONGEST_SIDE[len(shape)] / max(shape))
    size = [max(2, round(extent * share / PATCH)) * PATCH for extent in shape]

    def converted(block: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(block.astype(np.float32)) / HALF_RANGE - 1
        return (x if size == list(shape) else F.interpolate(x, size=size, mode="area")).numpy()

    return torch.from_numpy(in_blocks(converted, images))


def _scaled(condition: Condition, shape: Sequence[int]) -> Condition:
    """The condition with its masks as large as the reader's input."""
    mask = condition.mask
    if mask is None or mask.shape[1:] == torch.Size(shape):
        return condition
    mask = F.interpolate(mask[:, None].float(), size=list(shape), mode="nearest-exact")[:, 0].to(mask.dtype)
    return Condition(condition.values, condition.states, mask)


def _grid(images: Tensor) -> list[int]:
    return [extent // PATCH for extent in images.shape[2:]]


def _shifted(images: Tensor, condition: Condition, schema: ConditionSchema) -> tuple[Tensor, Condition]:
    """One random shift for the batch, the edge repeated; places and masks move along."""
    shape = images.shape[2:]
    most = [round(SHIFT * extent) for extent in shape]
    starts = [int(torch.randint(2 * limit + 1, ())) for limit in most]

    def shift(x: Tensor) -> Tensor:
        x = F.pad(x, [limit for limit in most[::-1] for _ in range(2)], mode="replicate")
        for axis, (start, extent) in enumerate(zip(starts, shape, strict=True)):
            x = x.narrow(axis + 2, start, extent)
        return x

    offset = [(limit - start) / extent for limit, start, extent in zip(most, starts, shape, strict=True)][::-1]
    mask = condition.mask
    if mask is not None:
        mask = shift(mask[:, None].float())[:, 0].to(mask.dtype)
    return shift(images), schema.shifted(condition, torch.tensor(offset), mask)


def _outputs(reader: Reader, blocks: Iterable[Tensor]) -> dict[str, tuple[Tensor, ...]]:
    parts = [reader(block) for block in blocks]
    return {
        name: tuple(torch.cat(pieces) for pieces in zip(*(part[name] for part in parts), strict=True))
        for name in parts[0]
    }


@torch.no_grad()
def _validation_loss(reader: Reader, images: Tensor, condition: Condition) -> float:
    outputs = _outputs(reader.eval(), images.split(READ_AT_ONCE))
    return float(reading_loss(outputs, condition, reader.schema, _grid(images)))


def reading_cells(schema: ConditionSchema, table: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """The readings as text, columns predicted_<column>; not applicable where that is what the table says."""
    cells = {column: of for kind in schema.kinds.values() for column, of in kind.cells(table, reading).items()}
    return pd.DataFrame(cells).add_prefix(PREDICTED)
