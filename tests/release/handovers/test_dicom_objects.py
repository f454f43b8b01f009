"""DICOM files of a release: read by pydicom alone, complete by the standard's tables, placed as the NIfTI is."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as PngImage

from medsynth.images.formats import series
from medsynth.images.image import Image
from medsynth.release.handovers.dicom_objects import to_patient_left_and_back
from medsynth.release.release import release
from medsynth.verify.verify import verify
from tests.release.handovers.loaders import load
from tests.release.toys import CHECKPOINT, DATA, as_files, make_samples, make_store, read, schema_of, volumes
from tests.verify.test_verify import seal

BY_PYDICOM = """
import pydicom
from pathlib import Path
pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
found = []
for path in sorted(Path("dicom").rglob("*.dcm")):
    file = pydicom.dcmread(path)
    values = pydicom.pixels.apply_modality_lut(file.pixel_array, file)
    for element in file.iterall():
        element.value
    found.append([path.parent.name, file.Modality, file.SOPClassUID.name, file.SyntheticData, values.tolist(),
        file.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0].CodeMeaning])
print(json.dumps(found))
"""
# Types 1 and 2 of the modules that are mandatory (PS3.3 A.3-1, A.4-1, A.8-1; C.7 and C.8). Type 2 may be empty.
OF_ALL = {
    1: "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality SamplesPerPixel Rows Columns "
    "PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation PixelData",
    2: "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber SeriesNumber InstanceNumber Manufacturer",
}
PLACED = {
    1: "FrameOfReferenceUID PixelSpacing ImageOrientationPatient ImagePositionPatient ImageType",
    2: "PositionReferenceIndicator SliceThickness AcquisitionNumber",
}
OF_KIND = {
    "CT Image Storage": [PLACED, {1: "RescaleIntercept RescaleSlope", 2: "KVP"}],
    "MR Image Storage": [
        PLACED,
        {
            1: "ScanningSequence SequenceVariant",
            2: "ScanOptions MRAcquisitionType RepetitionTime EchoTime EchoTrainLength",
        },
    ],
    "Secondary Capture Image Storage": [{1: "ConversionType ImageType", 2: "PatientOrientation"}],
}
SERIES = {"handovers": ("dicom",)}


def spaced(modality: str, low: str, high: str) -> Any:
    """A store of 2D images of 0.5 x 0.25 mm."""
    store = make_store(modality, low, high)
    store.spacings = ((0.5, 0.25),) * 3
    return store


def mri_volumes() -> tuple[Any, dict]:
    store, samples = volumes()
    other = make_store("mri_volume", "10.0", "900.0")
    other.info.size, other.spacings = store.info.size, store.spacings
    return other, samples


CASES = {
    "ct_volume": (volumes, "nifti", "CT Image Storage"),
    "mri_volume": (mri_volumes, "nifti", "MR Image Storage"),
    "volume_without_spacing": (lambda: volumes((None,) * 3), "nifti", "Secondary Capture Image Storage"),
    "ct": (lambda: (spaced("ct", "-1000.0", "1000.0"), make_samples()), "png", "CT Image Storage"),
    "chest_xray": (lambda: (make_store(), make_samples()), "png", "Secondary Capture Image Storage"),
    "fundus": (
        lambda: (make_store("fundus", channels=3), make_samples(channels=3)),
        "png",
        "Secondary Capture Image Storage",
    ),
}


def files_of(folder: Path, sample_id: str = "toy-diffusion-000000") -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted((folder / "dicom" / sample_id).iterdir())]


@pytest.mark.parametrize("case", CASES)
def test_files_are_complete_whole_and_marked(tmp_path, case):
    make, form, kind = CASES[case]
    store, samples = make()
    release(as_files(formats=(form,), **SERIES), store, **samples, out=tmp_path / "out")
    assert verify(tmp_path / "out") == []
    found = load(tmp_path / "out", BY_PYDICOM, "pydicom")
    slices = store.info.size[0] if len(store.info.size) == 3 else 1
    kept = read(tmp_path / "out/metadata.csv")["sample_id"]
    assert [row[0] for row in found] == [sample_id for sample_id in kept for _ in range(slices)]
    for _, _, sop_class, synthetic, _, purpose in found:
        assert (sop_class, synthetic, purpose) == (kind, "YES", "Synthesizing Equipment")
    for file in files_of(tmp_path / "out"):
        for required in (OF_ALL, *OF_KIND[kind]):
            assert [name for name in required[1].split() if file.get(name) in (None, "")] == []
            assert [name for name in required[2].split() if name not in file] == []
        assert file.BurnedInAnnotation == "NO" and file.PatientID == "SYN-toy-diffusion-000000"
        assert file.SOPInstanceUID == file.file_meta.MediaStorageSOPInstanceUID and file.SOPInstanceUID.is_valid


def test_the_values_of_an_image_are_those_of_its_png(tmp_path):
    for number, (make, form, _) in enumerate((CASES["ct"], CASES["chest_xray"], CASES["fundus"])):
        store, samples = make()
        out = tmp_path / str(number)
        release(as_files(formats=(form,), **SERIES), store, **samples, out=out)
        row = read(out / "metadata.csv").iloc[0]
        with PngImage.open(out / row["file_name"]) as png:
            pixels = np.asarray(png).astype(float)
        (file,) = files_of(out)
        assert np.array_equal(file.pixel_array, pixels)
        if file.SamplesPerPixel == 1:
            intensities = pixels * float(row["rescale_slope"]) + float(row["rescale_intercept"])
            np.testing.assert_allclose(pydicom.pixels.apply_modality_lut(file.pixel_array, file), intensities)


def test_a_slice_has_its_spacing_and_the_hounsfield_unit(tmp_path):
    store, samples = CASES["ct"][0]()
    release(as_files(formats=("png",), **SERIES), store, **samples, out=tmp_path / "out")
    (file,) = files_of(tmp_path / "out")
    assert (file.PixelSpacing, file.RescaleType, file.SliceThickness) == ([0.5, 0.25], "HU", None)
    assert file.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert (file.WindowCenter, file.WindowWidth) == (0, 2000)


def test_a_series_is_the_volume_of_the_nifti_in_its_place(tmp_path):
    store, samples = volumes()
    release(as_files(formats=("nifti",), **SERIES), store, **samples, out=tmp_path / "out")
    paths = sorted((tmp_path / "out/dicom/toy-diffusion-000001").iterdir())
    image, _ = series.decode(lambda number: paths[number].read_bytes(), len(paths))
    nifti = nibabel.load(tmp_path / "out/images/toy-diffusion-000001.nii.gz")
    assert isinstance(image, Image) and image.dicom_code == "CT"
    np.testing.assert_allclose(image.voxels[0].T, nifti.get_fdata())  # both in RAS+
    np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], nifti.affine, atol=1e-6)
    first, *_, last = files_of(tmp_path / "out", "toy-diffusion-000001")
    assert first.ImageOrientationPatient == [1, 0, 0, 0, 1, 0] and first.SpacingBetweenSlices == 4
    assert last.ImagePositionPatient[2] - first.ImagePositionPatient[2] == 12


def test_mirroring_leaves_each_voxel_in_its_place():
    rng = np.random.default_rng(0)
    volume, affine = rng.random((1, 2, 3, 4)), np.diag([2.0, -3.0, 4.0, 1.0])[:, [2, 1, 0, 3]]
    affine[:3, 3] = (5, 6, 7)
    moved, new = to_patient_left_and_back(volume, affine)
    for _ in range(20):
        index = rng.integers(0, (2, 3, 4))
        place = new @ (*index, 1)
        old = np.rint(np.linalg.solve(affine, place)[:3]).astype(int)
        assert moved[(0, *index)] == volume[(0, *old)]
    assert (new[:3, 1:3].sum(0) > 0).all()


def test_identifiers_are_those_of_the_sample_and_the_run(tmp_path):
    other = {"checkpoint_info": CHECKPOINT | {"weights_sha256": "b" * 64}}
    found = {}
    for name, more in {"one": {}, "again": {}, "other": other}.items():
        samples = make_samples() | more
        samples["rows"] = samples["rows"].assign(model_sha256=samples["checkpoint_info"]["weights_sha256"])
        release(as_files(formats=("png",), **SERIES), make_store(), **samples, out=tmp_path / name)
        files = [*files_of(tmp_path / name), *files_of(tmp_path / name, "toy-diffusion-000001")]
        found[name] = [
            file[key].value for file in files for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        ]
    assert found["one"] == found["again"] and not set(found["one"]) & set(found["other"])
    assert len(set(found["one"])) == 6 and all(uid.startswith("2.25.") and len(uid) <= 64 for uid in found["one"])


def test_what_was_asked_for_stands_in_the_file_and_nothing_of_a_patient(tmp_path):
    store, samples = make_store(), make_samples()
    store.info.condition_schema = schema_of(2, note={"kind": "categorical", "values": ["größer", "x"]})
    samples["rows"]["note"] = "größer"
    release(as_files(formats=("png",), **SERIES), store, **samples, out=tmp_path / "out")
    (file,) = files_of(tmp_path / "out")
    assert file.ImageComments == '{"requested": {"pathology": "normal", "severity": -0.5, "note": "größer"}}'
    assert [file.get(key) for key in ("PatientBirthDate", "PatientSex", "StudyDate", "ReferringPhysicianName")] == [
        ""
    ] * 4
    text = (tmp_path / "out/dicom/toy-diffusion-000000/0001.dcm").read_bytes()
    assert not any(subject.encode() in text for subject in ("s7", "s8", "a.png")) and DATA.encode() not in text


def test_a_long_sample_id_keeps_its_number(tmp_path):
    samples = make_samples()
    for table in ("rows", "verdicts"):
        samples[table]["sample_id"] = samples[table]["sample_id"].str.replace("diffusion", "d" * 70)
    release(as_files(formats=("png",), **SERIES), make_store(), **samples, out=tmp_path / "out")
    (file,) = files_of(tmp_path / "out", f"toy-{'d' * 70}-000001")
    assert len(file.PatientID) == 64 and file.PatientID.startswith("SYN-d") and file.PatientID.endswith("d-000001")
    assert verify(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"SyntheticData": "NO"}, "0001.dcm: does not say of itself that it is synthetic"),
        ({"ContributingEquipmentSequence": []}, "0001.dcm: does not say of itself that it is synthetic"),
        ({"PatientID": "Doe"}, "0001.dcm: PatientID is not that of the sample, expected SYN-toy-diffusion-000000"),
        ({"BurnedInAnnotation": "YES"}, "does not state BurnedInAnnotation NO"),
        ({"SeriesInstanceUID": "2.25.1"}, "dicom/toy-diffusion-000000: files of several series, expected one"),
        ({"Rows": 9}, "dicom/: series of 2 shapes, expected one"),
        ({"SOPInstanceUID": "of the next"}, "dicom/: 1 files have the SOPInstanceUID of another one"),
    ],
)
def test_verify_finds_what_a_file_says_wrongly(tmp_path, change, expected):
    store, samples = volumes()
    release(as_files(formats=("nifti",), **SERIES), store, **samples, out=tmp_path / "out")
    first, second, *_ = sorted((tmp_path / "out/dicom/toy-diffusion-000000").iterdir())
    file = pydicom.dcmread(first)
    for keyword, value in change.items():
        setattr(file, keyword, pydicom.dcmread(second)[keyword].value if value == "of the next" else value)
    file.save_as(first)
    seal(tmp_path / "out")
    assert any(expected in line for line in verify(tmp_path / "out")), verify(tmp_path / "out")


def test_verify_finds_a_series_that_is_not_there_and_a_file_that_is_none(tmp_path):
    release(as_files(formats=("png",), **SERIES), make_store(), **make_samples(), out=tmp_path / "out")
    (tmp_path / "out/dicom/toy-diffusion-000000/0001.dcm").unlink()
    seal(tmp_path / "out")
    assert verify(tmp_path / "out") == ["dicom/: lacks toy-diffusion-000000, which metadata.csv has"]
    (tmp_path / "out/dicom/toy-diffusion-000001/0001.dcm").write_bytes(b"no DICOM")
    seal(tmp_path / "out")
    assert verify(tmp_path / "out") == [
        "dicom/toy-diffusion-000001/0001.dcm: cannot be read as DICOM (InvalidDicomError)"
    ]
