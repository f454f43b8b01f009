import io

import numpy as np
import PIL.Image
import pytest
from scipy.ndimage import shift

from medsynth.judges.neighbours import MOST, Neighbours
from tests.judges.test_planted import SPREAD, textured


def saved_again(image: np.ndarray) -> np.ndarray:
    """As a JPEG."""
    file = io.BytesIO()
    PIL.Image.fromarray((image[0] // 257).astype(np.uint8)).save(file, "jpeg", quality=80)
    return np.asarray(PIL.Image.open(file)).astype(np.uint16)[None] * 257


CHANGES = {
    "saved again as a JPEG": saved_again,
    "brighter and paler": lambda image: (image * 0.8 + 6000).astype(np.uint16),
    "moved by 2 of 64 pixels": lambda image: shift(image, (0, 2, -1), order=1, mode="nearest"),
    "cropped by a pixel on each side": lambda image: np.asarray(
        PIL.Image.fromarray(image[0, 1:-1, 1:-1].astype(np.float32)).resize((64, 64), PIL.Image.BILINEAR)
    ).astype(np.uint16)[None],
}


@pytest.fixture(scope="module")
def strangers() -> np.ndarray:
    return textured(120, 0)


def names(count: int) -> np.ndarray:
    return np.array([f"s{number:03d}" for number in range(count)])


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_under_two_names_is_found(strangers, change):
    images = np.concatenate([strangers, CHANGES[change](strangers[7])[None]])
    pairs, likeness, limit = Neighbours(images, names(121)).duplicates()
    assert pairs.tolist() == [[7, 120]]
    assert limit < likeness[0] <= 1.0001 and limit <= MOST


def test_strangers_are_no_pairs_and_images_of_one_subject_are_not_compared(strangers):
    assert len(Neighbours(strangers, names(120)).duplicates()[0]) == 0
    images = np.concatenate([strangers, strangers[:3]])
    of_same = np.concatenate([names(120), names(3)])
    assert len(Neighbours(images, of_same).duplicates()[0]) == 0


def test_a_stated_limit_is_taken(strangers):
    pairs, likeness, limit = Neighbours(strangers, names(120)).duplicates(0.2)
    assert limit == 0.2 and len(pairs) and likeness.min() > 0.2


def test_neighbouring_slices_become_one_chain_though_half_of_the_images_are_such(strangers):
    # Sixty patients, ten of whom have six more slices each: every slice is a mix of itself and the one before.
    images, chains = [*strangers[:60]], []
    rng = np.random.default_rng(0)
    for patient in range(10):
        chain = [patient]
        for _ in range(6):
            other = strangers[60 + rng.integers(60)]
            chain.append(len(images))
            images.append((0.85 * images[chain[-2]] + 0.15 * other).astype(np.uint16))
        chains.append(chain)
    stack = np.stack(images)
    pairs, _, _ = Neighbours(stack, names(len(stack))).duplicates()
    patient_of = {image: chain[0] for chain in chains for image in chain}
    assert all(patient_of.get(a, a) == patient_of.get(b, b) for a, b in pairs.tolist())
    joined = set(pairs.flatten().tolist())
    assert np.mean([image in joined for chain in chains for image in chain]) > 0.9


def test_blank_images_are_not_alike_and_few_images_are_compared_by_the_highest_limit():
    blank = np.stack([np.full((1, 32, 32), grey, np.uint16) for grey in (0, 0, 9000, SPREAD)])
    pairs, _, limit = Neighbours(blank, names(4)).duplicates()
    assert len(pairs) == 0 and limit == MOST
    single = Neighbours(blank[:1], names(1)).duplicates()
    assert single[0].shape == (0, 2)


def test_volumes_and_colours_are_compared():
    volumes = textured(30, 1, dims=3, side=16)
    pairs, _, _ = Neighbours(np.concatenate([volumes, volumes[4:5] // 2 + 999]), names(31)).duplicates()
    assert [4, 30] in pairs.tolist()
    colour = textured(40, 2, side=32).repeat(3, 1)
    colour[:, 1] //= 2
    pairs, _, _ = Neighbours(np.concatenate([colour, colour[5:6] // 2 + 999]), names(41)).duplicates()
    assert pairs.tolist() == [[5, 40]]
