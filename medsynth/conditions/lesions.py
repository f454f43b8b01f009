"""A set of lesions, each with a place, a size, and at need a severity and a kind. Their order means nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth.conditions import planes
from medsynth.conditions.column import Column, of_lesion, refuse_number
from medsynth.conditions.kind import (
    ABSENT,
    GIVEN,
    MISSING,
    WAVES,
    Condition,
    Features,
    Kind,
    Reading,
    as_text,
    mean_probability,
)
from medsynth.conditions.lesion_statistics import nearest_pairs, statistics_of
from medsynth.conditions.statistics import NAN
from medsynth.config.columns import NOT_APPLICABLE_TEXT, lesion_columns

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from medsynth.config import Lesions
    from medsynth.images.geometry import Geometry

HEAT_WIDTH = 0.03  # standard deviation of the target heatmap, as a fraction of each side
SURROUNDINGS = 2  # times a lesion's diameter: what its edge, its shadow and its oedema reach


class LesionsKind(Kind):
    """Slots of equal columns, M of them; one that is empty is not applicable.

    A slot's place is read as the mean of a heatmap (Nibali et al. 2018). Where there is room for several, slots are
    matched with what was asked by the least sum of distances (as in DETR; Carion et al. 2020), and each says whether it
    has a lesion at all.
    """

    settings: Lesions
    reads_places = True
    shown_by_mask = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        most, kinds = self.settings.most, self.settings.kinds
        self.slots = lesion_columns(self.name, self.spatial_dims, most, self.settings.graded, bool(kinds))
        self.columns = tuple(column for slot in self.slots for column in slot)
        self.place = self.spatial_dims + 1  # columns of a slot that say where and how large
        self.moved_together = tuple(slot[: self.place + self.settings.graded] for slot in self.slots)
        self.heat_maps = most
        self.planes = 1 + (self.settings.graded or self.settings.severity is not None) + len(kinds)
        self.parts = (1, int(most > 1), int(self.settings.graded), len(kinds))  # outputs of a slot, as they follow
        self.outputs = most * sum(self.parts)
        self.statistics = statistics_of(self.spatial_dims, most > 1, self.settings.graded, bool(kinds))

    # --- cells and scalars ----------------------------------------------------------------------------------------

    def _is_kind(self, column: str) -> bool:
        return bool(self.settings.kinds) and column.endswith("_kind")

    def choices(self, column: str) -> tuple[str, ...]:
        return self.settings.kinds if self._is_kind(column) else ()

    def describe(self, column: str) -> Column:
        return of_lesion(column, self.name, self.choices(column))

    def refusal(self, column: str, text: str) -> str | None:
        if self._is_kind(column):
            return None if text in self.settings.kinds else f"not one of {', '.join(self.settings.kinds)}"
        return refuse_number(text, 0.0, 1.0)

    def check_row(self, cells: Mapping[str, str]) -> tuple[str, str] | None:
        """A lesion that is not there has neither place nor size."""
        for slot in self.slots:
            texts = {column: cells[column] for column in slot[: self.place] if cells.get(column)}
            absent = [column for column, text in texts.items() if text == NOT_APPLICABLE_TEXT]
            if 0 < len(absent) < len(texts):
                return absent[0], f"{NOT_APPLICABLE_TEXT} beside a given {min(set(texts) - set(absent))}"
        return None

    def _is_severity(self, column: str) -> bool:
        return self.settings.graded and column.endswith("_severity")

    def to_value(self, column: str, text: str) -> float:
        if self._is_kind(column):
            return float(self.settings.kinds.index(text))
        return 2 * float(text) - 1 if self._is_severity(column) else float(text)

    def to_text(self, column: str, value: float) -> str:
        if self._is_kind(column):
            return self.settings.kinds[round(value)]
        return f"{(value + 1) / 2 if self._is_severity(column) else value:.6g}"

    def in_slots(self, x: Tensor) -> Tensor:
        """(N, F) → (N, M, columns of a slot)."""
        return x.unflatten(1, (len(self.slots), -1))

    def given(self, part: Condition) -> Tensor:
        """(N, M) which slots have a place and a size."""
        return (self.in_slots(part.states)[:, :, : self.place] == GIVEN).all(2)

    # --- what a network is told -----------------------------------------------------------------------------------

    @property
    def tokens(self) -> int:
        return len(self.slots[0])

    def layers(self, features: int) -> list[nn.Module]:
        from torch import nn

        kinds = len(self.settings.kinds)
        of: list[nn.Module] = [nn.Linear(WAVES, features) for _ in range(self.place + self.settings.graded)]
        of += [nn.Embedding(kinds, features)] if kinds else []
        return of if len(self.slots) == 1 else [*of, nn.Linear(features, features)]

    def embed(
        self, layers: Sequence[nn.Module], tokens: Tensor, waves: Callable[[Tensor], Tensor], part: Condition
    ) -> list[Tensor]:
        """Several lesions share their layers: each is mixed on its own, then they are summed."""
        if len(self.slots) == 1:
            return super().embed(layers, tokens, waves, part)
        import torch
        import torch.nn.functional as F

        *of, mix = layers
        every = Condition(part.values.view(-1, self.tokens), part.states.view(-1, self.tokens))
        slots = torch.stack(super().embed(of, tokens, waves, every)).sum(0)
        return [mix(F.silu(slots)).view(len(part), len(self.slots), -1).sum(1) / len(self.slots) ** 0.5]

    def draw(self, parts: Mapping[str, Condition], shape: Sequence[int]) -> list[Tensor]:
        """Where lesions are, in [0, 1]; how severe there, from -1 (the lowest) to 1; where each kind of them is."""
        import torch

        part = parts[self.name]
        values, states, given = self.in_slots(part.values), self.in_slots(part.states), self.given(part)
        inside = torch.stack(
            [
                planes.discs(values[:, slot, : self.place - 1], values[:, slot, self.place - 1], shape)
                * planes.over(given[:, slot], shape)
                for slot in range(len(self.slots))
            ],
            1,
        )
        drawn = [inside.amax(1)]
        if self.settings.severity is not None:
            strength = parts[self.settings.severity]
            drawn.append(drawn[0] * planes.over(strength.values[:, 0] * (strength.states[:, 0] == GIVEN), shape))
        if self.settings.graded:
            grades = values[:, :, self.place] * (states[:, :, self.place] == GIVEN)
            weighed = inside * grades.view(*grades.shape, *[1] * len(shape))
            drawn.append(weighed.sum(1) / inside.sum(1).clamp(min=1))
        for kind in range(len(self.settings.kinds)):
            of_kind = (values[:, :, -1] == kind) & (states[:, :, -1] == GIVEN)
            drawn.append((inside * of_kind.view(*of_kind.shape, *[1] * len(shape))).amax(1))
        return drawn

    def surroundings(self, part: Condition, shape: Sequence[int]) -> Tensor:
        """Discs of SURROUNDINGS times the lesions' diameters."""
        values, inside = self.in_slots(part.values), self.given(part)
        found = planes.over(inside[:, 0], shape) & False
        for slot, there in zip(values.unbind(1), inside.unbind(1), strict=True):
            wide = SURROUNDINGS * slot[:, self.place - 1]
            about = planes.discs(slot[:, : self.place - 1], wide, shape) > 0.5
            found = found | about & planes.over(there, shape)
        return found

    def placed_by(self, column: str) -> bool:
        return column in self.columns or column == self.settings.severity

    # --- moves ----------------------------------------------------------------------------------------------------

    def moved(self, values: Tensor, matrix: Tensor) -> Tensor:
        import torch

        linear, offset = matrix[:, :, :-1], matrix[:, :, -1]
        shrink = linear.det().abs() ** (-1 / len(offset[0]))
        slots = self.in_slots(values.clone())
        for slot in slots.unbind(1):  # views: the copy is changed
            centre = 2 * slot[:, : self.place - 1] - 1
            moved = torch.linalg.solve(linear, (centre - offset)[:, :, None])[:, :, 0]
            slot[:, : self.place - 1] = (moved + 1) / 2
            slot[:, self.place - 1] *= shrink
        return slots.flatten(1)

    def shifted(self, values: Tensor, offset: Tensor) -> Tensor:
        slots = self.in_slots(values.clone())
        slots[:, :, : self.place - 1] += offset
        return slots.flatten(1)

    def stored(self, geometry: Geometry) -> Iterator[tuple[str, Callable[[float], float]]]:
        for slot in self.slots:
            for axis in range(self.place - 1):  # x is the last array axis
                yield slot[axis], partial(geometry.forward, axis=-1 - axis)
            yield slot[self.place - 1], geometry.forward_length

    # --- reading it back ------------------------------------------------------------------------------------------

    def outputs_of(self, head: nn.Module, features: Features) -> tuple[Tensor, ...]:
        """Centres (N, M, d), sizes (N, M), log heat (N, M, cells), then presence and severity (N, M, 1 or 0) and
        kinds (N, M, K)."""
        size, *more = self.in_slots(head(features.pooled)).split(list(self.parts), 2)
        return (features.centres, size[:, :, 0], features.heat, *more)

    def known(self, part: Condition) -> Tensor:
        """One lesion: it is there. Several: none of them is missing."""
        if len(self.slots) == 1:
            return self.given(part)[:, 0]
        return ~(self.in_slots(part.states)[:, :, : self.place] == MISSING).any(2).any(1)

    def losses(self, outputs: Sequence[Tensor], part: Condition, grid: Sequence[int]) -> list[Tensor]:
        import torch
        import torch.nn.functional as F

        centres, sizes, heat, presence, severity, kinds = outputs
        values, states, given = self.in_slots(part.values), self.in_slots(part.states), self.given(part)
        row, asked, found = self._pairs(values, given, centres)
        terms = []
        if len(row):
            of, state = values[row, asked], states[row, asked]
            centre, size = of[:, : self.place - 1], of[:, self.place - 1]
            squares = ((planes.grid_centres(grid, of.device) - centre[:, None]) / HEAT_WIDTH).square().sum(2)
            target = F.softmax(-squares / 2, dim=1)
            terms.append(-(target * heat[row, found]).sum(1).mean())
            terms.append(10 * (F.l1_loss(centres[row, found], centre) + F.l1_loss(sizes[row, found], size)))
            graded = state[:, self.place] == GIVEN if self.settings.graded else None
            if graded is not None and graded.any():
                terms.append(F.mse_loss(severity[row, found, 0][graded], of[graded, self.place]))
            named = state[:, -1] == GIVEN if self.settings.kinds else None
            if named is not None and named.any():
                terms.append(F.cross_entropy(kinds[row, found][named], of[named, -1].long()))
        if len(self.slots) > 1:
            there = torch.zeros_like(presence[:, :, 0])
            there[row, found] = 1
            terms.append(F.binary_cross_entropy_with_logits(presence[:, :, 0], there))
        return terms

    def _pairs(self, values: Tensor, given: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(P,) thrice: row, slot asked and slot read of each given lesion."""
        import torch

        if len(self.slots) == 1:
            row = given[:, 0].nonzero()[:, 0]
            return row, torch.zeros_like(row), torch.zeros_like(row)
        places, read = values[:, :, : self.place - 1].detach().cpu().numpy(), centres.detach().cpu().numpy()
        found = [
            (row, slots[asked], place)
            for row, slots in enumerate(np.flatnonzero(of) for of in given.cpu().numpy())
            for asked, place in zip(*nearest_pairs(places[row, slots], read[row]), strict=True)
        ]
        rows = torch.tensor(np.array(found, int).reshape(-1, 3), device=values.device)
        return rows[:, 0], rows[:, 1], rows[:, 2]

    def averaged(self, outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
        """Slots are matched by their places with the first reader's, since their order means nothing."""
        import torch

        first, *others = outputs
        matched = [first, *(self._matched(first[0], other) for other in others)]
        centres, sizes, heat, presence, severity, kinds = zip(*matched, strict=True)
        there = torch.stack(presence).sigmoid().mean(0).logit()
        means = [torch.stack(part).mean(0) for part in (centres, sizes, heat)]
        named = mean_probability([part.movedim(2, 1) for part in kinds]).movedim(1, 2)
        return (*means, there, torch.stack(severity).mean(0), named)

    def _matched(self, places: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs with their slots in the order of the places (N, M, d) that they are nearest to."""
        import torch

        if len(self.slots) == 1:
            return list(outputs)
        pairs = zip(places.numpy(), outputs[0].numpy(), strict=True)
        order = torch.from_numpy(np.stack([nearest_pairs(ours, theirs)[1] for ours, theirs in pairs]))
        return [part[torch.arange(len(order))[:, None], order] for part in outputs]

    def read(self, outputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        centres, sizes, _, presence, severity, kinds = outputs
        columns: dict[str, np.ndarray] = {}
        for slot, names in enumerate(self.slots):
            absent = (presence[:, slot] < 0).any(1).numpy()
            numbers = [*centres[:, slot].T.double().numpy(), sizes[:, slot].clamp(0, 1).double().numpy()]
            if self.settings.graded:
                numbers.append((severity[:, slot, 0].clamp(-1, 1).double().numpy() + 1) / 2)
            columns |= {name: np.where(absent, NAN, part) for name, part in zip(names, numbers, strict=False)}
            if self.settings.kinds:
                named = np.array(self.settings.kinds)[kinds[:, slot].argmax(1).numpy()]
                columns[names[-1]] = np.where(absent, NOT_APPLICABLE_TEXT, named)
        return columns, None

    def cells(self, table: pd.DataFrame, reading: Reading) -> dict[str, np.ndarray]:
        """Several lesions stand in the order of those asked that they are nearest to."""
        if len(self.slots) == 1:
            return super().cells(table, reading)
        columns = [as_text(reading.values[column]).replace("nan", NOT_APPLICABLE_TEXT) for column in self.columns]
        read = np.stack([column.to_numpy(dtype=object) for column in columns], 1)
        order = self._order(self._arrays(table), self._arrays(reading.values))
        matched = np.take_along_axis(read.reshape(*order.shape, -1), order[:, :, None], 1).reshape(read.shape)
        return dict(zip(self.columns, matched.T, strict=True))

    def _arrays(self, table: pd.DataFrame) -> np.ndarray:
        """(n, M, columns of a slot) numbers, kinds as their index; NaN where there is none."""
        frame = table.reindex(columns=list(self.columns), fill_value="").astype(object)
        for column in self.columns:
            if self._is_kind(column):
                frame[column] = frame[column].map(
                    lambda text: NAN if text in ABSENT else self.settings.kinds.index(text)
                )
        return frame.replace(list(ABSENT), NAN).to_numpy(dtype=float).reshape(len(frame), len(self.slots), -1)

    def _order(self, asked: np.ndarray, read: np.ndarray) -> np.ndarray:
        """(n, M) which slot that was read goes with each slot that was asked; the others take what is left."""
        places = slice(0, self.place - 1)
        order = np.zeros(asked.shape[:2], int)
        for row in range(len(asked)):
            a, b = (np.flatnonzero(np.isfinite(part[row, :, : self.place]).all(1)) for part in (asked, read))
            i, j = nearest_pairs(asked[row, a, places], read[row, b, places])
            slots = np.full(len(self.slots), -1)
            slots[a[i]] = b[j]
            left = iter(np.setdiff1d(np.arange(len(slots)), b[j]))
            order[row] = [next(left) if slot < 0 else slot for slot in slots]
        return order

    def asked(self, table: pd.DataFrame, masks: np.ndarray | None) -> np.ndarray:
        cells = table.reindex(columns=list(self.columns), fill_value="").to_numpy(dtype=str)
        missing = (cells == "").reshape(len(cells), len(self.slots), -1)[:, :, : self.place].any((1, 2))
        return np.isfinite(self._arrays(table)[:, :, : self.place]).all(2).any(1) & ~missing

    def asked_and_read(
        self, table: pd.DataFrame, masks: np.ndarray | None, reading: Reading, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, ...]:
        """(k, M, columns of a slot) twice, matched, NaN where there is none; places and sizes in pixels."""
        given = self.asked(table, masks)
        asked, read = self._arrays(table)[given], self._arrays(reading.values)[given]
        read = np.take_along_axis(read, self._order(asked, read)[:, :, None], 1)
        pixels = np.ones(asked.shape[2])
        pixels[: self.place] = [*shape[::-1], shape[-1]]
        return asked * pixels, read * pixels
