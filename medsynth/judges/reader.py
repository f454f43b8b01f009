"""Adherence: do the synthetic images show what was asked for?

A small network learns to read every condition from real training images, and then reads the synthetic ones. Its
readings of held-out real images are the yardstick: a synthetic set cannot be read better than the reader reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from medsynth.artifacts.shards import Images
from medsynth.conditions.schema import GIVEN, NOT_APPLICABLE_TEXT, Condition, ConditionSchema
from medsynth.config import Categorical, Number, Spatial
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
HEAT_WIDTH = 0.03  # standard deviation of the target heatmap, as a fraction of each side


@dataclass(frozen=True)
class Reading:
    """What the network read from n images.

    Attributes:
        values: one column for each condition column: the most likely value of a categorical field, a number in its
            unit, fractions of the image for a spatial field.
        probabilities: (n, number of values) for each categorical field.
    """

    values: pd.DataFrame
    probabilities: dict[str, np.ndarray]


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
    """Images (N, C, *spatial) → a dictionary of raw outputs, one entry a field.

    A lesion's place is the mean of a heatmap (Nibali et al. 2018, "Numerical coordinate regression with convolutional
    neural networks"): plain regression of coordinates does not come within a few pixels. The features under the
    heatmap join the global ones, so that size and severity are read where the lesion is.
    """

    def __init__(self, schema: ConditionSchema, channels: int) -> None:
        super().__init__()
        dims = schema.spatial_dims
        narrow, wide = WIDTHS
        self.schema = schema
        self.fine = nn.Sequential(_conv(channels * PATCH**dims, narrow, dims), nn.ReLU(), Residual(narrow, dims))
        self.coarse = nn.Sequential(_conv(narrow, wide, dims, stride=2), nn.ReLU(), Residual(wide, dims))
        self.context = _conv(wide, narrow, dims, size=1)
        self.heat = nn.Sequential(
            _conv(narrow, narrow, dims),
            nn.ReLU(),
            (nn.Conv2d if dims == 2 else nn.Conv3d)(narrow, max(len(schema.spatial), 1), 1),
        )
        pooled = 2 * wide + len(schema.spatial) * narrow
        self.dropout = nn.Dropout(0.3)
        self.heads = nn.ModuleList(
            nn.Linear(pooled, len(field.values) if isinstance(field, Categorical) else 1)
            for field in schema.fields.values()
        )

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Categorical: logits (N, K). Number: (N,). Spatial: centre (N, dims), size (N,), log heat (N, *grid)."""
        fine = self.fine(_patches(x))
        coarse = self.coarse(fine)
        pooled = [coarse.flatten(2).mean(2), coarse.flatten(2).amax(2)]
        places: dict[str, tuple[Tensor, Tensor]] = {}
        if self.schema.spatial:
            fine = F.relu(fine + F.interpolate(self.context(coarse), size=fine.shape[2:], mode="nearest"))
            heats = F.log_softmax(self.heat(fine).flatten(2), dim=2)
            grid = _grid(fine.shape[2:], fine.device)
            for name, heat in zip(self.schema.spatial, heats.unbind(1), strict=True):
                places[name] = heat.exp() @ grid, heat
                pooled.append(torch.einsum("ncp,np->nc", fine.flatten(2), heat.exp()))
        evidence = self.dropout(torch.cat(pooled, 1))
        outputs: dict[str, tuple[Tensor, ...]] = {}
        for (name, field), head in zip(self.schema.fields.items(), self.heads, strict=True):
            output = head(evidence)
            if isinstance(field, Spatial):
                outputs[name] = (places[name][0], output[:, 0], places[name][1])
            else:
                outputs[name] = (output if isinstance(field, Categorical) else output[:, 0],)
        return outputs


def _grid(shape: torch.Size, device: torch.device) -> Tensor:
    """Centres of the cells as fractions (x, y[, z]) of the image: (cells, dims)."""
    axes = [(torch.arange(extent, device=device) + 0.5) / extent for extent in shape]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")][::-1], 1)


def reading_loss(
    outputs: dict[str, tuple[Tensor, ...]], condition: Condition, schema: ConditionSchema, shape: torch.Size
) -> Tensor:
    """Sum over the fields of their mean loss on the rows where the field is given."""
    total = condition.values.new_zeros(())
    for name, field in schema.fields.items():
        given = (condition.states[:, schema.groups[name]] == GIVEN).all(1)
        if not given.any():
            continue
        target = condition.values[given, schema.groups[name]]
        output = [part[given] for part in outputs[name]]
        if isinstance(field, Categorical):
            total = total + F.cross_entropy(output[0], target[:, 0].long())
        elif isinstance(field, Number):
            total = total + F.mse_loss(output[0], target[:, 0])
        else:
            centre, size = target[:, :-1], target[:, -1]
            squares = ((_grid(shape, target.device) - centre[:, None]) / HEAT_WIDTH).square().sum(2)
            heat = F.softmax(-squares / 2, dim=1)
            total = total - (heat * output[2]).sum(1).mean()
            total = total + 10 * (F.l1_loss(output[0], centre) + F.l1_loss(output[1], size))
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
    images, condition, held_out = _as_input(training[0]), training[1], _as_input(validation[0])
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
                loss = reading_loss(reader(batch), target, schema, _heat_shape(batch))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            validation_loss = _validation_loss(reader, held_out, validation[1])
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
    for name, field in schema.fields.items():
        names = schema.columns[schema.groups[name]]
        if isinstance(field, Categorical):
            probabilities[name] = raw[name][0].softmax(1).double().numpy()
            columns[name] = np.array(field.values)[probabilities[name].argmax(1)]
        elif isinstance(field, Number):
            low, high = field.range
            columns[name] = low + (raw[name][0].clamp(-1, 1).double().numpy() + 1) / 2 * (high - low)
        else:
            centre, size, _ = raw[name]
            columns |= dict(zip(names, [*centre.T.double().numpy(), size.clamp(0, 1).double().numpy()], strict=True))
    return Reading(pd.DataFrame(columns), probabilities)


