"""Phantoms beside real images: known answers, and files in place of a phantom's rendering."""

import numpy as np
import pandas as pd
import phantoms
import pytest
from PIL import Image

from medsynth.errors import InputError


def test_the_slope_is_the_exponent_of_the_power_density():
    octaves = np.arange(6) / 2
    spectra = -10 * 3 * octaves * np.log10(2) + np.random.default_rng(0).normal(0, 0.01, (8, 1, 6))
    assert phantoms.slope(spectra) == pytest.approx(3, abs=0.02)
    assert phantoms.slope(np.zeros((2, 1, 6))) == pytest.approx(0)


def test_every_phantom_of_images_is_timed_with_fewer_large_ones(tmp_path, monkeypatch):
    chosen = {name: phantoms.flat()[name] for name in ("mammography", "ct")}
    monkeypatch.setattr(phantoms, "flat", lambda: chosen)
    phantoms.main(["--out", str(tmp_path), "--sizes", "16,32", "--images", "4"])
    rows = pd.read_csv(tmp_path / "speed.csv")
    assert rows[["phantom", "size", "images"]].to_numpy().tolist() == [
        ["mammography", 16, 4], ["mammography", 32, 1], ["ct", 16, 4], ["ct", 32, 1],
    ]  # fmt: skip
    assert (rows["images_per_s"] > 0).all()


def test_a_phantoms_own_images_are_near_it_and_noise_is_far(tmp_path):
    phantom, rng = phantoms.flat()["mammography"], np.random.default_rng(0)
    found = {}
    for what in ("own", "noise"):
        folder = tmp_path / what
        folder.mkdir()
        for seed in range(48):
            image = phantom.render(10_000 + seed, (32, 32)).voxels[0] if what == "own" else rng.random((32, 32))
            Image.fromarray((255 * image.clip(0, 1)).astype(np.uint8)).save(folder / f"{seed}.png")
        table = pd.DataFrame({"image": [f"{n}.png" for n in range(48)], "subject_id": range(48)})
        table.assign(finding=["a", "b"] * 24).to_csv(folder / "samples.csv", index=False)
        arguments = ["--phantom", "mammography", "--table", str(folder / "samples.csv"), "--modality", "mammography"]
        phantoms.main([*arguments, "--size", "32", "--images", "40", "--threads", "1", "--out", str(folder / "out")])
        found[what] = pd.read_csv(folder / "out/likeness.csv").iloc[0]
        assert (folder / "out/contact_sheet.png").exists()
    assert found["own"]["kid"] < 0.5 < found["noise"]["kid"]
    assert abs(found["own"]["finest_octave_db"]) < 3 < -found["noise"]["finest_octave_db"]
    assert found["own"]["slope_real"] > 1 > found["noise"]["slope_real"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phantom", "ct"], "--phantom and --table go together"),
        (["--phantom", "xray", "--table", "t.csv"], "--phantom: got 'xray', expected one of chest_xray, "),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, said):
    with pytest.raises(InputError, match=said):
        phantoms.main([*arguments, "--out", str(tmp_path)])
