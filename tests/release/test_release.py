"""The handed-over folder: what stands in it can be read back, adds up and is refused when it does not fit together."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image as PngImage

from medsynth.config import ReleaseSettings
from medsynth.errors import InputError
from medsynth.release.release import release, release_one

WEIGHTS, DATA = "a" * 64, "d" * 64
CHECKPOINT = {
    "settings": {"seed": 1, "model": {"family": "diffusion", "channels": [8]}},
    "weights_sha256": WEIGHTS,
    "parents": {},
    "images_seen": 24_000,
    "store": {"digest": DATA},
}
AS_PNG = ReleaseSettings(formats=("png",))
METRICS = pd.DataFrame(
    {
        "metric": ["kid", "diversity"],
        "value": [2.41234, 0.5],
        "ci_low": [2.2, None],
        "ci_high": [2.6, None],
        "floor": [-0.001, 0.6],
        "n_real": [100, 100],
        "n_synthetic": [4, 4],
        "higher_is_better": [False, True],
        "group": ["", "normal"],
    }
)


@dataclass
class FakeStore:
    """What a release reads of a store."""

    info: SimpleNamespace
    samples: pd.DataFrame
    spacings: tuple[tuple[float, ...] | None, ...] = (None,) * 3

    def split(self, name: str) -> Self:
        chosen = self.samples["split"] == name
        return FakeStore(self.info, self.samples[chosen], tuple(compress(self.spacings, chosen)))

    def spacing_mm(self, row: int) -> tuple[float, ...] | None:
        return self.spacings[row]

    def __len__(self) -> int:
        return len(self.samples)


def make_store(modality: str = "chest_xray", low: str = "0.0", high: str = "255.0", channels: int = 1) -> FakeStore:
    info = SimpleNamespace(
        dataset="toy",
        modality=modality,
        simulated=False,
        size=(2, 3),
        channels=channels,
        image_shape=(channels, 2, 3),
        label="pathology",
        digest=DATA,
        rows_in=5,
        rows_quarantined=2,
    )
    samples = pd.DataFrame({"split": ["train", "train", "test"], "low": [low, low, "-9"], "high": [high, high, "9"]})
    return FakeStore(info, samples)


def make_samples(n: int = 4, channels: int = 1) -> dict:
    ids = [f"toy-diffusion-{i:06d}" for i in range(n)]
    pathology = ["normal", "nodule"] * (n // 2)
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 65536, (n, channels, 2, 3), dtype=np.uint16),
        "rows": pd.DataFrame(
            {
                "sample_id": ids,
                "seed": range(n),
                "model_sha256": WEIGHTS,
                "sampler": "{}",
                "pathology": pathology,
                "severity": "-0.5",
            }
        ),
        "verdicts": pd.DataFrame(
            {
                "sample_id": ids[::-1],
                "predicted_pathology": pathology[::-1],
                "requested_probability": 0.9,
                "conformity": 0.8,
                "nearest_similarity": [0.1, 0.2, 0.3, 0.4][:n],
                "nearest_image": "7",
                "verdict": ["kept", "rejected", "kept", "kept"][:n],
                "reason": ["", "too close to a training image", "", ""][:n],
            }
        ),
        "metrics": METRICS,
        "checkpoint_info": CHECKPOINT,
    }


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_every_row_has_its_image_and_the_counts_add_up(tmp_path: Path) -> None:
    samples = make_samples()
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    kept, rejected = read(tmp_path / "out/metadata.csv"), read(tmp_path / "out/rejected.csv")
    assert kept.columns[0] == "file_name"
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out/images").iterdir())
    assert files == sorted(kept["file_name"])
    assert sorted([*kept["sample_id"], *rejected["sample_id"]]) == sorted(samples["rows"]["sample_id"])
    # The verdicts stand in another order than the rows: the second verdict is of the third sample.
    assert list(rejected["sample_id"]) == ["toy-diffusion-000002"]
    assert list(rejected["reason"]) == ["too close to a training image"]
    assert list(kept["predicted_pathology"]) == list(kept["pathology"])
    assert set(kept["synthetic"]) == {"true"} and set(kept["training_data_sha256"]) == {DATA}


def test_the_configuration_goes_along_and_has_the_digest_of_the_table(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    text = (tmp_path / "out/generator.json").read_bytes()
    assert json.loads(text) == {"sampler": {}, "train": CHECKPOINT["settings"]}
    assert set(read(tmp_path / "out/metadata.csv")["config_sha256"]) == {hashlib.sha256(text).hexdigest()}


def test_samples_of_two_samplers_are_refused(tmp_path: Path) -> None:
    samples = make_samples()
    samples["rows"].loc[0, "sampler"] = '{"steps": 3}'
    with pytest.raises(InputError, match="by 2 samplers, expected one"):
        release(AS_PNG, make_store(), **samples, out=tmp_path / "out")


def test_eight_bit_values_are_the_display_values(tmp_path: Path) -> None:
    samples = make_samples()
    samples["images"][0] = np.arange(6).reshape(1, 2, 3) * 257
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    with PngImage.open(tmp_path / "out/images/toy-diffusion-000000.png") as png:
        assert png.mode == "L"
        assert np.array_equal(np.asarray(png), np.arange(6).reshape(2, 3))
        assert "not for diagnosis" in png.text["Disclaimer"]
        assert png.text["Title"] == "toy-diffusion-000000" and WEIGHTS in png.text["Source"]


def test_ct_is_hounsfield_units_after_the_stated_rescale(tmp_path: Path) -> None:
    samples = make_samples()
    hounsfield = np.array([-1000.0, -500.0, 0.0, 40.0, 500.0, 1000.0])
    samples["images"][0] = np.rint((hounsfield + 1000) / 2000 * 65535).reshape(1, 2, 3)
    release(AS_PNG, make_store("ct", "-1000.0", "1000.0"), **samples, out=tmp_path / "out")
    row = read(tmp_path / "out/metadata.csv").iloc[0]
    with PngImage.open(tmp_path / "out" / row["file_name"]) as png:
        values = np.asarray(png).astype(float)
    read_back = values * float(row["rescale_slope"]) + float(row["rescale_intercept"])
    assert np.array_equal(read_back.ravel(), hounsfield)


def test_twelve_bit_display_values_survive_within_a_step(tmp_path: Path) -> None:
    samples = make_samples()
    release(AS_PNG, make_store("mammography", "0.0", "4095.0"), **samples, out=tmp_path / "out")
    row = read(tmp_path / "out/metadata.csv").iloc[0]
    with PngImage.open(tmp_path / "out" / row["file_name"]) as png:
        values = np.asarray(png).astype(float) * float(row["rescale_slope"]) + float(row["rescale_intercept"])
    assert np.abs(values - samples["images"][0, 0] / 65535 * 4095).max() < 4095 / 65535


def test_what_is_shown_from_zero_to_one_fills_eight_bits(tmp_path: Path) -> None:
    samples = make_samples()
    samples["images"][0] = 65535
    release(AS_PNG, make_store(low="0.0", high="1.0"), **samples, out=tmp_path / "out")
    with PngImage.open(tmp_path / "out/images/toy-diffusion-000000.png") as png:
        assert png.mode == "L" and set(np.asarray(png).ravel()) == {255}
    assert float(read(tmp_path / "out/metadata.csv")["rescale_slope"][0]) == 1 / 255


def test_colour_is_rgb_in_its_order(tmp_path: Path) -> None:
    samples = make_samples(channels=3)
    samples["images"][0] = np.array([0, 257, 65535], dtype=np.uint16).reshape(3, 1, 1)
    release(AS_PNG, make_store("fundus", channels=3), **samples, out=tmp_path / "out")
    with PngImage.open(tmp_path / "out/images/toy-diffusion-000000.png") as png:
        assert png.mode == "RGB" and png.getpixel((0, 0)) == (0, 1, 255)


def test_one_sample_made_again_is_the_released_file(tmp_path: Path, monkeypatch) -> None:
    samples, store = make_samples(), make_store()
    release(AS_PNG, store, **samples, out=tmp_path / "out")
    train = tmp_path / "results/train/toy/diffusion"
    train.mkdir(parents=True)
    (train / "model.json").write_text(json.dumps(CHECKPOINT))
    monkeypatch.setattr("medsynth.release.release.Store", SimpleNamespace(open=lambda folder: store))
    release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results", tmp_path / "again.png")
    released = tmp_path / "out/images/toy-diffusion-000001.png"
    assert (tmp_path / "again.png").read_bytes() == released.read_bytes()


def test_a_file_that_cannot_hold_the_image_is_one_line(tmp_path: Path, monkeypatch) -> None:
    store, samples = make_store("fundus", channels=3), make_samples(channels=3)
    monkeypatch.setattr("medsynth.release.release.Store", SimpleNamespace(open=lambda folder: store))
    with pytest.raises(InputError, match=r"again\.nii\.gz: nifti holds one channel, these have 3"):
        release_one("toy-diffusion-000001", samples["images"][1], tmp_path, tmp_path / "again.nii.gz")


SPACINGS = ((3.0, 2.0, 1.5), (5.0, 2.5, 1.5), (99.0, 99.0, 99.0))  # of two training images and a test image


def volumes(spacings: tuple = SPACINGS) -> tuple[FakeStore, dict]:
    store, samples = make_store("ct_volume", "-1000.0", "1000.0"), make_samples()
    store.info.size, store.spacings = (4, 3, 2), spacings
    samples["images"] = np.random.default_rng(1).integers(0, 65536, (4, 1, 4, 3, 2), dtype=np.uint16)
    return store, samples


def test_volumes_are_nifti_with_a_place_and_a_unit(tmp_path: Path) -> None:
    store, samples = volumes()
    release(ReleaseSettings(formats=("nifti",)), store, **samples, out=tmp_path / "out")
    kept = read(tmp_path / "out/metadata.csv")
    assert kept["file_name"].tolist() == [f"images/{sample_id}.nii.gz" for sample_id in kept["sample_id"]]
    for name, sample_id in zip(kept["file_name"], kept["sample_id"], strict=True):
        file = nibabel.load(tmp_path / "out" / name)
        # The median spacing of the training images is 4 x 2.25 x 1.5 mm; the middle of 2 x 3 x 4 voxels at the origin.
        expected = [[1.5, 0, 0, -0.75], [0, 2.25, 0, -2.25], [0, 0, 4, -6], [0, 0, 0, 1]]
        np.testing.assert_allclose(file.affine, expected)
        assert nibabel.aff2axcodes(file.affine) == ("R", "A", "S") and file.header.get_zooms() == (1.5, 2.25, 4)
        hounsfield = samples["images"][int(sample_id[-6:]), 0].T / 65535 * 2000 - 1000
        assert np.abs(file.get_fdata() - hounsfield).max() <= 0.5 + 1e-6
        assert b"Synthetic image: shows no real patient" in file.header["descrip"].item()
        assert WEIGHTS in str(file.header.extensions[0].get_content())
    text = (tmp_path / "out/README.md").read_text()
    assert "4 x 3 x 2 voxels" in text and "each 4 x 2.25 x 1.5 mm" in text and "PNG" not in text
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)


def test_volumes_of_unknown_spacing_state_no_unit(tmp_path: Path) -> None:
    store, samples = volumes((None, None, (1.0, 1.0, 1.0)))
    release(ReleaseSettings(formats=("nifti",)), store, **samples, out=tmp_path / "out")
    file = nibabel.load(tmp_path / "out/images/toy-diffusion-000000.nii.gz")
    assert file.header.get_xyzt_units()[0] == "unknown" and file.header.get_zooms() == (1, 1, 1)
    assert "of no stated size in mm" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("name", ["png", "nifti"])
def test_the_mask_that_an_image_was_asked_for_by_stands_beside_it(tmp_path: Path, name: str) -> None:
    samples = make_samples()
    samples["rows"]["mask_of"] = ["3", "", "5", "6"]  # no training row agreed with the second
    masks = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    settings = ReleaseSettings(formats=(name,), masks=True)
    release(settings, make_store(), **samples, out=tmp_path / "out", masks=masks)
    kept = read(tmp_path / "out/metadata.csv")
    assert "mask_of" not in kept and "mask_of" not in read(tmp_path / "out/rejected.csv")
    assert kept.loc[kept["mask_file_name"] == "", "sample_id"].tolist() == ["toy-diffusion-000001"]
    assert "They were not generated" in (tmp_path / "out/README.md").read_text()
    for row in kept.to_dict("records"):
        if not row["mask_file_name"]:
            continue
        path = tmp_path / "out" / row["mask_file_name"]
        if name == "png":
            with PngImage.open(path) as png:
                labels, marks = np.asarray(png), png.text
            assert marks["Disclaimer"].startswith("Label map of a training image")
        else:
            labels = nibabel.load(path).get_fdata()[..., 0].T
        assert np.array_equal(labels, masks[int(row["sample_id"][-6:])])
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)


def test_masks_of_real_subjects_are_kept_back_unless_asked_for(tmp_path: Path) -> None:
    samples, masks = make_samples(), np.ones((4, 2, 3), np.uint8)
    samples["rows"]["mask_of"] = "3"
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out", masks=masks)
    assert not (tmp_path / "out/masks").exists()
    assert not {"mask_of", "mask_file_name"} & set(read(tmp_path / "out/metadata.csv"))


def test_an_image_in_two_formats_has_a_column_for_each(tmp_path: Path) -> None:
    samples = make_samples()
    release(ReleaseSettings(formats=("png", "nifti")), make_store(), **samples, out=tmp_path / "out")
    kept = read(tmp_path / "out/metadata.csv")
    assert list(kept.columns[:2]) == ["file_name", "file_nifti"]
    for row in kept.to_dict("records"):
        with PngImage.open(tmp_path / "out" / row["file_name"]) as png:
            pixels = np.asarray(png)
        volume = nibabel.load(tmp_path / "out" / row["file_nifti"])
        assert volume.shape == (3, 2, 1) and np.array_equal(volume.get_fdata()[..., 0].T, pixels)


def test_a_volume_made_again_has_the_format_of_its_release(tmp_path: Path, monkeypatch) -> None:
    store, samples = volumes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medsynth.release.release.Store", SimpleNamespace(open=lambda folder: store))
    train = tmp_path / "results/train/toy/diffusion"
    train.mkdir(parents=True)
    (train / "model.json").write_text(json.dumps(CHECKPOINT))
    again = tmp_path / "toy-diffusion-000001.nii.gz"
    release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results")  # nothing is released yet
    before = again.read_bytes()
    released = tmp_path / "results/release/toy/diffusion"
    release(ReleaseSettings(formats=("nifti",)), store, **samples, out=released)
    again.unlink()
    release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results")
    assert before == again.read_bytes() == (released / "images/toy-diffusion-000001.nii.gz").read_bytes()
    with pytest.raises(InputError, match=r"a\.jpg: no format has this suffix, expected \.png or \.nii\.gz"):
        release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results", tmp_path / "a.jpg")


def test_formula_is_neutralised_and_a_number_is_not(tmp_path: Path) -> None:
    samples = make_samples()
    samples["rows"]["note"] = ["=1+1", "@SUM(A1)", "-0.5e-3", "-lesion"]
    samples["verdicts"]["verdict"] = "kept"
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    table = read(tmp_path / "out/metadata.csv")
    assert list(table["note"]) == ["'=1+1", "'@SUM(A1)", "-0.5e-3", "'-lesion"]
    assert set(table["severity"]) == {"-0.5"}


def test_checksums_cover_every_file(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "out/SHA256SUMS").read_text().splitlines()}
    present = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert listed == present - {"SHA256SUMS"}


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        release(AS_PNG, make_store(), **make_samples(), out=tmp_path / name)
    assert (tmp_path / "one/SHA256SUMS").read_bytes() == (tmp_path / "two/SHA256SUMS").read_bytes()


def test_card_counts_by_class_and_shows_each_metric(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "other" and {"synthetic", "medical"} <= set(front["tags"])
    for line in ("| normal | 2 | 1 | 1 |", "| nodule | 2 | 2 | 0 |", "| all | 4 | 3 | 1 |"):
        assert line in text
    assert "| kid |  | 2.41 | 2.2 to 2.6 | -0.001 | 100 | 4 | lower |" in text
    assert "| diversity | normal | 0.5 |  | 0.6 | 100 | 4 | higher |" in text


def test_card_says_what_each_interval_is(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    text = " ".join((tmp_path / "out/README.md").read_text().split())
    for claim in (
        "Of `kid`, a bootstrap over the subjects of the held-out real images and over the synthetic images;",
        "of `fid`, `density` and `coverage`, a jackknife",
        "of all else, a bootstrap over the synthetic images alone.",
    ):
        assert claim in text


def test_all_rejected_leaves_a_table_without_rows(tmp_path: Path) -> None:
    samples = make_samples()
    samples["verdicts"]["verdict"] = "rejected"
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    assert len(read(tmp_path / "out/metadata.csv")) == 0 and len(read(tmp_path / "out/rejected.csv")) == 4


def lose_a_verdict(samples: dict) -> None:
    samples["verdicts"] = samples["verdicts"].iloc[1:]


def repeat_a_sample(samples: dict) -> None:
    samples["rows"].loc[1, "sample_id"] = samples["rows"].loc[0, "sample_id"]


def lose_an_image(samples: dict) -> None:
    samples["images"] = samples["images"][1:]


def take_another_model(samples: dict) -> None:
    samples["rows"].loc[2, "model_sha256"] = "b" * 64


def take_another_store(samples: dict) -> None:
    samples["checkpoint_info"] = CHECKPOINT | {"store": {"digest": "e" * 64}}


def invent_a_verdict(samples: dict) -> None:
    samples["verdicts"].loc[3, "verdict"] = "perhaps"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_a_verdict, "sample toy-diffusion-000003 is in the samples table alone"),
        (repeat_a_sample, "sample toy-diffusion-000000 stands twice in the samples table"),
        (lose_an_image, "3 images for 4 sample rows"),
        (take_another_model, "sample toy-diffusion-000002 is not by the model aaaaaaaaaaaa"),
        (take_another_store, "trained on data eeeeeeeeeeee"),
        (invent_a_verdict, "sample toy-diffusion-000000: verdict 'perhaps', expected kept or rejected"),
    ],
)
def test_what_does_not_belong_together_is_refused_and_the_old_release_stays(tmp_path: Path, spoil, message) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    before = (tmp_path / "out/SHA256SUMS").read_bytes()
    samples = make_samples()
    spoil(samples)
    with pytest.raises(InputError, match=message):
        release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    assert (tmp_path / "out/SHA256SUMS").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_card_says_whether_the_real_images_are_simulated(tmp_path: Path) -> None:
    store = make_store()
    for simulated in (False, True):
        store.info.simulated = simulated
        release(AS_PNG, store, **make_samples(), out=tmp_path / "out")
        assert ("are simulated themselves" in (tmp_path / "out/README.md").read_text()) == simulated
