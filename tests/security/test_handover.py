"""One small run from DICOM files to MLflow, with a umask that hides nothing: who is named, who listens, who may write.

Every text that could identify a person is unlike any other and searched for in every byte that the run leaves.
"""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medsynth import config
from tests.conftest import settings_file
from tests.images.formats.test_dicom import dataset, encode
from tests.workflow.conftest import snakemake

pytestmark = pytest.mark.xdist_group("handover")  # the fixture below is made once

ROOT = Path(__file__).parents[2]
PLANTED = (
    *("PatientName", "PatientID", "PatientAddress", "OtherPatientNames", "PatientComments", "InstitutionName"),
    *("ReferringPhysicianName", "OperatorsName", "AccessionNumber", "StudyID", "StudyDescription"),
    *("SeriesDescription", "ProtocolName", "DeviceSerialNumber", "StationName", "ImageComments"),
)
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
BIRTH, UID_ROOT, PRIVATE, SUBJECT, FILE = "18870611", "1.2.826.0.7771333", "Zk9private", "Zk9subject", "Zk9scan"

# Python's own binding of ports is seen as it happens, in every process; that of C libraries when the process ends.
SITE = """
import atexit, os, socket, sys
def note(text):
    with open(os.environ["PORTS"], "a") as file:
        file.write(text + "\\n")
def hook(event, args):
    if event == "socket.bind" and args[0].family in (socket.AF_INET, socket.AF_INET6):
        note(f"bind {args[1]}")
def at_end():
    import psutil
    for found in psutil.Process().net_connections("inet"):
        if found.status == psutil.CONN_LISTEN:
            note(f"listen {found.laddr}")
note("started")
sys.addaudithook(hook)
atexit.register(at_end)
"""
STEPS = """
import json, os, sys
os.umask(int(sys.argv[1], 8))
from medsynth.cli import main
for arguments in json.load(open(sys.argv[2])):
    main(arguments)
"""


def token(keyword: str) -> str:
    return f"Zk9{keyword}"[:16]  # the shortest of these elements holds 16 characters


def identifying(number: int) -> bytes:
    """A DICOM file that names its patient in every way there is."""
    rng = np.random.default_rng(number)
    data = dataset(rng.integers(0, 4096, (16, 16), dtype=np.uint16), RescaleSlope=1, RescaleIntercept=-1024)
    for keyword in PLANTED:
        setattr(data, keyword, token(keyword))
    for keyword in UIDS:
        setattr(data, keyword, f"{UID_ROOT}.{number}")
    data.PatientBirthDate = BIRTH
    block = data.private_block(0x0009, PRIVATE, create=True)
    block.add_new(1, "LO", PRIVATE)
    request = Dataset()
    request.RequestedProcedureID = token("RequestedProcedure")
    data.RequestAttributesSequence = [request]
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    whole = encode(data)
    return PRIVATE.encode().ljust(128, b"\0") + whole[128:]


def spoilt(number: int) -> bytes:
    """A file that cannot be used; what is wrong with it lies beside the patient's name."""
    data = identifying(number)
    match number % 4:
        case 0:
            return data[:-100]
        case 1:
            return data.replace(b"1.2.840.10008.1.2.1\0", UID_ROOT.encode()[:19].ljust(20, b"\0"), 1)
        case 2:
            return data.replace(b"MONOCHROME2", token("PatientName").encode()[:11].ljust(11), 1)
        case _:
            return data.replace(b"\x28\0\x10\0US\x02\0", b"\x28\0\x10\0LO\x02\0", 1)


def whole_configuration(folder: Path) -> config.Config:
    values = {
        "data_root": str(folder / "data"),
        "datasets": {
            "d": {
                "source": {"kind": "table", "table": "samples.csv", "max_bad_fraction": 0.3},
                "modality": "ct",
                "size": [16, 16],
                "conditions": {"pathology": {"kind": "categorical", "values": ["normal", "=nodule"]}},
                "label": "pathology",
                "licence": "CC-BY-4.0",
                "plan": {
                    "request": {"kind": "per_class", "column": "pathology", "counts": {"normal": 4, "=nodule": 4}},
                },
            }
        },
        "models": {
            "m": {
                "family": "diffusion",
                "stages": [{"channels": [8, 8]}, {"channels": [8]}],
                "training": {"images": 64, "effective_batch_size": 8, "validate_every": 32},
                "tuning": {"candidates": 1, "images": 16},
            }
        },
        "judges": {"reader_epochs": 1, "readers": 1, "planted_copies": 4},
        "evaluation": {"bootstrap": 20},
        "tracking": {"uri": f"sqlite:///{folder / 'work' / 'mlflow.db'}"},
    }
    return config.parse(config.Config, values, "test")


