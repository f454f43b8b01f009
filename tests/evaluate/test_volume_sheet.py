"""The contact sheet of volumes: what each of its tiles shows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from medsynth.evaluate.volume_sheet import Volumes, surface, volume_sheet
from medsynth.images import drawing

TOP = 3 * drawing.MARGIN + 26 + 18  # of the first row of tiles
STEP = drawing.TILE + drawing.GAP


def tile(path: Path, row: int, column: int) -> np.ndarray:
    """The grey levels of a tile, its frame and the mark left out."""
    sheet = np.asarray(Image.open(path).convert("L"))
    y, x = TOP + row * STEP, drawing.MARGIN + column * STEP
    return sheet[y + 3 : y + drawing.TILE - 20, x + 3 : x + drawing.TILE - 3]


def count_colour(path: Path, colour: str) -> int:
    return int((np.asarray(Image.open(path).convert("RGB")) == ImageColor.getrgb(colour)).all(-1).sum())


def test_planes_show_the_middle_and_projections_the_maximum(tmp_path: Path) -> None:
    volume = np.zeros((1, 1, 16, 16, 16), np.uint16)
    volume[0, 0, 12, 3, 14] = 65535  # near the head, the back and the right: on no middle plane
    sides = Volumes(volume, np.array(["a"])), Volumes(volume[:0], np.array([]))
    volume_sheet(tmp_path / "a.png", "d", ["a"], sides, {})
    for plane in range(3):
        assert tile(tmp_path / "a.png", 0, plane).max() == 0
    seen = [np.argwhere(tile(tmp_path / "a.png", 0, 3 + plane) > 150).mean(0) for plane in range(3)]
    voxel = drawing.TILE / 16
    # Right on the left, the back below, the head above; of sagittal, the back on the right.
    expected = [(15 - 3, 15 - 14), (15 - 12, 15 - 14), (15 - 12, 15 - 3)]
    for found, (down, across) in zip(seen, expected, strict=True):
        assert found + 3 == pytest.approx([(down + 0.5) * voxel, (across + 0.5) * voxel], abs=4)


def test_every_synthetic_tile_is_marked_and_masks_are_not(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(0, 65536, (5, 1, 8, 8, 8)).astype(np.uint16)
    labels, masks = np.array(["a"] * 5), np.zeros((5, 8, 8, 8), np.uint8)
    masks[:, 2:6, 2:6, 2:6] = 1
    none = Volumes(volumes[:0], labels[:0])
    sizes = []
    for name, mask in (("with.png", masks), ("without.png", None)):
        volume_sheet(tmp_path / name, "d", ["a"], (none, Volumes(volumes, labels, mask)), {"organ": 1})
        sizes.append(count_colour(tmp_path / name, drawing.SYNTHETIC))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02) and sizes[0] > 3 * 6 * 400  # three rows of six tiles
    with_mask = count_colour(tmp_path / "with.png", drawing.REAL) - count_colour(tmp_path / "without.png", drawing.REAL)
    assert with_mask == pytest.approx(3 * 4 * drawing.TILE * 2, rel=0.05)  # the frames of three masks


def ball(side: int, radius: float) -> np.ndarray:
    grid = np.indices((side, side, side)) - (side - 1) / 2
    return (grid**2).sum(0) <= radius**2


def test_a_surface_is_as_large_as_its_mask_and_as_its_voxels_are_long() -> None:
    def extent(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
        seen = np.asarray(surface(mask, {1: "#ffffff"}, spacing_mm, 256).convert("L")) > 60
        return np.ptp(np.argwhere(seen), axis=0) + 1

    large, small = (extent(ball(24, radius).astype(np.uint8), (1, 1, 1)) for radius in (10, 5))
    assert large / small == pytest.approx([2, 2], rel=0.12)
    assert large[0] == pytest.approx(large[1], rel=0.1)
    flat = ball(24, 10)[::2].astype(np.uint8)  # the same ball by half as many slices
    assert extent(flat, (2, 1, 1)) == pytest.approx(large, rel=0.12)


def test_what_lies_in_the_largest_structure_is_seen_and_an_empty_mask_is_black() -> None:
    mask = ball(24, 11).astype(np.uint8)
    mask[ball(24, 5)] = 2
    colours = {1: drawing.STRUCTURE_COLOURS[0], 2: "#ff0000", 3: "#00ff00"}
    shown = np.asarray(surface(mask, colours, (1, 1, 1))).astype(int)
    assert ((shown[..., 0] > 80) & (shown[..., 1] < 0.6 * shown[..., 0])).sum() > 200
    assert np.asarray(surface(np.zeros((8, 8, 8), np.uint8), colours, (1, 1, 1))).max() == 0
    one = np.zeros((8, 8, 8), np.uint8)
    one[4, 4, 4] = 3
    assert np.asarray(surface(one, colours, (1, 1, 1)))[..., 1].max() > 60
