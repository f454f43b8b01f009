import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medsynth.artifacts.store import Store
from medsynth.judges.copies import TrainingIndex
from medsynth.judges.planted import planted
from medsynth.prepare.prepare import prepare
from tests.conftest import SHARED_DATA
from tests.prepare.test_phantoms import phantom

RADIOGRAPHS = SHARED_DATA / "chest_xray"
SPREAD = 65535


@pytest.fixture(scope="module")
def radiographs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training, validation and other images of different subjects, uint16 (n, 1, 64, 64)."""
    if not RADIOGRAPHS.exists():
        pytest.skip("the real radiographs are not on this machine")
    table = (
        pd.read_csv(RADIOGRAPHS / "samples.csv", dtype=str).drop_duplicates("subject_id").sample(500, random_state=0)
    )
    grey = [
        np.asarray(Image.open(RADIOGRAPHS / name).convert("L").resize((64, 64), Image.BOX)) for name in table["image"]
    ]
    images = np.stack(grey)[:, None].astype(np.uint16) * 257
    return images[:300], images[300:400], images[400:]


def noisy(images: np.ndarray, share: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=images.shape) * share * SPREAD
    return np.clip(images + noise, 0, SPREAD).astype(np.uint16)


DISGUISES = {
    "none": lambda x: x,
    "noise": lambda x: noisy(x, 0.04),
    "shift of 1 px": lambda x: np.roll(x, 1, -1),
    "shift of 2 px down, 1 px left": lambda x: np.roll(x, (2, -1), (-2, -1)),
    "mirror": lambda x: x[..., ::-1],
    "brightness and contrast": lambda x: (x * 0.7 + 9000).astype(np.uint16),
    "blur": lambda x: gaussian_filter(x, (0, 0, 1, 1)),
    "mirror, shift, blur and noise": lambda x: noisy(
        gaussian_filter(np.roll(x[..., ::-1], 1, -2), (0, 0, 0.7, 0.7)), 0.02
    ),
}


@pytest.fixture(scope="module")
def indexed(radiographs) -> tuple[TrainingIndex, float]:
    training, validation, _ = radiographs
    index = TrainingIndex(training)
    return index, float(np.quantile(index.nearest(validation).whole, 0.99))


@pytest.mark.parametrize("disguise", DISGUISES)
def test_planted_copies_are_found_and_named(radiographs, indexed, disguise: str) -> None:
    training, (index, limit) = radiographs[0], indexed
    likeness = index.nearest(DISGUISES[disguise](training[20:60]))
    found = (likeness.whole > limit) & (likeness.position == np.arange(20, 60))
    assert found.mean() >= 0.95


def test_turned_copies_are_named_where_all_images_have_the_same_ribs(tmp_path) -> None:
    source = {"kind": "phantom", "phantom": "chest_xray", "count": 160}
    prepare(phantom(source=source, size=(64, 64)), tmp_path / "store")
    training = Store.open(tmp_path / "store").images
    turned = {kind: (images, rows) for kind, images, rows in planted(training, training, 40, (0,))}["turned 5°"]
    assert (TrainingIndex(training).nearest(turned[0]).position == turned[1]).mean() >= 0.95  # by tiles alone 0.85


def test_strangers_are_beyond_the_limit_as_rarely_as_it_says(radiographs) -> None:
    # A limit from 100 images is itself uncertain, so over several splits: 1 % and the quantile's own error.
    images = np.concatenate(radiographs)
    shares = []
    for seed in range(3):
        training, validation, others = np.split(np.random.default_rng(seed).permutation(images), [300, 400])
        index = TrainingIndex(training)
        limit = np.quantile(index.nearest(validation).whole, 0.99)
        shares.append((index.nearest(others).whole > limit).mean())
    assert np.mean(shares) <= 0.04


@pytest.mark.parametrize(("size", "off"), [((64, 64), 1e-3), ((40, 48), 0.1)])  # a thumbnail's cells cut pixels, or not
def test_a_copy_has_similarity_one(size: tuple[int, int], off: float) -> None:
    training = np.random.default_rng(0).integers(0, SPREAD, (50, 3, *size)).astype(np.uint16)
    likeness = TrainingIndex(training).nearest(training[7:9])
    np.testing.assert_allclose(likeness.whole, 1, atol=off)
    np.testing.assert_allclose(likeness.parts, 1, atol=off)
    assert likeness.position.tolist() == [7, 8]


def test_volumes_are_compared_too() -> None:
    training = np.random.default_rng(0).integers(0, SPREAD, (12, 1, 16, 16, 16)).astype(np.uint16)
    likeness = TrainingIndex(training).nearest(np.roll(training[3:5], 1, -1)[..., ::-1])
    assert likeness.position.tolist() == [3, 4]
    assert (likeness.whole > 0.8).all()


def test_a_constant_image_is_like_nothing() -> None:
    training = np.random.default_rng(0).integers(0, SPREAD, (20, 1, 32, 32)).astype(np.uint16)
    likeness = TrainingIndex(training).nearest(np.full((1, 1, 32, 32), 1000, dtype=np.uint16))
    assert -1 <= likeness.whole[0] < 0.5 and likeness.parts[0] == 0


def test_a_third_that_is_another_image_hides_a_copy_from_the_whole_but_not_from_the_parts(radiographs, indexed) -> None:
    training, (index, limit) = radiographs[0], indexed
    limits = np.quantile(index.nearest(radiographs[1]).parts, 0.99)
    pasted = training[20:60].copy()
    pasted[..., 43:] = radiographs[2][:40, ..., 43:]
    likeness = index.nearest(pasted)
    assert (likeness.whole > limit).mean() < 0.5
    assert (likeness.parts > limits).mean() >= 0.8


def test_black_corners_that_all_images_share_are_no_parts_alike() -> None:
    images = np.random.default_rng(0).integers(0, SPREAD, (60, 1, 64, 64)).astype(np.uint16)
    images[..., :40, :] = 0
    likeness = TrainingIndex(images[:50]).nearest(images[50:])
    assert likeness.parts.max() < 0.8


@pytest.mark.parametrize("dims", [2, 3])
def test_few_training_images_whose_tiles_vary_in_few_directions_are_searched(dims: int) -> None:
    training = np.random.default_rng(0).integers(0, SPREAD, (7, 1, *[16] * dims)).astype(np.uint16)
    training[4:, ..., :8] = 1000  # there, tiles of four images alone tell something
    likeness = TrainingIndex(training).nearest(training[:2])
    assert likeness.position.tolist() == [0, 1]
    np.testing.assert_allclose(likeness.parts, 1, atol=1e-3)
