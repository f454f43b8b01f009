import gzip
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth import cli
from medsynth.artifacts.store import to_intensity
from medsynth.conditions import regions
from medsynth.config import InsertSettings, ReferenceSettings
from medsynth.images.formats import raster
from medsynth.insert import insert as command
from medsynth.reference.reference import look
from medsynth.train.loop import train
from tests.insert.test_recipients import HEADER, LESION
from tests.sample.conftest import tuned
from tests.train.test_loop import settings as train_settings

JUDGES = ReferenceSettings(seed=0, reader_epochs=2, readers=1, planted_copies=4, extractor="efficientnet_lite0")
SETTINGS = InsertSettings(seed=1, into={"pathology": "low"}, split="test")


def test_lesions_in_real_images(spotted, tmp_path: Path) -> None:
    spotted.samples.loc[:, "high"] = "65535"
    train(train_settings(images=64), spotted, tmp_path / "train")
    weights = tmp_path / "train/model.safetensors"
    sampler, reference = tuned(weights, tmp_path / "sampler.json"), look(JUDGES, spotted)
    lesions = [LESION, ("high", "1", "0.25", "0.5", "0.25")]
    command.insert(SETTINGS, spotted, reference, HEADER, lesions, weights, sampler, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/insert.csv", dtype=str, keep_default_na=False)
    assert table["image"].tolist() == ["images/insert-000000.png", "images/insert-000001.png"]
    assert table["pathology"].tolist() == ["high", "high"] and table["split"].tolist() == ["test", "test"]
    assert {"predicted_pathology", "before_predicted_pathology", "predicted_lesion_x"} <= set(table)
    about = regions.surroundings(spotted.info.condition_schema, table, (16, 16))
    for number, row in table.iterrows():
        place = int(np.flatnonzero(spotted.samples["sha256"] == row["derived_from"])[0])
        real = spotted.samples.iloc[place]
        assert (real["subject_id"], real["split"], real["pathology"]) == (row["subject_id"], "test", "low")
        assert real["age_years"] == row["age_years"]
        data = (tmp_path / "out" / row["image"]).read_bytes()
        drawn, before = raster.decode_pillow(data).voxels, spotted.images[place]
        assert drawn.dtype == np.uint16 and float(row["rescale_slope"]) == 1 and row["rescale_intercept"] == "0.0"
        assert np.array_equal(drawn[0][~about[number]], before[0][~about[number]])
        change = np.abs(to_intensity(drawn) - to_intensity(before))[0] / 2
        assert change[about[number]].mean() == pytest.approx(float(row["change_inside"]), rel=1e-4)
        assert change[about[number]].mean() > 0.01
        region = raster.decode_pillow((tmp_path / "out" / row["region"]).read_bytes()).voxels[0]
        assert ((region > 0) == about[number]).all() and region.max() == 255
        for name in ("image", "region"):
            assert "A real image with a lesion drawn into it" in raster.about_png(
                (tmp_path / "out" / row[name]).read_bytes()
            )
    with Image.open(tmp_path / "out/sheet.png") as sheet:
        assert "Not for diagnosis" in sheet.info["Disclaimer"]
    page = (tmp_path / "out/README.md").read_text()
    assert "**These images show patients.**" in page and "2 images of the test split" in page


def test_a_volume_keeps_its_affine_and_colour_has_8_bits() -> None:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    volume = np.arange(64, dtype=np.uint16).reshape(1, 4, 4, 4) * 1000
    data = command._encoded(volume, affine, 0.5, -1000.0, "insert-000000.nii.gz", "real")
    read = nibabel.Nifti1Image.from_bytes(gzip.decompress(data))
    assert read.get_fdata().max() == pytest.approx(63_000 * 0.5 - 1000) and read.header["cal_max"] == 65535 * 0.5 - 1000
    assert sorted(np.linalg.norm(read.affine[:3, :3], axis=0)) == [2, 2, 3]
    colour = np.array([0, 257, 65535], np.uint16).reshape(3, 1, 1)
    pixels = raster.decode_pillow(command._encoded(colour, None, 1.0, 0.0, "a.png", "real")).voxels
    assert pixels.dtype == np.uint8 and pixels.ravel().tolist() == [0, 1, 255]


def test_a_run_that_is_no_run_is_refused(tmp_path: Path) -> None:
    arguments = ["insert", "chest", "--lesions", str(tmp_path / "lesions.csv"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="medsynth insert: got 'chest', expected DATASET/MODEL"):
        cli.main(arguments)
