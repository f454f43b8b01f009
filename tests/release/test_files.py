"""The files that images and masks are handed over as: what they hold is what was generated."""

import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as PngImage

from medsynth.release.release import release
from tests.release.toys import AS_PNG, WEIGHTS, as_files, make_samples, make_store, read, volumes


def test_eight_bit_values_are_the_display_values(tmp_path: Path) -> None:
    samples = make_samples()
    samples["images"][0] = np.arange(6).reshape(1, 2, 3) * 257
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    with PngImage.open(tmp_path / "out/images/toy-diffusion-000000.png") as png:
        assert png.mode == "L"
        assert np.array_equal(np.asarray(png), np.arange(6).reshape(2, 3))
        assert png.text["Disclaimer"].startswith("Synthetic, not for diagnosis: ") and "patient" not in str(png.text)
        assert "trained on real images; screened for copies of them, not proven" in png.text["Disclaimer"]
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


def test_ct_that_was_windowed_before_stays_grey_and_the_card_claims_no_hounsfield_units(tmp_path: Path) -> None:
    samples, store = make_samples(), make_store("ct")
    store.info.windowed, store.info.unit = True, "grey levels as windowed by the source, not in HU"
    samples["images"][0] = np.arange(6).reshape(1, 2, 3) * 257
    release(AS_PNG, store, **samples, out=tmp_path / "out")
    with PngImage.open(tmp_path / "out/images/toy-diffusion-000000.png") as png:
        assert png.mode == "L" and np.array_equal(np.asarray(png), np.arange(6).reshape(2, 3))
    row = read(tmp_path / "out/metadata.csv").iloc[0]
    assert (float(row["rescale_slope"]), float(row["rescale_intercept"])) == (1, 0)
    assert "are in grey levels as windowed by the source, not in HU." in (tmp_path / "out/README.md").read_text()


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


def test_volumes_are_nifti_with_a_place_and_a_unit(tmp_path: Path) -> None:
    store, samples = volumes()
    release(as_files(formats=("nifti",)), store, **samples, out=tmp_path / "out")
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
        assert b"Synthetic, not for diagnosis: made by a generative model" in file.header["descrip"].item()
        assert WEIGHTS in str(file.header.extensions[0].get_content())
    text = (tmp_path / "out/README.md").read_text()
    assert "4 x 3 x 2 voxels" in text and "each 4 x 2.25 x 1.5 mm" in text and "PNG" not in text
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)


def test_volumes_of_unknown_spacing_state_no_unit(tmp_path: Path) -> None:
    store, samples = volumes((None, None, (1.0, 1.0, 1.0)))
    release(as_files(formats=("nifti",)), store, **samples, out=tmp_path / "out")
    file = nibabel.load(tmp_path / "out/images/toy-diffusion-000000.nii.gz")
    assert file.header.get_xyzt_units()[0] == "unknown" and file.header.get_zooms() == (1, 1, 1)
    assert "of no stated size in mm" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("name", ["png", "nifti"])
def test_the_mask_that_an_image_was_asked_for_by_stands_beside_it(tmp_path: Path, name: str) -> None:
    samples = make_samples()
    samples["rows"]["mask_of"] = ["3", "", "5", "6"]  # no training row agreed with the second
    masks = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    settings = as_files(formats=(name,), masks=True)
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
    release(as_files(formats=("png", "nifti")), make_store(), **samples, out=tmp_path / "out")
    kept = read(tmp_path / "out/metadata.csv")
    assert list(kept.columns[:2]) == ["file_name", "file_nifti"]
    for row in kept.to_dict("records"):
        with PngImage.open(tmp_path / "out" / row["file_name"]) as png:
            pixels = np.asarray(png)
        volume = nibabel.load(tmp_path / "out" / row["file_nifti"])
        assert volume.shape == (3, 2, 1) and np.array_equal(volume.get_fdata()[..., 0].T, pixels)