def _as_input(images: Images) -> Tensor:
    """Stored images to float32 in [-1, 1], with no side above LONGEST_SIDE."""
    shape = images.shape[2:]
    share = min(1.0, LONGEST_SIDE[len(shape)] / max(shape))
    size = [max(2, round(extent * share / PATCH)) * PATCH for extent in shape]

    def converted(block: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(block.astype(np.float32)) / 32767.5 - 1
        return (x if size == list(shape) else F.interpolate(x, size=size, mode="area")).numpy()

    return torch.from_numpy(in_blocks(converted, images))


def _heat_shape(images: Tensor) -> torch.Size:
    return torch.Size([extent // PATCH for extent in images.shape[2:]])


def _shifted(images: Tensor, condition: Condition, schema: ConditionSchema) -> tuple[Tensor, Condition]:
    """One random shift for the batch, the edge repeated; lesions move along."""
    shape = images.shape[2:]
    most = [round(SHIFT * extent) for extent in shape]
    starts = [int(torch.randint(2 * limit + 1, ())) for limit in most]
    padded = F.pad(images, [limit for limit in most[::-1] for _ in range(2)], mode="replicate")
    for axis, (start, extent) in enumerate(zip(starts, shape, strict=True)):
        padded = padded.narrow(axis + 2, start, extent)
    moved = [(limit - start) / extent for limit, start, extent in zip(most, starts, shape, strict=True)][::-1]
    values = condition.values.clone()
    for name in schema.spatial:
        first = schema.groups[name].start
        values[:, first : first + len(moved)] += torch.tensor(moved)
    return padded, Condition(values, condition.states)


def _outputs(reader: Reader, blocks: Iterable[Tensor]) -> dict[str, tuple[Tensor, ...]]:
    parts = [reader(block) for block in blocks]
    return {
        name: tuple(torch.cat(pieces) for pieces in zip(*(part[name] for part in parts), strict=True))
        for name in parts[0]
    }


@torch.no_grad()
def _validation_loss(reader: Reader, images: Tensor, condition: Condition) -> float:
    outputs = _outputs(reader.eval(), images.split(READ_AT_ONCE))
    return float(reading_loss(outputs, condition, reader.schema, _heat_shape(images)))


def reading_cells(schema: ConditionSchema, table: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """The readings as text, columns predicted_<column>; not applicable where that is what the table says."""
    cells = {}
    for column in schema.columns:
        read = reading.values[column]
        text = read.map("{:.4g}".format) if read.dtype.kind == "f" else read
        not_applicable = table[column] == NOT_APPLICABLE_TEXT if column in table else False
        cells[PREDICTED + column] = np.where(not_applicable, NOT_APPLICABLE_TEXT, text)
    return pd.DataFrame(cells)


def asked_and_read(
    schema: ConditionSchema, name: str, table: pd.DataFrame, reading: Reading, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """What was asked of a field and what was read, on the rows where it was asked.

    Args:
        table: the condition cells, one row an image.
        shape: (*spatial) of the images in pixels.
    Returns:
        Categorical: two arrays (k,) of values. Number: (k,) in its unit. Spatial: (k, dims + 1) in pixels, the size
        last.
    """
    field = schema.fields[name]
    columns = list(schema.columns[schema.groups[name]])
    asked = table.reindex(columns=columns, fill_value="")
    given = ~asked.isin(["", NOT_APPLICABLE_TEXT]).any(axis=1).to_numpy()
    asked, read = asked[given], reading.values[columns][given]
    if isinstance(field, Categorical):
        return asked[name].to_numpy(dtype=str), read[name].to_numpy(dtype=str)
    pixels = np.array([*shape[::-1], shape[-1]]) if isinstance(field, Spatial) else np.ones(1)
    pair = asked.to_numpy(dtype=float) * pixels, read.to_numpy(dtype=float) * pixels
    return pair if isinstance(field, Spatial) else (pair[0][:, 0], pair[1][:, 0])


def accuracy(asked: np.ndarray, read: np.ndarray) -> float:
    """Share of images read as asked."""
    return float((asked == read).mean())


def mean_absolute_error(asked: np.ndarray, read: np.ndarray) -> float:
    """In the field's unit."""
    return float(np.abs(asked - read).mean())


def rank_correlation(asked: np.ndarray, read: np.ndarray) -> float:
    """Spearman's; NaN where either side does not vary."""
    if np.ptp(asked) == 0 or np.ptp(read) == 0:
        return float("nan")
    return float(stats.spearmanr(asked, read).statistic)


def centre_error_px(asked: np.ndarray, read: np.ndarray) -> float:
    """Median distance of the centres, in pixels."""
    return float(np.median(np.linalg.norm(asked[:, :-1] - read[:, :-1], axis=1)))


def size_error_px(asked: np.ndarray, read: np.ndarray) -> float:
    """Median difference of the diameters, in pixels."""
    return float(np.median(np.abs(asked[:, -1] - read[:, -1])))


def bootstrap_interval(
    statistic: Callable[..., float], samples: Sequence[np.ndarray], draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of `statistic(*samples)` over the rows that the arrays share."""
    count = len(samples[0])
    values = [statistic(*(part[rows] for part in samples)) for rows in rng.integers(count, size=(draws, count))]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)
