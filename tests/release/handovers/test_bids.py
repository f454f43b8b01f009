"""The BIDS dataset of a release: read by nibabel and pandas alone, named as the standard says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from medsynth import config
from medsynth.errors import InputError
from medsynth.release.release import release
from medsynth.verify.verify import verify
from tests.release.handovers.loaders import load
from tests.release.toys import SPACINGS, as_files, make_samples, make_store, read, schema_of, volumes
from tests.verify.test_verify import seal

ROOT = Path(__file__).parents[3]
BY_NIBABEL = """
import nibabel, pandas as pd
from pathlib import Path
people = pd.read_csv("bids/participants.tsv", sep="\\t")
found = []
for _, person in people.iterrows():
    volume, = Path("bids", person["participant_id"]).rglob("*.nii.gz")
    sidecar = json.loads(volume.with_name(volume.name.replace(".nii.gz", ".json")).read_text())
    image = nibabel.load(volume)
    found.append([person["participant_id"], person["sample_id"], volume.name, list(image.shape),
        image.affine[:3, 3].tolist(), sidecar["Conditions"], person["severity"]])
print(json.dumps([found, sorted(path.name for path in Path("bids").iterdir())]))
"""
SEQUENCE = {"kind": "categorical", "values": ["t1", "FLAIR"]}
NAME = re.compile(r"sub-[0-9A-Za-z]+/anat/(sub-[0-9A-Za-z]+)_(T1w|T2w|PDw|FLAIR|T2starw)\.(nii\.gz|json)")


def mri(sequences: list[str] | None = None) -> tuple[Any, dict]:
    store, samples = make_store("mri_volume", "10.0", "900.0"), make_samples()
    samples["images"] = volumes()[1]["images"]
    store.info.size, store.spacings = (4, 3, 2), SPACINGS
    if sequences:
        store.info.condition_schema = schema_of(3, sequence=SEQUENCE)
        samples["rows"]["sequence"] = sequences
    return store, samples


def settings(**more: Any) -> Any:
    return as_files(formats=("nifti",), handovers=("bids",), **more)


def test_nibabel_and_pandas_find_the_volumes_of_the_participants(tmp_path):
    store, samples = mri(["t1", "FLAIR", "t1", "t1"])
    release(settings(), store, **samples, out=tmp_path / "out")
    found, top = load(tmp_path / "out", BY_NIBABEL, "nibabel", "pandas")
    assert [row[:3] for row in found] == [
        ["sub-SYN000000", "toy-diffusion-000000", "sub-SYN000000_T1w.nii.gz"],
        ["sub-SYN000001", "toy-diffusion-000001", "sub-SYN000001_FLAIR.nii.gz"],
        ["sub-SYN000003", "toy-diffusion-000003", "sub-SYN000003_T1w.nii.gz"],
    ]
    assert found[1][3:] == [
        *([2, 3, 4], [-0.75, -2.25, -6]),
        *({"pathology": "nodule", "severity": -0.5, "sequence": "FLAIR"}, -0.5),
    ]
    people = {"README", "dataset_description.json", "participants.json", "participants.tsv"}
    assert set(top) == people | {row[0] for row in found}
    assert verify(tmp_path / "out") == []


def test_the_description_and_the_names_are_those_of_the_standard(tmp_path):
    store, samples = mri()
    release(settings(contrast="T2w", citation="Doe 2020"), store, **samples, out=tmp_path / "out")
    root = tmp_path / "out/bids"
    whole = json.loads((root / "dataset_description.json").read_text())
    assert {"Name", "BIDSVersion", "DatasetType", "GeneratedBy"} <= set(whole)
    assert (whole["DatasetType"], whole["License"], whole["GeneratedBy"][0]["Name"]) == (
        *("derivative", "CC0-1.0"),
        "medsynth",
    )
    names = [path.relative_to(root).as_posix() for path in root.rglob("sub-*/anat/*")]
    assert len(names) == 6 and all(NAME.fullmatch(name) and NAME.fullmatch(name)[2] == "T2w" for name in names)
    described = json.loads((root / "participants.json").read_text())
    header = (root / "participants.tsv").read_text().splitlines()[0].split("\t")
    assert header[0] == "participant_id" and header[1:] == list(described)
    assert described["severity"]["Description"] == "Requested: severity"


def test_a_sample_whose_contrast_is_not_stated_is_left_out_and_named(tmp_path, caplog):
    store, samples = mri(["t1", "", "t1", "n/a"])
    release(settings(), store, **samples, out=tmp_path / "out")
    whole = json.loads((tmp_path / "out/bids/dataset_description.json").read_text())
    assert whole["LeftOut"] == ["toy-diffusion-000001", "toy-diffusion-000003"]
    assert "2 samples state no sequence: they are not in bids/" in caplog.text
    assert read(tmp_path / "out/metadata.csv")["sample_id"].size == 3 and verify(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"handovers": ["bids"]}, "handovers: bids is for MR volumes, this dataset has ct_volume"),
        ({"contrast": "T1w"}, "contrast: of MR volumes, this dataset has ct_volume"),
        ({"handovers": ["bids"], "modality": "mri_volume"}, "handovers: bids needs the contrast of the volumes: "),
        ({"handovers": ["bid"]}, "unknown form in handovers 'bid', did you mean 'bids'?"),
        ({"handovers": ["dicom", "dicom"]}, "handovers: ['dicom', 'dicom'] names one twice"),
    ],
)
def test_a_configuration_that_it_does_not_fit_is_refused(changes, expected):
    values = config.load(ROOT / "config/tiny_volumes.yaml").model_dump(mode="json")
    values["datasets"]["trunk"] |= {"source": {"kind": "table", "table": "t.csv"}} | changes
    with pytest.raises(InputError, match=re.escape(expected)):
        config.parse(config.Config, values, "test")
    values["datasets"]["trunk"] |= {"handovers": ["bids"], "contrast": "T1w", "modality": "mri_volume"}
    assert config.parse(config.Config, values, "test").release("trunk").contrast == "T1w"


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("dataset_description.json", '"Synthetic": true', '"Synthetic": false', "does not say of itself"),
        ("dataset_description.json", "{", "", "bids/: is no BIDS dataset of a release (JSONDecodeError"),
        ("participants.tsv", "toy-diffusion-000000", "toy-diffusion-000009", "lacks toy-diffusion-000000, which"),
        ("sub-SYN000000/anat/sub-SYN000000_T1w.json", "-0.5", "0.5", "with the conditions of metadata.csv"),
        ("sub-SYN000000/anat/sub-SYN000000_T1w.json", "Conditions", "x", "is no sidecar of a release (KeyError)"),
    ],
)
def test_verify_finds_what_is_not_that_of_the_table(tmp_path, name, old, new, expected):
    store, samples = mri()
    release(settings(contrast="T1w"), store, **samples, out=tmp_path / "out")
    path = tmp_path / "out/bids" / name
    path.write_text(path.read_text().replace(old, new, 1))
    seal(tmp_path / "out")
    assert any(expected in line for line in verify(tmp_path / "out")), verify(tmp_path / "out")


def test_verify_finds_a_volume_of_another_sample_and_one_that_is_not_there(tmp_path):
    store, samples = mri()
    release(settings(contrast="T1w"), store, **samples, out=tmp_path / "out")
    first, second, third = sorted((tmp_path / "out/bids").rglob("*.nii.gz"))
    first.write_bytes(second.read_bytes())
    third.unlink()
    seal(tmp_path / "out")
    name = first.relative_to(tmp_path / "out")
    assert verify(tmp_path / "out") == [
        f"{name}: does not say in its header that it is synthetic, and which sample it is",
        f"{name}: is not the volume of images/",
        "bids/sub-SYN000003: has 1 files, expected a volume and its sidecar",
    ]
