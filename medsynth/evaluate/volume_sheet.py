"""The contact sheet of volumes: three planes, three maximum-intensity projections, and surfaces of masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from medsynth.artifacts.shards import Images
from medsynth.images.drawing import (
    BESIDE_REAL,
    FAINT,
    GAP,
    INK,
    ISOTROPIC,
    MARGIN,
    MARK,
    PLANES,
    REAL,
    SYNTHETIC,
    TILE,
    fitted,
    font,
    new_sheet,
    row_of_tiles,
    structure_colours,
    view,
)

SHOWN = 3  # volumes of each class and side
MOST_CELLS = 48  # along the longest side of a mask, between which its surface is drawn
SMOOTHED = 0.6  # voxels, the standard deviation of a Gaussian over each label, against the steps of voxels
CLEAR = 0.12  # opacity of the largest structure, which others lie in
LIGHT = np.array([0.3, 0.8, 0.5]) / np.linalg.norm([0.3, 0.8, 0.5])  # towards it: right, front, head
ELEVATION, AZIMUTH = 15, 65  # degrees: from the front, a little from the patient's left and from above


@dataclass(frozen=True)
class Volumes:
    """One side of the sheet.

    Attributes:
        images: uint16 (n, C, z, y, x) on the store's scale.
        labels: (n,) the class of each.
        masks: uint8 (n, z, y, x) label maps; None where there are none.
    """

    images: Images
    labels: np.ndarray
    masks: np.ndarray | None = None


def volume_sheet(
    path: Path,
    title: str,
    classes: Sequence[str],
    sides: tuple[Volumes, Volumes],
    structures: Mapping[str, int],
    spacing_mm: Sequence[float] | None = None,
) -> None:
    """For each class some real volumes above some synthetic ones, the first of each, one a row: nothing is picked.

    Surfaces are drawn where the synthetic volumes were asked for by masks: those masks, and the real volumes' own.

    Args:
        sides: real and synthetic.
        structures: name → number of each label in the masks.
        spacing_mm: of z, y and x; cubes if left out.
    """
    spacing_mm = spacing_mm or ISOTROPIC
    columns = [*PLANES, *(f"{plane} MIP" for plane in PLANES)]
    key: tuple[tuple[str, str], ...] = BESIDE_REAL
    colours: dict[int, str] = {}
    if sides[1].masks is not None:
        columns.append("mask, or asked for")
        colours = dict(zip(structures.values(), structure_colours(structures), strict=True))
        key += tuple((name.replace("_", " "), colours[number]) for name, number in structures.items())
    rows = [[np.flatnonzero(side.labels == name)[:SHOWN] for side in sides] for name in classes]
    height = sum(sum(map(len, pair)) * (TILE + GAP) + 54 for pair in rows)
    page, draw = new_sheet(len(columns) * (TILE + GAP), height, title, key)
    y = 3 * MARGIN
    for name, pair in zip(classes, rows, strict=True):
        draw.text((MARGIN, y), name.replace("_", " "), INK, font(17))
        counts = ", ".join(
            f"{(side.labels == name).sum()} {what}"
            for side, what in zip(sides, ("real (test)", "synthetic"), strict=True)
        )
        draw.text((page.width - MARGIN, y + 4), counts, FAINT, font(13), anchor="ra")
        y += 26
        for place, column in enumerate(columns):
            draw.text((MARGIN + place * (TILE + GAP), y), column, FAINT, font(12))
        y += 18
        for side, found, colour, mark in zip(sides, pair, (REAL, SYNTHETIC), ("", MARK), strict=True):
            for row in found:
                tiles = _tiles(side.images[row], spacing_mm)
                row_of_tiles(page, y, tiles, colour, mark)
                if colours and side.masks is not None:  # of a real subject in either row
                    row_of_tiles(page, y, [surface(side.masks[row], colours, spacing_mm)], REAL, "", len(tiles))
                y += TILE + GAP
        y += 10
    page.save(path)


def _tiles(volume: np.ndarray, spacing_mm: Sequence[float]) -> list[Image.Image]:
    return [
        fitted(view(volume, axis, spacing_mm, projected), TILE)
        for projected in (False, True)
        for axis in range(len(PLANES))
    ]


def surface(mask: np.ndarray, colours: Mapping[int, str], spacing_mm: Sequence[float], side: int = TILE) -> Image.Image:
    """Surfaces of the labels of a mask (z, y, x) in RAS+ by marching cubes, seen obliquely from the front.

    The largest label is nearly clear, so that those inside are seen.

    Args:
        colours: label → its colour.
        spacing_mm: of z, y and x.
        side: pixels of the square picture.
    Source: Lewiner et al. 2003, as scikit-image has it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    extent = np.array(mask.shape)[::-1] * np.array(spacing_mm)[::-1]  # x, y, z in mm
    figure = Figure(figsize=(1, 1), dpi=side, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    axis: Any = figure.add_axes((0, 0, 1, 1), projection="3d", facecolor="black")
    axis.set(xlim=(0, extent[0]), ylim=(0, extent[1]), zlim=(0, extent[2]))
    axis.set_box_aspect(extent, zoom=1.6)
    axis.view_init(ELEVATION, AZIMUTH)
    axis.set_axis_off()
    triangles, shades = _triangles(mask, colours, spacing_mm)
    if len(triangles):
        axis.add_collection3d(Poly3DCollection(triangles, facecolors=shades, linewidths=0))
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _triangles(
    mask: np.ndarray, colours: Mapping[int, str], spacing_mm: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 3, 3) in mm as x, y, z, and RGBA (n, 4), of all labels together, so that they hide each other."""
    from matplotlib.colors import to_rgb
    from skimage.measure import marching_cubes

    counts = np.bincount(mask.ravel(), minlength=256)
    present = [number for number in colours if counts[number]]
    largest = max(present, key=lambda number: counts[number], default=None)
    step = math.ceil(max(mask.shape) / MOST_CELLS)
    corners, shades = [np.empty((0, 3, 3))], [np.empty((0, 4))]
    for number in present:
        voxels = np.pad((mask == number).astype(np.float32), step + 1)
        smooth = gaussian_filter(voxels, SMOOTHED)
        inside = smooth if smooth.max() > 0.5 else voxels  # of a voxel or two nothing would be left
        vertices, faces, _, _ = marching_cubes(inside, 0.5, spacing=tuple(spacing_mm), step_size=step)
        of_label = (vertices - (step + 1) * np.array(spacing_mm))[faces][:, :, ::-1]
        normals = np.cross(of_label[:, 1] - of_label[:, 0], of_label[:, 2] - of_label[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        lit = 0.45 + 0.55 * np.abs(normals @ LIGHT)
        opacity = CLEAR if number == largest and len(present) > 1 else 1.0
        corners.append(of_label)
        shades.append(np.column_stack([lit[:, None] * np.array(to_rgb(colours[number])), np.full(len(lit), opacity)]))
    return np.concatenate(corners), np.concatenate(shades)
