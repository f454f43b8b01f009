"""Volumes from a phantom to NIfTI files that another program reads."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.shards import open_shards
from medsynth.artifacts.store import Store
from medsynth.cli import main
from medsynth.phantoms.ellipsoids import FIELD_MM
from tests.workflow.conftest import snakemake

pytestmark = pytest.mark.xdist_group("volumes")  # the run below is made once


@pytest.fixture(scope="module")
def results(checkout: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    configuration = checkout / "config/tiny_volumes.yaml"
    done = snakemake(checkout, "--cores", "2", "--configfile", configuration, "--directory", folder)
    assert done.returncode == 0, done.stdout
    return folder / "results"


@pytest.fixture(scope="module")
def released(results: Path) -> pd.DataFrame:
    return pd.read_csv(results / "release/trunk/haar/metadata.csv", dtype=str, keep_default_na=False)


def test_every_sample_is_a_volume_or_a_rejected_row(results, released) -> None:
    rejected = pd.read_csv(results / "release/trunk/haar/rejected.csv", dtype=str, keep_default_na=False)
    assert len(released) + len(rejected) == 28 and len(released) > 0
    files = sorted(path.name for path in (results / "release/trunk/haar/images").iterdir() if path.name[0] != ".")
    assert files == sorted(f"{sample_id}.nii.gz" for sample_id in released["sample_id"])
    assert {"lesion_z", "predicted_lesion_z"} <= set(released.columns)


def test_released_volumes_have_the_place_of_the_training_volumes_and_hounsfield_units(results, released) -> None:
    store, shards = Store.open(results / "prepare/trunk", verify=True), open_shards(results / "sample/trunk/haar")
    mm = FIELD_MM / 16
    expected = np.diag([mm, mm, mm, 1.0])
    expected[:3, 3] = -FIELD_MM / 2 + mm / 2
    for name, sample_id in zip(released["file_name"], released["sample_id"], strict=True):
        file = nibabel.load(results / "release/trunk/haar" / name)
        np.testing.assert_allclose(file.affine, expected, rtol=1e-6)
        assert file.shape == (16, 16, 16) and file.header.get_xyzt_units()[0] == "mm"
        stored = shards.images[int(sample_id[-6:])][0].T / 65535 * 2000 - 1000
        assert np.abs(file.get_fdata() - stored).max() <= 0.5 + 1e-6
        assert -1000 <= file.get_fdata().min() < file.get_fdata().max() <= 1000
    # nibabel's axes are (x, y, z), the store's (z, y, x).
    np.testing.assert_allclose(store.affine(0)[:, [2, 1, 0, 3]], expected)
    assert store.spacing_mm(0) == (mm, mm, mm) and store.masks.max() == store.info.structures["lesion"]


def test_distances_between_distributions_are_measured_on_volumes(results) -> None:
    metrics = pd.read_csv(results / "evaluate/trunk/haar/metrics.csv")
    whole = metrics[metrics["group"] == "all"].set_index("metric")
    assert np.isfinite(whole.loc[["kid", "fid", "nearest_similarity"], "value"]).all()
    assert abs(whole.loc["kid", "floor"]) < 0.2 < whole.loc["kid", "value"], "hardly trained, and told from real ones"


def test_autoencoders_have_measures_of_their_reconstructions_and_others_have_none(results) -> None:
    measured = {}
    for model in ("haar", "vae", "vaegan", "latent"):
        metrics = pd.read_csv(results / f"evaluate/trunk/{model}/metrics.csv").set_index(["metric", "group"])
        measured[model] = {name for name, _ in metrics.index} & {"psnr", "psnr_foreground", "ssim", "ms_ssim"}
        if model != "haar":
            row = metrics.loc[("psnr", "all")]
            assert row["value"] > row["floor"] and row["ci_low"] < row["value"] < row["ci_high"]
    names = {"psnr", "psnr_foreground", "ssim", "ms_ssim"}
    assert measured["haar"] == set() and measured["vae"] == measured["vaegan"] == measured["latent"] == names


def test_a_volume_is_made_again_as_it_was_released(results, released, monkeypatch) -> None:
    monkeypatch.chdir(results.parent)
    sample_id = released["sample_id"][0]
    main(["sample", "--sample-id", sample_id])
    again, first = (
        nibabel.load(f"{sample_id}.nii.gz"),
        nibabel.load(results / "release/trunk/haar" / released["file_name"][0]),
    )
    np.testing.assert_array_equal(again.affine, first.affine)
    assert np.abs(again.get_fdata() - first.get_fdata()).max() <= 2  # HU; another batch size rounds otherwise
