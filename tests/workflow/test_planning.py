"""Plans of the workflow: dry runs, and configurations that are refused before anything runs."""

import re
import subprocess
from pathlib import Path

import yaml

from tests.workflow.conftest import ROOT, snakemake
from tests.workflow.test_dag import STEPS, planned


def settings_of(step: str, done: subprocess.CompletedProcess) -> set[str]:
    """The settings files of a step's jobs, from a dry run that prints commands."""
    return set(re.findall(rf"medsynth {step} --settings results/diagnostics/settings/({step}-\w+\.json)", done.stdout))


def test_demo_is_planned_in_any_folder_without_heavy_imports(tmp_path: Path) -> None:
    probe = (
        "import sys; from snakemake.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print('heavy:', sorted({'torch', 'monai', 'mlflow'} & set(sys.modules)))"
    )  # pandas is not among them: Snakemake loads the plugin for SLURM at every start, and that imports it
    done = snakemake(ROOT, "-n", "--cores", "2", "--directory", tmp_path, program=("-c", probe))
    jobs = planned(done)
    assert set(jobs) == {*STEPS, "track_initialise", "all"} and jobs["sample"] == 2
    assert "heavy: []" in done.stdout
    assert "results/release/chest/diffusion/SHA256SUMS" in done.stdout
    assert "results/track/chest/diffusion.json" in done.stdout


def test_named_configuration_is_not_mixed_with_the_demo(tmp_path: Path) -> None:
    done = snakemake(ROOT, "-n", "--configfile", ROOT / "config/tiny.yaml", "--directory", tmp_path)
    assert planned(done) == {
        "prepare": 1,
        "reference": 1,
        "train": 2,
        "tune": 2,
        "sample": 4,
        "evaluate": 2,
        "gates": 2,
        "browse": 2,
        "release": 2,
        "track_initialise": 1,
        "track": 2,
        "all": 1,
    }
    assert "chest/" not in done.stdout


def test_a_teacher_is_trained_where_its_student_alone_is_asked_for(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
    config["datasets"]["tiny"]["models"] = ["student"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    jobs = planned(snakemake(ROOT, "-n", "--configfile", tmp_path / "config.yaml", "--directory", tmp_path))
    assert jobs["train"] == 2 and jobs["tune"] == 2 and jobs["sample"] == 2 and jobs["release"] == 1


def test_gates_and_release_wait_for_utility_where_the_configuration_has_it(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config/tiny.yaml").read_text()) | {"utility": {}}
    config["datasets"]["tiny"]["models"] = ["haar"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    run = ["-n", "-p", "--configfile", tmp_path / "config.yaml", "--directory", tmp_path]
    done = snakemake(ROOT, *run, "--", "results/release/tiny/haar/SHA256SUMS")
    assert planned(done)["utility"] == 1
    assert done.stdout.count("--measured results/utility/tiny/haar/gain.csv --out") == 2


def test_data_root_alone_can_be_given(tmp_path: Path) -> None:
    table = ["-n", "--configfile", ROOT / "config/examples/chest_xray_table.yaml", "--directory", tmp_path]
    missing = snakemake(ROOT, *table)
    assert missing.returncode != 0
    assert "datasets.chest_xray.source.table: samples.csv: no such file; tables count from data_root" in missing.stdout
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data/samples.csv").touch()
    assert planned(snakemake(ROOT, *table, "--config", "data_root=my data"))["prepare"] == 1
    demo = ["-n", "-p", "--directory", tmp_path]
    here, there = (snakemake(ROOT, *demo, *more) for more in ([], ["--config", "data_root=my data"]))
    assert planned(there) == planned(here) and settings_of("prepare", there) != settings_of("prepare", here)
    assert settings_of("train", there) == settings_of("train", here)


def test_a_plan_of_an_unknown_class_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
    config["datasets"]["tiny"]["plan"]["request"] = {"kind": "table", "table": "plan.csv"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (tmp_path / "plan.csv").write_text("pathology,severity\nnodule,0.5\nnodle,0.5\nnormal,7\n")
    arguments = ["-n", "--configfile", tmp_path / "config.yaml", "--directory", tmp_path]
    refused = snakemake(ROOT, *arguments)
    assert refused.returncode != 0 and "Traceback" not in refused.stdout
    [line] = [line for line in refused.stdout.splitlines() if "plan.csv" in line]
    assert "datasets.tiny.plan.request.table: plan.csv: 2 of 3 rows cannot be used: row 2: pathology 'nodle': " in line
    assert "the nearest is 'nodule'; row 3: severity '7': not within 0 to 1" in line
    (tmp_path / "plan.csv").write_text("pathology,severity\nnodule,0.5\n")
    assert planned(snakemake(ROOT, *arguments))["sample"] == 4
    (tmp_path / "plan.csv").unlink()
    assert set(planned(snakemake(ROOT, "results/prepare/tiny/store.json", *arguments))) == {"prepare"}


def test_misspelt_key_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text((ROOT / "config/tiny.yaml").read_text().replace("reader_epochs", "reader_epoch"))
    done = snakemake(ROOT, "-n", "--configfile", config, "--directory", tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    [line] = [line for line in done.stdout.splitlines() if "reader_epoch" in line]
    assert "did you mean 'reader_epochs'?" in line
