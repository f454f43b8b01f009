"""The workflow as users run it: planned without heavy imports, run once for real, then only what a change asks for."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from medsynth.artifacts.shards import open_shards
from medsynth.config import columns
from medsynth.sample.sample import TOLERANCE, regenerate
from tests.faults.conftest import contents
from tests.workflow.conftest import ROOT, snakemake

MODELS = ("haar", "student")
STEPS = ("prepare", "reference", "train", "tune", "sample", "evaluate", "gates", "browse", "release", "track")

pytestmark = pytest.mark.xdist_group("dag")  # the run below is made once


def planned(done: subprocess.CompletedProcess) -> dict[str, int]:
    """Rule → number of jobs, from a dry run; empty when nothing is to be done."""
    assert done.returncode == 0, done.stdout
    table = done.stdout.partition("Job stats:")[2].partition("total")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


@pytest.fixture(scope="module")
def tiny(checkout: Path, tmp_path_factory) -> list[str | Path]:
    """Arguments of the tiny configuration in a folder where it has been run."""
    folder = tmp_path_factory.mktemp("work")
    arguments = ["--cores", "2", "--configfile", checkout / "config/tiny.yaml", "--directory", folder]
    done = snakemake(checkout, *arguments)
    assert done.returncode == 0, done.stdout
    return arguments


def folder_of(arguments: list[str | Path]) -> Path:
    return Path(arguments[-1])


def check_release(folder: Path) -> None:
    """It holds what its checksums list, as they say, and nothing else."""
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    listed = {line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    assert found == {*listed, "SHA256SUMS"}


def test_every_step_leaves_its_outputs(tiny) -> None:
    results = folder_of(tiny) / "results"
    assert {path.name for path in results.iterdir()} == {*STEPS, "diagnostics"}
    for model in MODELS:
        release = results / "release/tiny" / model
        check_release(release)
        kept = (release / "metadata.csv").read_text().count("\n") - 1
        assert kept == len(list((release / "images").glob("*.png")))
        rejected = (release / "rejected.csv").read_text().count("\n") - 1
        assert kept + rejected == 24
    logs = [path for path in (results / "diagnostics").rglob("*.log")]
    assert len(logs) == len(list((results / "diagnostics").rglob("*.tsv"))) == 2 + len(MODELS) * (7 + 2) + 1


def test_no_condition_can_have_the_name_of_a_column_that_a_run_writes(tiny) -> None:
    results = folder_of(tiny) / "results"
    conditions = {"pathology", "severity", "lesion_x", "lesion_y", "lesion_size"}
    predicted = {f"{columns.PREDICTED}{name}" for name in conditions}

    def of(table: str) -> set[str]:
        found = set((results / table).read_text().partition("\n")[0].split(","))
        return found - conditions - predicted

    flat = {column for column in columns.STORE if not column.endswith("_depth")}
    assert of("prepare/tiny/samples.csv") == flat
    assert of("sample/tiny/haar/shard_0.csv") == columns.SHARD
    assert of("evaluate/tiny/haar/samples.csv") == columns.JUDGED
    assert of("release/tiny/haar/metadata.csv") == columns.RELEASED - set(columns.FURTHER_FILES.values())
    assert of("release/tiny/haar/rejected.csv") == columns.REJECTED
    assert columns.STORE | columns.SHARD | columns.JUDGED | columns.RELEASED <= columns.RESERVED


def test_an_image_of_a_student_can_be_made_again_and_its_card_names_the_teacher(tiny) -> None:
    results = folder_of(tiny) / "results"
    images = open_shards(results / "sample/tiny/student").images
    again = regenerate("tiny-student-000003", results)
    assert abs(again.astype(int) - images[3]).max() <= TOLERANCE["float32"] / 2 * 65535
    teacher = json.loads((results / "train/tiny/haar/model.json").read_text())
    card = (results / "release/tiny/student/README.md").read_text()
    assert f"| generators that it began from or learnt from, SHA-256 | teacher: {teacher['weights_sha256']} |" in card
    assert "repeats counted | 624 |" in card  # 208 of its own, 416 of its teacher


def test_second_run_has_nothing_to_do(checkout: Path, tiny) -> None:
    assert "Nothing to be done" in snakemake(checkout, *tiny).stdout


def test_another_number_of_processes_reruns_nothing_and_is_handed_on(checkout: Path, tiny) -> None:
    two = [*tiny, "-n", "--set-resources", "train:processes=2"]
    assert planned(snakemake(checkout, *two)) == {}
    done = snakemake(checkout, *two, "--printshellcmds", "--forcerun", "train")
    assert planned(done)["train"] == len(MODELS)
    assert done.stdout.count("python -m medsynth.machine.launch 2 -m medsynth train ") == len(MODELS)


AFTER_TUNE = {"sample", "evaluate", "gates", "browse", "release", "track_initialise", "track"}


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        ("release/release.py", {"release", "track_initialise", "track"}),
        ("track/results.py", {"track_initialise", "track"}),
        ("models/families/diffusion.py", {"train", "tune", *AFTER_TUNE}),
        ("evaluate/figures.py", {"evaluate", "gates", "browse", "release", "track_initialise", "track"}),
        ("tune/score.py", {"tune", "train", *AFTER_TUNE}),  # a student learns what tune chose for its teacher
        ("reference/reference.py", {"reference", "tune", "train", *AFTER_TUNE}),
        ("prepare/prepare.py", {"prepare", "reference", "train", "tune", *AFTER_TUNE}),
        ("config/models.py", set()),
    ],
)
def test_edited_module_reruns_the_steps_that_use_it_and_what_follows(checkout: Path, tiny, module, steps) -> None:
    path = checkout / "medsynth" / module
    source = path.read_text()
    try:
        path.write_text(source + "# edited\n")
        assert set(planned(snakemake(checkout, "-n", *tiny))) - {"all"} == steps
    finally:
        path.write_text(source)


@pytest.mark.parametrize(
    ("section", "key", "value", "first"),
    [
        (("models", "haar", "sampler"), "guidance", 1.5, "train"),  # its student learns from it
        (("models", "student", "sampler"), "redraw", [[2.0], []], "tune"),
        (("models", "haar", "training"), "images", 2500, "train"),
        (("models", "student", "tuning"), "images", 20, "tune"),
        (("datasets", "tiny", "plan", "request", "counts"), "normal", 7, "sample"),
        (("evaluation",), "bootstrap", 30, "evaluate"),
        (("gates", "fidelity"), "subjects", 60, "gates"),
        (("tracking",), "experiment", "other", "track_initialise"),
    ],
)
def test_edited_setting_starts_at_the_step_it_concerns(checkout: Path, tiny, tmp_path, section, key, value, first):
    config = yaml.safe_load((checkout / "config/tiny.yaml").read_text())
    part = config
    for name in section:
        part = part.setdefault(name, {})
    part[key] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    arguments = ["--configfile", tmp_path / "config.yaml", "--directory", folder_of(tiny)]
    order = ["prepare", "train", "tune", "sample", "evaluate", "gates", "browse", "release"]
    order += ["track_initialise", "track"]
    jobs = planned(snakemake(checkout, "-n", *arguments))
    assert "reference" not in jobs
    assert [rule for rule in order if rule in jobs] == order[order.index(first) :]
    if "models" in section:  # a student learns again from another teacher, the other models are left alone
        assert jobs["evaluate"] == (2 if "haar" in section else 1)


def test_another_release_replaces_the_whole_folder_and_one_that_fails_leaves_no_images(checkout: Path, tiny) -> None:
    release = folder_of(tiny) / "results/release/tiny/haar"
    verdicts = folder_of(tiny) / "results/evaluate/tiny/haar/samples.csv"
    before = contents(release)
    for name in ("images/of_another_run.png", "images/.hidden", "left_behind.csv"):
        (release / name).touch()
    again = [*tiny, "--forcerun", "release", "--until", "release", "--", "results/release/tiny/haar/SHA256SUMS"]
    whole, times = verdicts.read_bytes(), (verdicts.stat().st_atime_ns, verdicts.stat().st_mtime_ns)
    try:
        verdicts.write_text("sample_id\n")
        os.utime(verdicts, ns=times)
        done = snakemake(checkout, *again)
    finally:
        verdicts.write_bytes(whole)
        os.utime(verdicts, ns=times)
    assert done.returncode != 0 and "samples.csv: damaged" in done.stdout, done.stdout
    assert contents(release) == {}
    (release / "images").mkdir(parents=True)
    (release / "images/of_another_run.png").touch()
    done = snakemake(checkout, *again)
    assert done.returncode == 0, done.stdout
    check_release(release)
    assert contents(release) == before
    assert snakemake(checkout, *tiny).returncode == 0  # or what follows would have to be made again in the next test


def test_a_failed_gate_leaves_no_release_and_a_reason_lets_it_through(checkout: Path, tiny, tmp_path: Path) -> None:
    results = folder_of(tiny) / "results"
    config = yaml.safe_load((checkout / "config/tiny.yaml").read_text())
    never = [{"metric": "copy_rate", "at_most": -1, "allow_for_chance": False}]
    config["gates"] = {"enforce": True, "fidelity": {"thresholds": never, "subjects": 1, "images": 1}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    run = ["--cores", "2", "--configfile", path, "--directory", folder_of(tiny)]
    target = ["--", "results/release/tiny/haar/SHA256SUMS"]
    done = snakemake(checkout, *run, *target)
    said = "medsynth release: gate fidelity failed: copy_rate is 0, expected at most -1; to release nevertheless, "
    assert done.returncode != 0 and done.stdout.count(said) >= 1, done.stdout
    where = "results/evaluate/tiny/haar and results/gates/tiny/haar/gates.csv"
    assert done.stdout.strip().splitlines()[-1] == f"medsynth release: nothing is released; look at {where}"
    assert contents(results / "release/tiny/haar") == {}
    assert "fidelity,fail,copy_rate" in (results / "gates/tiny/haar/gates.csv").read_text()
    assert (results / "evaluate/tiny/haar/contact_sheet.png").exists()
    config["gates"]["fidelity"]["waived"] = "nothing is ever good enough"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    done = snakemake(checkout, *run, *target)
    assert done.returncode == 0, done.stdout
    card = (results / "release/tiny/haar/README.md").read_text()
    assert "The reason that was given: nothing is ever good enough" in card
    assert snakemake(checkout, *tiny).returncode == 0  # or the next test would find these gates


def test_run_is_found_again_when_its_record_is_lost(checkout: Path, tiny) -> None:
    record = folder_of(tiny) / "results/track/tiny/haar.json"
    before = json.loads(record.read_text())
    record.unlink()
    assert snakemake(checkout, *tiny).returncode == 0
    assert json.loads(record.read_text()) == before


def test_tracking_that_is_down_costs_no_result(checkout: Path, tiny, tmp_path: Path) -> None:
    config = yaml.safe_load((checkout / "config/tiny.yaml").read_text())
    (tmp_path / "broken.db").write_text("this is not a database")
    config["tracking"] = {"uri": f"sqlite:///{tmp_path}/broken.db"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    release = folder_of(tiny) / "results/release/tiny/haar/SHA256SUMS"
    before = release.stat().st_mtime_ns
    arguments = ["--cores", "2", "--configfile", tmp_path / "config.yaml", "--directory", folder_of(tiny)]
    done = snakemake(checkout, *arguments)
    assert done.returncode != 0
    assert "is not an SQLite database" in done.stdout and "Traceback" not in done.stdout
    assert release.stat().st_mtime_ns == before
    assert snakemake(checkout, *tiny).returncode == 0


def test_tracking_waits_for_all_releases_unless_the_workflow_keeps_going(tmp_path: Path) -> None:
    record = [
        "-n",
        "--configfile",
        ROOT / "config/tiny.yaml",
        "--directory",
        tmp_path,
        "results/track/initialised.json",
    ]
    assert planned(snakemake(ROOT, *record))["release"] == len(MODELS)
    assert planned(snakemake(ROOT, *record, "--keep-going")) == {"track_initialise": 1}


def test_run_that_fails_leaves_the_others_logged(checkout: Path, tiny) -> None:
    results = folder_of(tiny) / "results"
    records = {model: results / f"track/tiny/{model}.json" for model in MODELS}
    for record in records.values():
        record.unlink()
    (results / "release/tiny/haar/SHA256SUMS").unlink()
    verdicts = results / "evaluate/tiny/haar/samples.csv"
    whole, times = verdicts.read_bytes(), (verdicts.stat().st_atime_ns, verdicts.stat().st_mtime_ns)
    try:
        verdicts.write_text("sample_id\n")
        os.utime(verdicts, ns=times)
        done = snakemake(checkout, *tiny, "--keep-going")
    finally:
        verdicts.write_bytes(whole)
        os.utime(verdicts, ns=times)
    assert done.returncode != 0 and "samples.csv: damaged" in done.stdout, done.stdout
    assert records["student"].exists() and not records["haar"].exists()
    done = snakemake(checkout, *tiny)
    assert done.returncode == 0
    assert done.stdout.count("Dataset: results/release/tiny/haar, ") == 1
    assert records["haar"].exists()


def test_report_holds_the_figures(checkout: Path, tiny, tmp_path: Path) -> None:
    done = snakemake(checkout, *tiny, "--report", tmp_path / "report.html")
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "report.html").read_text()
    assert "contact_sheet.png" in page and "drawn at random" in page
