"""Training of one reader on real images, and the choice of its trunk; validation images say what is best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import HALF_RANGE
from medsynth.conditions.kind import Condition
from medsynth.conditions.schema import ConditionSchema
from medsynth.judges.reader_network import PATCH, TRUNKS, Reader

LONGEST_SIDE = {2: 256, 3: 32}  # larger images are averaged down to it, which bounds the time a reader takes
BATCH = 16
AT_ONCE = 128
EPOCH = (256, 2048)  # images that an epoch draws at least, and at most
MOST_REPEATED = 10.0  # how much more often than others an image of a rare class is drawn, at most
WEIGHT_DECAY = 0.02
SHIFT = 0.06  # largest random shift while training, as a fraction of each side
Part = tuple[Images, Condition]


def train_reader(
    training: Part,
    validation: Part,
    schema: ConditionSchema,
    epochs: int,
    seed: int,
    trunk: str = "scratch",
    worst: float = float("inf"),
) -> tuple[Reader, float]:
    """Train on real images; keep the weights of the epoch that reads the validation images best.

    Images are drawn so that the values of every field with classes come about equally often.

    Args:
        training, validation: uint16 images (N, C, *spatial) and their conditions, of different subjects.
        trunk: a name of TRUNKS.
        worst: a validation loss; training ends early if a third of the epochs does not come below it.
    Returns:
        The reader, and its loss on the validation images, their classes weighted alike.
    """
    (images, condition), (held_out, of_held_out) = training, validation
    size = input_size(images.shape[2:])
    condition, of_held_out = _scaled(condition, size), _scaled(of_held_out, size)
    weights, count = row_weights(condition, schema), min(max(len(images), EPOCH[0]), EPOCH[1])
    steps = -(-count // BATCH)
    held_out_rows = drawn(row_weights(of_held_out, schema), 4 * len(held_out), 0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = Reader(schema, images.shape[1], size, trunk)
        kind = TRUNKS[trunk]
        epochs = max(1, round(kind.epochs * epochs))
        learned = [parameter for parameter in reader.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(learned, lr=kind.rate, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, kind.rate, total_steps=epochs * steps)
        best, best_loss = reader.state_dict(), float("inf")
        for epoch in range(1, epochs + 1):
            reader.train()
            rows = drawn(weights, count, float(torch.rand(())))[torch.randperm(count)]
            # Equal parts, since batch normalisation cannot take a last batch of one image.
            for part in rows.tensor_split(steps):
                batch, target = _shifted(as_input(images[part.numpy()]), condition[part], schema)
                loss = reading_loss(reader(batch), target, schema, _grid(batch))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            outputs = outputs_of(reader, held_out)
            chosen = {name: tuple(raw[held_out_rows] for raw in of) for name, of in outputs.items()}
            validation_loss = float(
                reading_loss(chosen, of_held_out[held_out_rows], schema, [e // PATCH for e in size])
            )
            if validation_loss < best_loss:
                best_loss = validation_loss
                best = {name: value.clone() for name, value in reader.state_dict().items()}
            if best_loss > worst and 3 * epoch >= epochs:
                break
        reader.load_state_dict(best)
    return reader.eval(), best_loss


def row_weights(condition: Condition, schema: ConditionSchema) -> Tensor:
    """(N,) how often each row is drawn: the mean over the fields' classes of what would make these equally common."""
    parts = schema.parts(condition)
    sets = [classes for name, kind in schema.kinds.items() for classes in kind.classes(parts[name])]
    weights = torch.ones(max(len(sets), 1), len(condition))
    for row, classes in zip(weights, sets, strict=False):
        known = classes >= 0
        _, index, counts = classes[known].unique(return_inverse=True, return_counts=True)
        row[known] = (known.sum() / len(counts) / counts)[index].float() if len(counts) else row[known]
    return weights.mean(0).clamp(max=MOST_REPEATED)


def drawn(weights: Tensor, count: int, offset: float) -> Tensor:
    """(count,) rows in proportion to their weights: systematic sampling, offset in [0, 1) of a step."""
    ends = weights.double().cumsum(0)
    places = (torch.arange(count, dtype=torch.float64) + offset) * ends[-1] / count
    return torch.searchsorted(ends, places, right=True).clamp(max=len(weights) - 1)


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


@torch.no_grad()
def outputs_of(reader: Reader, images: Images) -> dict[str, tuple[Tensor, ...]]:
    """Raw outputs for uint16 images (N, C, *spatial)."""
    reader.eval()
    parts = [reader(as_input(images[start : start + AT_ONCE])) for start in range(0, len(images), AT_ONCE)]
    return {
        name: tuple(torch.cat(pieces) for pieces in zip(*(part[name] for part in parts), strict=True))
        for name in parts[0]
    }


def input_size(shape: Sequence[int]) -> list[int]:
    """The size that images of a shape are read in: no side above LONGEST_SIDE, each a multiple of PATCH."""
    share = min(1.0, LONGEST_SIDE[len(shape)] / max(shape))
    return [max(2, round(extent * share / PATCH)) * PATCH for extent in shape]


def as_input(images: np.ndarray) -> Tensor:
    """Stored images to float32 in [-1, 1], of `input_size`."""
    size = input_size(images.shape[2:])
    x = torch.from_numpy(images.astype(np.float32)) / HALF_RANGE - 1
    return x if size == list(x.shape[2:]) else F.interpolate(x, size=size, mode="area")


def _scaled(condition: Condition, size: Sequence[int]) -> Condition:
    """The condition with its masks as large as the reader's input."""
    mask = condition.mask
    if mask is None or mask.shape[1:] == torch.Size(size):
        return condition
    mask = F.interpolate(mask[:, None].float(), size=list(size), mode="nearest-exact")[:, 0].to(mask.dtype)
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