def commands(whole: config.Config, folder: Path) -> list[list[str]]:
    """What the rules call, one after the other; their settings lie in `folder`."""
    places = ("prepare/d", "train/d/m", "sample/d/m", "evaluate/d/m", "gates/d/m", "release/d/m")
    store, train, sample, judged, gates, release = (f"results/{place}" for place in places)
    of_model = ["--store", store, "--train", train, "--samples", sample]
    settings = {
        "prepare": whole.prepare("d"),
        "reference": whole.reference("d"),
        "train": whole.train("d", "m"),
        "tune": whole.tune("d", "m"),
        "sample": whole.sample("d", "m"),
        "evaluate": whole.evaluate("d"),
        "gates": whole.judge("d"),
        "release": whole.release("d"),
        "track": whole.track(),
    }

    def step(name: str, *arguments: str) -> list[str]:
        given = ["--settings", str(settings_file(folder, settings[name]))] if name in settings else []
        return [name, *given, *arguments]

    weights, tuned = f"{train}/model.safetensors", "results/tune/d/m"
    chosen = ["--sampler", f"{tuned}/sampler.json"]
    return [
        step("prepare", "--out", store, "--threads", "2"),
        step("reference", "--store", store, "--out", "results/reference/d"),
        step("train", "--store", store, "--out", train),
        step("tune", "--store", store, "--reference", "results/reference/d", "--checkpoint", weights, "--out", tuned),
        step("sample", "--store", store, "--checkpoint", weights, *chosen, "--out", f"{sample}/shard_0.npy"),
        step("evaluate", *of_model, "--reference", "results/reference/d", "--out", judged),
        step("gates", *of_model, *chosen, "--evaluation", judged, "--out", gates),
        step("release", *of_model, *chosen, "--evaluation", judged, "--gates", gates, "--out", release),
        step("track", "--initialise", "--out", "results/track/initialised.json"),
        step(
            *("track", "--initialised", "results/track/initialised.json", "--store", store, "--train", train),
            *("--tune", tuned, "--evaluation", judged, "--release", release, "--out", "results/track/d/m.json"),
        ),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder with data/ (who is named), work/ (what is left), ports (who listened)."""
    folder = tmp_path_factory.mktemp("handover")
    for name in ("data", "work", "site"):
        (folder / name).mkdir()
    rows = ["image,subject_id,pathology,patient_name"]
    for number in range(40):
        name = f"{FILE}{number:02d}.dcm"
        (folder / "data" / name).write_bytes(spoilt(number) if number < 8 else identifying(number))
        rows.append(f"{name},{SUBJECT}{number},{('normal', '=nodule')[number % 2]},{token('PatientName')}")
    (folder / "data/samples.csv").write_text("\n".join(rows))
    (folder / "site/sitecustomize.py").write_text(SITE)
    (folder / "commands.json").write_text(json.dumps(commands(whole_configuration(folder), folder)))
    environment = os.environ | {
        "PYTHONPATH": f"{folder / 'site'}{os.pathsep}{ROOT}",
        "PORTS": str(folder / "ports"),
        "MEDSYNTH_LOG": "DEBUG",
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "work/terminal.txt").open("wb") as terminal:
        done = subprocess.run(
            [sys.executable, "-c", STEPS, "000", str(folder / "commands.json")],
            cwd=folder / "work",
            env=environment,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            timeout=600,
        )
    assert done.returncode == 0, (folder / "work/terminal.txt").read_text()[-3000:]
    return folder


def holding(folder: Path, text: str) -> set[str]:
    """The files below a folder that hold a text, in either of two encodings and any case."""
    needles = {text.lower().encode(), text.lower().encode("utf-16-le")}
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and any(needle in path.read_bytes().lower() for needle in needles)
    }


@pytest.mark.parametrize("text", [*map(token, PLANTED), token("RequestedProcedure"), BIRTH, UID_ROOT[:19], PRIVATE])
def test_nothing_that_names_a_patient_leaves_the_image_files(run, text):
    assert len(holding(run / "data", text)) >= 32  # or the search would find nothing anywhere
    assert holding(run / "work", text) == set()


def test_subjects_and_file_names_stay_in_the_store_and_beside_the_verdicts(run):
    store = {f"results/prepare/d/{name}.csv" for name in ("samples", "split", "quarantine")}
    assert holding(run / "work", SUBJECT) == store - {"results/prepare/d/quarantine.csv"}
    judged = {"results/evaluate/d/m/samples.csv"}
    assert holding(run / "work", FILE) == (store | judged) - {"results/prepare/d/split.csv"}


def test_a_refused_collection_is_named_where_the_security_page_says(run, tmp_path):
    """Here one subject stands in two splits, which is said with the subject's id and the images' paths."""
    whole = whole_configuration(run).model_dump(mode="json")
    whole["data_root"] = "."
    whole["datasets"]["d"]["source"]["max_bad_fraction"] = 0.0
    (tmp_path / "config.json").write_text(json.dumps(whole))
    work = tmp_path / "work"
    work.mkdir()
    torn = [f"{FILE}1.dcm,{SUBJECT},normal,train", f"{FILE}2.dcm,{SUBJECT},normal,test"]
    (work / "samples.csv").write_text("\n".join(["image,subject_id,pathology,split", *torn]))
    store = "results/prepare/d/store.json"
    done = snakemake(ROOT, "--cores", "1", "--configfile", tmp_path / "config.json", "--directory", work, store)
    assert done.returncode != 0 and SUBJECT in done.stdout and FILE in done.stdout
    places = {"samples.csv", "results/prepare/d.quarantine.csv", "results/diagnostics/prepare/d.log"}
    for text in (SUBJECT, FILE):
        assert {name for name in holding(work, text) if not name.startswith(".snakemake/")} == places
    page = (ROOT / "SECURITY.md").read_text()
    for place in ("`results/prepare/<dataset>.quarantine.csv`", "`results/diagnostics/prepare/*.log`", "`.snakemake/`"):
        assert place in page


def test_every_spoilt_file_is_quarantined_with_its_reason(run):
    rows = (run / "work/results/prepare/d/quarantine.csv").read_text().splitlines()
    assert len(rows) == 1 + 8


def test_a_class_named_like_a_formula_goes_through_and_is_marked(run):
    released = [(run / "work/results/release/d/m" / name).read_text() for name in ("metadata.csv", "rejected.csv")]
    assert sum(text.count(",'=nodule,") for text in released) >= 4
    assert not any(",=nodule" in text for text in released)


def test_no_step_binds_a_port(run):
    noted = (run / "ports").read_text().splitlines()
    assert len(noted) >= 3  # this process, the fork server and its workers
    # urllib3 binds a socket, and closes it again, to see whether there is IPv6; it never listens.
    assert set(noted) <= {"started", "bind ('::1', 0)"}


def test_a_bound_port_would_be_noted(run, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(run / "site"), "PORTS": str(tmp_path / "ports")}
    program = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert [line.split()[0] for line in (tmp_path / "ports").read_text().splitlines()] == ["started", "bind", "listen"]


def modes(folder: Path) -> dict[str, int]:
    return {str(path): stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def test_results_are_never_writable_by_everyone(run):
    found = {path: oct(mode) for path, mode in modes(run / "work/results").items()}
    assert {path: mode for path, mode in found.items() if mode not in ("0o664", "0o775")} == {}
    assert not any(mode & 0o002 for mode in modes(run / "work/mlartifacts").values())


@pytest.mark.parametrize(("umask", "file", "folder"), [("077", 0o600, 0o700), ("027", 0o640, 0o750)])
def test_results_follow_the_umask(run, tmp_path, umask, file, folder):
    prepare = json.loads((run / "commands.json").read_text())[0]
    (tmp_path / "commands.json").write_text(json.dumps([prepare]))
    subprocess.run(
        [sys.executable, "-c", STEPS, umask, str(tmp_path / "commands.json")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    for path, mode in modes(tmp_path / "results").items():
        assert mode == (folder if Path(path).is_dir() else file), path
