"""The disc is found where the label maps of simulated and real photographs have it."""

import numpy as np
import pytest
from PIL import Image

from medsynth.errors import InputError
from medsynth.images.content import content_box
from medsynth.images.optic_disc import BOX, disc_box, find_disc
from medsynth.phantoms.fundus import FUNDUS
from tests.conftest import SHARED_DATA

DISC = [FUNDUS.structures[name] for name in ("disc", "cup")]
REAL = SHARED_DATA / "fundus_discs"


def discs_away(scaled: np.ndarray, disc: np.ndarray) -> float:
    """Distance between the place found and the middle of the disc, in the disc's radii."""
    rows, columns = np.nonzero(disc)
    row, column = find_disc(scaled, content_box(scaled))
    return float(np.hypot(row - 0.5 - rows.mean(), column - 0.5 - columns.mean()) / np.sqrt(disc.sum() / np.pi))


@pytest.mark.parametrize(("side", "count"), [(64, 30), (256, 10)])
def test_the_disc_of_a_simulated_eye_is_found(side, count):
    """Of 400 and 150 eyes within a radius: 399 and 149, median 0.23 and 0.20; the other has a large bright scar."""
    eyes = [FUNDUS.render(seed, (side, side)) for seed in range(7000, 7000 + count)]
    away = [discs_away(2 * eye.voxels - 1, np.isin(eye.labels, DISC)) for eye in eyes]
    assert np.mean(np.array(away) < 1) >= 0.9 and np.median(away) < 0.4


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no photographs of discs in {SHARED_DATA}")
def test_the_disc_of_real_photographs_is_found():
    """These show little beside the disc: the scale is not that of a whole field, and a middle place is no feat."""
    away = []
    for path in sorted((REAL / "images").glob("*.jpg"))[::6]:
        with Image.open(path) as image, Image.open(REAL / f"masks/{path.stem}.png") as mask:
            scaled = np.moveaxis(np.asarray(image, np.float32), -1, 0) / 127.5 - 1
            away.append(discs_away(scaled, np.asarray(mask) > 0))
    assert len(away) > 10 and max(away) < 1


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and a brown field in a black frame of 200 pixels."""
    y, x = np.mgrid[:200, :200]
    eye = np.where(np.hypot(y - 100, x - 100) < 95, np.array([0.1, -0.3, -0.7])[:, None, None], -1.0)
    return y, x, eye + 0.01 * np.random.default_rng(0).standard_normal(eye.shape)


def test_a_soft_lesion_as_bright_as_the_disc_is_none():
    y, x, eye = scene()
    eye += 0.7 * np.exp(-((y - 140) ** 2 + (x - 70) ** 2) / (2 * 14**2))
    eye[:, np.hypot(y - 90, x - 150) < 13] += 0.5
    eye[:, (np.abs((x - 150) % 8 - 4) < 1.5) & (np.abs(x - 150) < 10) & (np.abs(y - 90) < 60)] -= 0.3
    assert find_disc(eye, content_box(eye)) == pytest.approx((90, 150), abs=8)
    (top, bottom), (left, right) = disc_box(eye)
    assert bottom - top == right - left == pytest.approx(BOX * 190, abs=2)
    assert ((top + bottom) / 2, (left + right) / 2) == pytest.approx((90, 150), abs=9)


@pytest.mark.parametrize("value", [-1.0, 0.3])
def test_an_even_image_has_no_disc(value):
    with pytest.raises(InputError, match="no optic disc: no place is both brighter"):
        disc_box(np.full((3, 60, 80), value, np.float32))
