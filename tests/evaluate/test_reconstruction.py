"""The rows of reconstruction metrics: who has them, their floor, their groups; the file between train and evaluate."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.reconstructions import Reconstructions
from medsynth.artifacts.store import Store
from medsynth.errors import InputError
from medsynth.evaluate.metrics.metric import Compared, Evidence, Group
from medsynth.evaluate.metrics.reconstruction import MS_SSIM, PSNR, SSIM
from tests.contracts.examples import toy_store


class Known(SimpleNamespace):
    """What these metrics look at."""

    def groups(self) -> list[Group]:
        return [Group("all"), Group("x=a", "x", "a"), Group("x=b", "x", "b"), Group("x=c", "x", "c")]

    rng = Evidence.rng


def evidence(shape: tuple[int, ...], error: float = 0.1) -> Known:
    """Six images; reconstructions are off by a share of the range, the nearest training images by twice as much."""
    rng = np.random.default_rng(0)
    real = rng.uniform(0.3, 0.7, (6, 1, *shape))
    real[..., : shape[-1] // 2] = 0  # dark
    shown = real > 0
    made, nearest = (real + shown * error * factor for factor in (1, 2))
    stored = [(65535 * images).round().astype(np.uint16) for images in (real, made, nearest)]
    settings = SimpleNamespace(seed=0, evaluation=SimpleNamespace(bootstrap=50))
    table = pd.DataFrame({"x": [*"ababab", "c", "c"]})  # two more test images that were not reconstructed
    compared = Compared(*stored, np.arange(6))
    return Known(shape=shape, reconstructions=compared, test=SimpleNamespace(table=table), settings=settings)


@pytest.mark.parametrize("metric", [PSNR, SSIM, MS_SSIM])
def test_a_family_that_does_not_reconstruct_has_no_rows(metric):
    known = evidence((32, 32))
    known.reconstructions = None
    assert list(metric.rows(known)) == []


def test_psnr_of_a_known_error_its_floor_and_its_groups():
    """Half of the pixels are off by 0.1 of the range: 20 + 3 dB; the nearest training image is 6 dB worse."""
    rows = {row.group: row for row in PSNR.rows(evidence((32, 32)))}
    whole = rows["all"]
    assert whole.value == pytest.approx(23.01, abs=0.01) and whole.floor == pytest.approx(16.99, abs=0.01)
    assert whole.ci_low <= whole.value <= whole.ci_high
    assert (whole.n_synthetic, whole.n_real, whole.higher_is_better) == (6, 6, True)
    assert rows["x=a"].n_synthetic == rows["x=b"].n_synthetic == 3
    assert rows["x=c"].n_synthetic == 0 and np.isnan(rows["x=c"].value) and "no held-out image" in rows["x=c"].note


def test_volumes_have_their_foreground_too():
    """Where the dark half does not count, the error is 0.1 of the range everywhere."""
    rows = {(row.metric, row.group): row for row in PSNR.rows(evidence((16, 16, 16)))}
    assert {metric for metric, _ in rows} == {"psnr", "psnr_foreground"}
    assert rows["psnr_foreground", "all"].value == pytest.approx(20, abs=0.01)
    assert rows["psnr", "all"].value == pytest.approx(23.01, abs=0.01)
    assert {row.metric for row in SSIM.rows(evidence((16, 16, 16)))} == {"ssim", "ssim_foreground"}


def test_images_that_the_window_does_not_fit_into_are_a_row_with_a_note():
    (row,) = SSIM.rows(evidence((8, 8)))
    assert np.isnan(row.value) and row.note == "images of 8 x 8, expected sides of at least 11"
    (row,) = MS_SSIM.rows(evidence((16, 16)))
    assert np.isnan(row.value) and "expected sides of at least 22" in row.note
    assert "2 of 5 scales fit" in next(iter(MS_SSIM.rows(evidence((32, 32))))).note


def test_the_file_reads_back_and_belongs_to_its_store(tmp_path):
    store = toy_store("categorical", 2)
    made = Reconstructions(store.split("test").images.copy(), np.arange(1))
    made.write(tmp_path / "r.safetensors", store)
    again = Reconstructions.read(tmp_path / "r.safetensors", store)
    assert np.array_equal(again.images, made.images) and again.rows.tolist() == [0] and again.images.dtype == np.uint16
    other = Store(store.info.model_copy(update={"digest": "another"}), store.images, None, store.samples)
    with pytest.raises(InputError, match="of a store with digest"):
        Reconstructions.read(tmp_path / "r.safetensors", other)
    Reconstructions(made.images[..., 1:], made.rows).write(tmp_path / "s.safetensors", store)
    with pytest.raises(InputError, match="the store has images of"):
        Reconstructions.read(tmp_path / "s.safetensors", store)


def test_no_reconstructions_are_no_evidence():
    none = Reconstructions(np.zeros((0, 1, 8, 8), np.uint16), np.zeros(0, np.int64))
    assert not none and len(none) == 0
