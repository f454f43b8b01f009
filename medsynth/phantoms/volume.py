"""A block of slices through a body: bodies are painted over each other, each slice as thick as the scanner's.

Voxels are `spacing` apart; what a voxel shows is the mean over its pixel and, along z, over the slice thickness: a box,
which leaves gaps between thin slices and lets thick ones overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from medsynth.phantoms.bodies import Body, Triple
from medsynth.phantoms.fields import smooth_at
from medsynth.phantoms.phantom import NOT_APPLICABLE, Conditions, PhantomImage

PARTS = 3  # of each slice along z, in which bodies hide each other
Window = tuple[slice, slice, slice, slice]


class Volume:
    """The values and the label map of a block.

    Attributes:
        size: voxels along (z, y, x).
        spacing: between voxels in cm.
        thickness: of a slice in cm.
        values: float32 (slices, PARTS, rows, columns).
        labels: uint8, likewise.
    """

    def __init__(
        self,
        size: Sequence[int],
        field: Triple,
        thickness: float,
        background: float,
        middle: Triple = (0.0, 0.0, 0.0),
    ) -> None:
        """`field` is the block's length along (z, y, x) and `middle` its centre, in cm."""
        self.size = (size[0], size[1], size[2])
        self.field = field
        self.spacing = tuple(float(length / extent) for length, extent in zip(field, size, strict=True))
        self.thickness = thickness
        self.step = thickness / PARTS
        self.first = [m - length / 2 for m, length in zip(middle, field, strict=True)]
        self._centres = [
            (first + (np.arange(extent) + 0.5) * mm).astype(np.float32)
            for first, extent, mm in zip(self.first, size, self.spacing, strict=True)
        ]
        bounds = np.linspace(-thickness / 2, thickness / 2, PARTS + 1, dtype=np.float32)
        self._nodes = self._centres[0][:, None] + bounds
        shape = (size[0], PARTS, size[1], size[2])
        self.values = np.full(shape, background, np.float32)
        self.labels = np.zeros(shape, np.uint8)

    @property
    def z(self) -> np.ndarray:
        """(slices, PARTS, 1, 1) middle of each part."""
        return ((self._nodes[:, 1:] + self._nodes[:, :-1]) / 2)[:, :, None, None]

    @property
    def y(self) -> np.ndarray:
        """(rows, 1)"""
        return self._centres[1][:, None]

    @property
    def x(self) -> np.ndarray:
        """(columns,)"""
        return self._centres[2]

    def texture(self, rng: np.random.Generator, cells: int) -> np.ndarray:
        """A smooth field (slices, PARTS, rows, columns) of unit variance; its cells, `cells` along x, are cubes."""
        side = self.field[2] / cells
        counts = [max(2, round(length / side)) for length in self.field]
        places = [self.z.ravel(), self._centres[1], self._centres[2]]
        shares = [(at - first) / length for at, first, length in zip(places, self.first, self.field, strict=True)]
        return smooth_at(rng, shares, counts).reshape(self.values.shape)

    def window(self, body: Body, edge: float = 0.0) -> Window | None:
        """The slices, rows and columns that a body may touch; None where it lies outside."""
        found = []
        for axis, (low, high) in enumerate(zip(body.low, body.high, strict=True)):
            pad = edge + (self.thickness / 2 if axis == 0 else self.spacing[axis])
            start = int(np.ceil((low - pad - self.first[axis]) / self.spacing[axis] - 0.5))
            stop = int(np.floor((high + pad - self.first[axis]) / self.spacing[axis] - 0.5)) + 1
            if axis:  # three at least, for differences
                start, stop = min(start, self.size[axis] - 3), max(stop, 3)
            start, stop = max(start, 0), min(stop, self.size[axis])
            if stop <= start:
                return None
            found.append(slice(start, stop))
        return found[0], slice(None), found[1], found[2]

    def share(self, body: Body, edge: float = 0.0) -> tuple[Window, np.ndarray] | None:
        """The window of a body, and the share of each of its voxels' parts that the body covers; None outside.

        A surface crosses a voxel where the body's function changes sign within the voxel's widths: the function's
        own differences along the axes say how far that is (as in shaders of distance fields, Green 2007).

        Args:
            edge: width of the border in cm; a voxel at least.
        """
        at = self.window(body, edge)
        if at is None:
            return None
        nodes = self._nodes[at[0]]
        y, x = self.y[at[2]], self.x[at[3]]
        f = body.distance(nodes.reshape(-1, 1, 1), y, x).astype(np.float32, copy=False)
        f = np.broadcast_to(f, (nodes.size, len(y), len(x))).reshape(*nodes.shape, len(y), len(x))
        deep = f[:, 1:] - f[:, :-1]
        middle = f[:, :-1] + 0.5 * deep
        down, across = np.empty_like(middle), np.empty_like(middle)
        down[:, :, 1:-1] = 0.5 * (middle[:, :, 2:] - middle[:, :, :-2])
        down[:, :, 0], down[:, :, -1] = middle[:, :, 1] - middle[:, :, 0], middle[:, :, -1] - middle[:, :, -2]
        across[..., 1:-1] = 0.5 * (middle[..., 2:] - middle[..., :-2])
        across[..., 0], across[..., -1] = middle[..., 1] - middle[..., 0], middle[..., -1] - middle[..., -2]
        deep *= deep
        down *= down
        across *= across
        deep += down
        deep += across
        deep += np.float32(edge**2 + 1e-10)
        width = np.sqrt(deep, out=deep)
        scale: np.ndarray | float = 1.0
        if body.half < np.inf:  # thinner than a voxel: as wide as one, and paler
            lacking = np.maximum(width / 2 - np.float32(body.half), 0)
            middle -= lacking
            scale = (body.half / (body.half + lacking)) ** body.thin
        share = np.clip(0.5 - middle / width, 0, 1) * scale
        return at, share.astype(np.float32, copy=False)

    def cover(self, body: Body, edge: float = 0.0) -> np.ndarray:
        """(slices, PARTS, rows, columns) share of each part that a body covers."""
        total = np.zeros(self.values.shape, np.float32)
        if (found := self.share(body, edge)) is not None:
            total[found[0]] = found[1]
        return total

    def paint(
        self,
        bodies: Body | Iterable[Body],
        value: float | np.ndarray,
        number: int | None = None,
        edge: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """Fill a body, or the union of several, with a tissue.

        Args:
            value: one, or one for each part (slices, PARTS, rows, columns).
            number: of the label map, where more than half is covered; None leaves the labels.
            within: share of each part that may be filled.
        """
        found = self.share(bodies, edge) if isinstance(bodies, Body) else self.together(bodies, edge)
        if found is None:
            return
        at, share = found
        if within is not None:
            share = share * within[at]
        here = value if np.ndim(value) == 0 else np.asarray(value)[at]
        self.values[at] += share * (here - self.values[at])
        if number is not None:
            self.labels[at][share > 0.5] = number

    def together(self, bodies: Iterable[Body], edge: float = 0.0) -> tuple[Window, np.ndarray]:
        """As `share` of the union of bodies, as the pieces of a tube, each in its own window."""
        total = np.zeros(self.values.shape, np.float32)
        for body in bodies:
            if (found := self.share(body, edge)) is not None:
                at, share = found
                np.maximum(total[at], share, out=total[at])
        return (slice(None),) * 4, total

    def mix(self, share: np.ndarray, value: float | np.ndarray, number: int | None = None) -> None:
        """Fill by a share of each part; a label goes where more than half is covered."""
        self.values += share * (value - self.values)
        if number is not None:
            self.labels[share > 0.5] = number

    def strands(self, points: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Share of each part (slices, PARTS, rows, columns) that many thin tubes cover.

        Args:
            points: (tubes, n, 3) along their centre lines, in cm.
            radii: (tubes, n).
        """
        fine = 0.7 * min(self.step * 1.5, *self.spacing[1:])
        pitch = np.linalg.norm(np.diff(points, axis=1), axis=-1).max(initial=1e-6)
        extra = max(1, int(np.ceil(pitch / fine)))
        t = (np.arange(extra) + 0.5) / extra
        way = points[:, :-1, None] + t[:, None] * (points[:, 1:, None] - points[:, :-1, None])
        wide = radii[:, :-1, None] + t * (radii[:, 1:, None] - radii[:, :-1, None])
        length = np.linalg.norm(points[:, 1:] - points[:, :-1], axis=-1)[..., None] / extra
        count = max(1, int(np.ceil((1.8 * float(radii.max()) / min(self.spacing[1:])) ** 2)))
        turn = np.arange(count) * np.pi * (3 - np.sqrt(5))  # a sunflower's even disc (Vogel 1979, Math Biosci 44:179)
        out = np.sqrt((np.arange(count) + 0.5) / count)
        along = (points[:, 1:] - points[:, :-1])[:, :, None]
        along = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
        helper = np.where(np.abs(along[..., :1]) < 0.8, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
        first = np.cross(along, helper)
        first /= np.linalg.norm(first, axis=-1, keepdims=True)
        second = np.cross(along, first)
        disc = (out * np.cos(turn))[:, None], (out * np.sin(turn))[:, None]
        offset = disc[0] * first[..., None, :] + disc[1] * second[..., None, :]
        places = way[..., None, :] + (wide[..., None, None] if count > 1 else 0.0) * offset
        volumes = np.broadcast_to((np.pi * wide**2 * length / count)[..., None], places.shape[:-1])
        return self.deposit(places.reshape(-1, 3), volumes.ravel())

    def deposit(self, points: np.ndarray, volumes: np.ndarray) -> np.ndarray:
        """Share of each part (slices, PARTS, rows, columns) that small balls cover: points (n, 3), volumes in cm3."""
        places = [(points[:, axis] - self.first[axis]) / self.spacing[axis] - 0.5 for axis in range(3)]
        total = np.zeros(self.values.size)
        rows, columns = self.size[1:]
        overlap = int(np.ceil(self.thickness / self.spacing[0]) / 2 + 0.5)
        nearest = np.round(places[0]).astype(int)
        for shift in range(-overlap, overlap + 1):
            slab = nearest + shift
            part = np.floor(((places[0] - slab) * self.spacing[0] + self.thickness / 2) / self.step).astype(int)
            seen = (part >= 0) & (part < PARTS) & (slab >= 0) & (slab < self.size[0])
            slab, part, weight = slab[seen], part[seen], volumes[seen]
            down, across = places[1][seen], places[2][seen]
            row, column = np.floor(down).astype(int), np.floor(across).astype(int)
            down, across = down - row, across - column
            for i in (0, 1):
                for j in (0, 1):
                    r, c = row + i, column + j
                    inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
                    share = weight * np.abs(1 - i - down) * np.abs(1 - j - across)
                    index = ((slab * PARTS + part) * rows + r) * columns + c
                    total += np.bincount(index[inside], share[inside], len(total))
        total /= self.step * self.spacing[1] * self.spacing[2]
        return np.minimum(total, 1).astype(np.float32).reshape(self.values.shape)

    def mean(self, parts: np.ndarray | None = None) -> np.ndarray:
        """(slices, rows, columns) mean over each slice's thickness, of the values if None."""
        return (self.values if parts is None else parts).mean(1)

    def middle_labels(self) -> np.ndarray:
        """(slices, rows, columns) labels of the middle of each slice."""
        return self.labels[:, PARTS // 2].copy()

    @property
    def spacing_mm(self) -> Triple:
        z, y, x = self.spacing
        return 10 * z, 10 * y, 10 * x


def finish(
    volume: Volume, voxels: np.ndarray, conditions: Conditions, lesion: np.ndarray | None, number: int
) -> PhantomImage:
    """The image in axes to the head, the front and the right, with its lesion measured.

    Args:
        voxels: (slices, rows, columns).
        lesion: share of each part (slices, PARTS, rows, columns) that it covers, or None.
        number: its label.
    """
    labels = volume.middle_labels()
    mark_lesion(labels, None if lesion is None else volume.mean(lesion), number)
    voxels, labels = (np.ascontiguousarray(array[::-1, ::-1, ::-1]) for array in (voxels, labels))
    measured = measure_ball(labels, number, volume.spacing)
    return PhantomImage(voxels[None].astype(np.float32), labels, dict(conditions) | measured, volume.spacing_mm)


def mark_lesion(labels: np.ndarray, share: np.ndarray | None, number: int) -> None:
    """Label where a lesion covers half of a voxel, or else the most; share (slices, rows, columns)."""
    if share is not None and share.max() > 0:
        labels[share >= min(0.5, share.max())] = number


def measure_ball(labels: np.ndarray, number: int, spacing: Sequence[float]) -> Conditions:
    """Centroid of what a label map (z, y, x) calls so, and the diameter of the ball of its volume.

    Both are shares of the image, the diameter of its extent along x.
    """
    places = np.argwhere(labels == number)
    names = ("lesion_z", "lesion_y", "lesion_x")
    if len(places) == 0:
        return dict.fromkeys((*names, "lesion_size"), NOT_APPLICABLE)
    shares = (places.mean(0) + 0.5) / labels.shape
    diameter = (6 / np.pi * len(places) * float(np.prod(spacing))) ** (1 / 3)
    found: Conditions = dict(zip(names, map(float, shares), strict=True))
    return found | {"lesion_size": float(diameter / (spacing[2] * labels.shape[2]))}
