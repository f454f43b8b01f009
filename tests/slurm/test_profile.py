"""What the profile asks of SLURM, read from the commands that it would send: these need no SLURM."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.xdist_group("slurm")

COMMANDS = {
    "sbatch": 'echo "$*" >> "$0.calls"; case "$*" in *--test-only*) exit 0;; esac; echo "no node is up" >&2; exit 1',
    "scontrol": 'echo "MinJobAge = 300 sec"; echo "MaxArraySize = 1001"',
    "sinfo": "exit 0",
    "sacct": "exit 1",
    "squeue": "exit 0",
}


@pytest.fixture(scope="module")
def pretended(tmp_path_factory) -> Path:
    """A folder of commands under SLURM's names; sbatch notes how it is called and takes no job."""
    folder = tmp_path_factory.mktemp("bin")
    for name, script in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def calls(pretended: Path, checkout: Path, tmp_path_factory, snakemake) -> list[str]:
    """The calls of sbatch for two datasets, one a hundred thousand times larger, on a site with its own names."""
    folder = tmp_path_factory.mktemp("work")
    config = yaml.safe_load((checkout / "config/tiny.yaml").read_text())
    tiny = config["datasets"]["tiny"] | {"models": ["haar"]}
    large = tiny | {"source": tiny["source"] | {"count": 10_000_000}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"datasets": {"tiny": tiny, "large": large}}))
    site = ["--default-resources", "slurm_partition=day", "--seconds-between-status-checks", "1"]
    status, output = snakemake(
        folder, "--workflow-profile", "slurm", *site, config=folder / "config.yaml", path=str(pretended)
    )
    assert status == 1 and "no node is up" in output, output
    return (pretended / "sbatch.calls").read_text().splitlines()


def asked(calls: list[str], rule: str, flag: str, tested: bool = True) -> Iterator[str]:
    """What the calls for a rule give to a flag, "" where it is not given."""
    comment = f"--comment {rule} " if tested else f"--comment rule_{rule}_"
    for call in calls:
        if comment in call and ("--test-only" in call) == tested:
            found = re.search(rf" {flag}[ =](\S+)", call)
            yield found[1] if found else ""


def test_memory_and_time_grow_with_every_attempt(calls) -> None:
    assert sorted(asked(calls, "prepare", "--mem", tested=False), key=int)[:3] == ["2000", "4000", "6000"]
    assert sorted(asked(calls, "prepare", "-t", tested=False), key=int)[:3] == ["20", "40", "60"]
    assert len(list(asked(calls, "prepare", "--mem", tested=False))) == 2 * 3


@pytest.mark.parametrize("rule", ["prepare", "train", "sample", "evaluate", "release"])
def test_memory_and_time_grow_with_the_dataset(calls, rule: str) -> None:
    """10 million images of 32 x 32 in two bytes are 20,480 MB."""
    small, small_last, large, large_last = sorted({int(mem) for mem in asked(calls, rule, "--mem")})
    by_size, by_number = {"prepare": (0.5, 0), "train": (1, 0), "evaluate": (1, 0.02)}.get(rule, (0, 0.005))
    assert large - small == pytest.approx(by_size * 20_480 + by_number * 10_000_000, rel=1e-3)
    assert (small_last, large_last) == (3 * small, 3 * large)
    minutes = {int(limit) for limit in asked(calls, rule, "-t")}
    # Training's budget is in images, and it goes on; sampling takes its time for what is asked for alone.
    assert len(minutes) == {"train": 1, "sample": 2}.get(rule, 4)


def test_every_job_goes_where_the_command_line_says(calls) -> None:
    assert calls and all(" -p day " in call or " --partition day " in call for call in calls)


def test_models_get_a_gpu_on_one_node_and_nothing_else_does(calls) -> None:
    by_model, others = ("train", "tune", "sample"), ("prepare", "evaluate")
    for rule, gpus, nodes in (*((rule, "1", "1") for rule in by_model), *((rule, "", "") for rule in others)):
        assert set(asked(calls, rule, "--gpus")) == {gpus}
        assert set(asked(calls, rule, "--nodes")) == {nodes}


def test_light_rules_are_not_sent(calls) -> None:
    assert not any("--comment track" in call for call in calls)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set-resources", "train:slurm_partiton=gpu"],
            "unknown resource 'slurm_partiton', did you mean 'slurm_",
        ),
        (["--set-resources", "trian:gpu=1"], "unknown rule 'trian', did you mean 'train'?"),
        (["--set-threads", "trian=1"], "unknown rule 'trian', did you mean 'train'?"),
        (["--default-resources", "slurm_acount=lab"], "unknown resource 'slurm_acount', did you mean 'slurm_account'?"),
    ],
)
def test_misspelt_resource_is_one_line(snakemake, pretended, tmp_path, arguments, message) -> None:
    profile = ["--workflow-profile", "slurm", "--dry-run"]
    status, output = snakemake(tmp_path, *profile, *arguments, path=str(pretended))
    assert status == 1 and "Traceback" not in output
    assert sum(message in line for line in output.splitlines()) == 1, output


@pytest.mark.parametrize(
    ("key", "misspelt"), [("slurm-status-command", "slurm-status-comand"), ("set-resources", "set-resourcs")]
)
def test_misspelt_key_of_the_profile_is_refused(snakemake, checkout, pretended, tmp_path, key, misspelt) -> None:
    profile = tmp_path / "site"
    shutil.copytree(checkout / "workflow/profiles/slurm", profile)
    text = (profile / "config.yaml").read_text()
    assert f"\n{key}:" in text
    (profile / "config.yaml").write_text(text.replace(f"\n{key}:", f"\n{misspelt}:"))
    status, output = snakemake(tmp_path, "--workflow-profile", profile, "--dry-run", path=str(pretended))
    assert status != 0 and f"unrecognized arguments: --{misspelt}" in output.splitlines()[-1], output


def test_job_that_sbatch_refuses_stops_the_run_before_the_first(snakemake, pretended, tmp_path) -> None:
    folder = tmp_path / "bin"
    shutil.copytree(pretended, folder)
    (folder / "sbatch.calls").unlink(missing_ok=True)
    refusal = 'echo "$*" >> "$0.calls"; echo "sbatch: error: first" >&2; echo "allocation failure: no such place" >&2'
    (folder / "sbatch").write_text(f"#!/bin/sh\n{refusal}; exit 1\n")
    status, output = snakemake(tmp_path, "--workflow-profile", "slurm", path=str(folder))
    assert status == 1 and "Traceback" not in output
    [line] = [line for line in output.splitlines() if "no such place" in line]
    assert re.search(
        r"SLURM has no place for attempt 1 of rule \w+: allocation failure: no such place; it asks for", line
    )
    assert all("--test-only" in call for call in (folder / "sbatch.calls").read_text().splitlines())
