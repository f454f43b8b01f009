"""The interface of a condition kind: one object for each field, with everything that differs between kinds.

A field is a few scalars, each with a value and a state: given, missing (an empty cell) or not applicable (`n/a`: the
size of a lesion that is not there). Networks learn a token for either absence. Torch is imported where tensors are
made, so that the table reader and the plan stay light.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth.conditions.column import Column
from medsynth.conditions.statistics import Statistic
from medsynth.config.columns import NOT_APPLICABLE_TEXT

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor, nn

    from medsynth.config import FieldSettings
    from medsynth.images.geometry import Geometry

GIVEN, MISSING, NOT_APPLICABLE = 0, 1, 2
ABSENT = ("", NOT_APPLICABLE_TEXT)  # the cells of the two states without a value
WAVES = 8  # features of a number before its layer


@dataclass(frozen=True)
class Condition:
    """A batch of conditions, or of one field of them.

    Attributes:
        values: (N, F) float32: the index of a category, a number scaled to [-1, 1], a fraction of the image.
        states: (N, F) int64: GIVEN, MISSING or NOT_APPLICABLE; the value counts only where GIVEN.
        mask: (N, *spatial) uint8 label maps, None where no field asks for them.
    """

    values: Tensor
    states: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor | slice) -> Condition:
        return Condition(self.values[rows], self.states[rows], None if self.mask is None else self.mask[rows])

    def to(self, device: torch.device | str) -> Condition:
        mask = None if self.mask is None else self.mask.to(device)
        return Condition(self.values.to(device), self.states.to(device), mask)


@dataclass(frozen=True)
class Features:
    """The reader's features of N images, from which a head reads one field.

    Attributes:
        pooled: (N, P) of the whole image.
        grid: (N, C, *grid) at each position.
        centres: (N, M, dims) means of the field's M heatmaps, as fractions (x, y[, z]); heat: (N, M, cells) their logs.
    """

    pooled: Tensor
    grid: Tensor
    centres: Tensor
    heat: Tensor


@dataclass(frozen=True)
class Reading:
    """The reader's predictions for n images.

    Attributes:
        values: one column for each condition column: text, or a number in the cell's unit.
        probabilities: by field: (n, K) of its values, or (n, K, *grid) of a mask's background and structures.
    """

    values: pd.DataFrame
    probabilities: dict[str, np.ndarray]


class Kind(ABC):
    """One field: by default one scalar for each column, and one output of the reader for each scalar.

    Attributes:
        columns: of the sample table.
        statistics: of asked and read.
        moved_together: groups of number columns that a plan moves between patients, each as one.
        outputs: of the reader's head; heat_maps: that it is given; reads_places: whether it looks at positions.
        planes: that `draw` gives.
        has_classes: whether the first array of `asked_and_read` is the class of each image.
        needs_mask: whether the images' label maps must be there; shown_by_mask: whether these show where it is.
    """

    outputs = 1
    heat_maps = 0
    reads_places = False
    planes = 0
    has_classes = False
    needs_mask = False
    shown_by_mask = False
    statistics: tuple[Statistic, ...] = ()
    moved_together: tuple[tuple[str, ...], ...] = ()
    settings: FieldSettings

    def __init__(
        self, name: str, settings: FieldSettings, spatial_dims: int, structures: Mapping[str, int] | None = None
    ) -> None:
        """structures: name → number of each label of the images' masks."""
        self.name = name
        self.settings = settings
        self.spatial_dims = spatial_dims
        self.columns: tuple[str, ...] = (name,)

    # --- cells and scalars ----------------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """Number of scalars."""
        return len(self.columns)

    @property
    def drops(self) -> tuple[slice, ...]:
        """The scalars that are left out together; each slice is dropped on its own."""
        return (slice(0, self.width),)

    def check(self, column: str, text: str) -> str | None:
        """Why a cell cannot be used, or None if it can."""
        return None if text in ABSENT else self.refusal(column, text)

    def check_row(self, cells: Mapping[str, str]) -> tuple[str, str] | None:
        """The first column whose cell does not go with the others of its row, and why; None where all do."""
        return None

    def refusal(self, column: str, text: str) -> str | None:
        """Why a cell that has a value cannot be used."""
        raise NotImplementedError

    def choices(self, column: str) -> tuple[str, ...]:
        """Every value that a cell may be, where it is one of a list."""
        return ()

    def describe(self, column: str) -> Column:
        """What its cells in a released table hold."""
        return Column(column, "string", self.name, self.choices(column))

    def to_value(self, column: str, text: str) -> float:
        raise NotImplementedError

    def to_text(self, column: str, value: float) -> str:
        raise NotImplementedError

    def encode(self, cells: Mapping[str, Sequence[str]], count: int) -> Condition:
        """Checked cells of `count` rows → scalars; a column that is not there is missing in every row."""
        import torch

        values = torch.zeros(count, self.width)
        states = torch.full((count, self.width), MISSING)
        for position, column in enumerate(self.columns):
            for row, text in enumerate(cells.get(column, ())):
                if text == NOT_APPLICABLE_TEXT:
                    states[row, position] = NOT_APPLICABLE
                elif text:
                    states[row, position] = GIVEN
                    values[row, position] = self.to_value(column, text)
        return Condition(values, states)

    def decode(self, part: Condition) -> dict[str, list[str]]:
        """Scalars → cells."""
        return {
            column: [
                ABSENT[state - 1] if state != GIVEN else self.to_text(column, value)
                for value, state in zip(
                    part.values[:, position].tolist(), part.states[:, position].tolist(), strict=True
                )
            ]
            for position, column in enumerate(self.columns)
        }

    # --- what a network is told -----------------------------------------------------------------------------------

    @property
    def tokens(self) -> int:
        """Learned pairs of tokens, for missing and for not applicable."""
        return self.width

    def layers(self, features: int) -> list[nn.Module]:
        """The layers that `embed` its scalars, in the order in which they are initialised."""
        from torch import nn

        return [nn.Linear(WAVES, features) for _ in range(self.width)]

    def embed(
        self, layers: Sequence[nn.Module], tokens: Tensor, waves: Callable[[Tensor], Tensor], part: Condition
    ) -> list[Tensor]:
        """Terms (N, E) of the condition's vector.

        Args:
            tokens: (number of tokens, 2, E).
            waves: (N,) → (N, WAVES), smooth features of a number.
        """
        return [
            embed_scalar(layer, token, waves, value, state)
            for layer, token, value, state in zip(layers, tokens, part.values.T, part.states.T, strict=True)
        ]

    def draw(self, parts: Mapping[str, Condition], shape: Sequence[int]) -> list[Tensor]:
        """Planes (N, *shape) of the field, which may depend on other fields of `parts`."""
        return []

    def surroundings(self, part: Condition, shape: Sequence[int]) -> Tensor | None:
        """(N, *shape) bool: what lies in or about a thing that the field places; None where it places nothing."""
        return None

    def placed_by(self, column: str) -> bool:
        """Whether a column says where, how large, how severe or of which kind a thing that the field places is."""
        return False

    # --- moves ----------------------------------------------------------------------------------------------------

    def moved(self, values: Tensor, matrix: Tensor) -> Tensor:
        """The scalars (N, F) after the images were resampled; matrix: (N, d, d + 1) as `affine_grid` takes it."""
        return values

    def shifted(self, values: Tensor, offset: Tensor) -> Tensor:
        """The scalars (N, F) after a shift of all images; offset: (d,) fractions of the image, x first."""
        return values

    def stored(self, geometry: Geometry) -> Iterator[tuple[str, Callable[[float], float]]]:
        """Each column that a change of geometry moves, and how its number becomes that of the stored image."""
        return iter(())

    def agrees(self, column: str, cells: np.ndarray, text: str) -> np.ndarray:
        """Which of the cells (n,), no numbers, say the same as a cell that is asked for."""
        return cells == text

    def seen(self, column: str, cells: np.ndarray, text: str) -> bool:
        """Whether training cells (n,) show what a cell, no number, asks for: a model cannot draw anything else."""
        return bool(self.agrees(column, cells, text).any())

    # --- reading it back ------------------------------------------------------------------------------------------

    def head(self, pooled: int, grid_channels: int) -> nn.Module:
        """The reader's last layer for this field."""
        from torch import nn

        return nn.Linear(pooled, self.outputs)

    def outputs_of(self, head: nn.Module, features: Features) -> tuple[Tensor, ...]:
        """Raw outputs, images first."""
        return (head(features.pooled)[:, 0],)

    def known(self, part: Condition) -> Tensor:
        """(N,) whether a row says enough to learn from."""
        return (part.states == GIVEN).all(1)

    def classes(self, part: Condition) -> list[Tensor]:
        """Sets of classes that a reader should see equally often: (N,) whole numbers, -1 where a row has none."""
        return []

    def losses(self, outputs: Sequence[Tensor], part: Condition, grid: Sequence[int]) -> list[Tensor]:
        """Loss terms of known rows; grid: the shape of the reader's positions."""
        import torch.nn.functional as F

        return [F.mse_loss(outputs[0], part.values[:, 0])]

    def averaged(self, outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        """Raw outputs of several readers as one: here their mean."""
        import torch

        return tuple(torch.stack(parts).mean(0) for parts in zip(*outputs, strict=True))

    @abstractmethod
    def read(self, outputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Outputs → the columns of `Reading.values`, and probabilities where it has some."""

    def cells(self, table: pd.DataFrame, reading: Reading) -> dict[str, np.ndarray]:
        """The readings as text by column; not applicable where that is what the table says."""
        cells = {}
        for column in self.columns:
            text = as_text(reading.values[column])
            not_applicable = table[column] == NOT_APPLICABLE_TEXT if column in table else False
            cells[column] = np.where(not_applicable, NOT_APPLICABLE_TEXT, text)
        return cells

    def structures_read(self, reading: Reading) -> dict[str, np.ndarray]:
        """Structure → (n, *grid) bool where it was read; empty for a field that places none."""
        return {}

    def asked(self, table: pd.DataFrame, masks: np.ndarray | None) -> np.ndarray:
        """(n,) the rows in which the field was asked: those of `asked_and_read`."""
        return ~table.reindex(columns=[self.name], fill_value="")[self.name].isin(ABSENT).to_numpy()

    def asked_and_read(
        self, table: pd.DataFrame, masks: np.ndarray | None, reading: Reading, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, ...]:
        """What `statistics` compare, on the k rows where the field was asked: here cells as text, (k,) twice.

        Args:
            table: the condition cells; masks: (n, *spatial) label maps; one row an image.
            shape: (*spatial) of the images in pixels.
        """
        given = self.asked(table, masks)
        if not given.any():
            return np.zeros(0, str), np.zeros(0, str)
        return tuple(part[self.name][given].to_numpy(dtype=str) for part in (table, reading.values))

    def asked_as(self, value: str) -> Any:
        """How a value of a cell stands in what was asked."""
        return value

    def by_part(self, arrays: tuple[np.ndarray, ...]) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
        """The rows of metrics that the field has: a name, and the arrays that its statistics take."""
        yield self.name, arrays


def embed_scalar(
    layer: nn.Module, token: Tensor, waves: Callable[[Tensor], Tensor], value: Tensor, state: Tensor
) -> Tensor:
    """One scalar's vector (N, E): its value's where it is given, else the token of its state."""
    import torch
    from torch import nn

    value = torch.where(state == GIVEN, value, 0)
    given = layer(value.long()) if isinstance(layer, nn.Embedding) else layer(waves(value))
    absent = token[(state - 1).clamp(min=0)]
    return torch.where((state == GIVEN)[:, None], given, absent)


def mean_probability(logits: Sequence[Tensor]) -> Tensor:
    """Logits of the mean of several softmaxes over axis 1."""
    import torch

    return torch.stack([part.log_softmax(1) for part in logits]).logsumexp(0) - math.log(len(logits))


def as_text(read: pd.Series) -> pd.Series:
    """Readings as text, numbers at four digits."""
    return read.map("{:.4g}".format) if read.dtype.kind == "f" else read
