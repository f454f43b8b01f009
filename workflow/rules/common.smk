"""The checked configuration, and where `python -m medsynth` finds its Python and its package."""

import functools
import os
import shlex
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

# The package beside this workflow is the one that is fingerprinted, configured and run.
ROOT = Path(workflow.basedir).parent.resolve()
sys.path.insert(0, str(ROOT))

import medsynth.config as schema  # its names one by one would hide some of Snakemake's
from medsynth.errors import InputError
from medsynth.fingerprint import fingerprint

os.umask(os.umask(0o077) | 0o002)  # a umask that lets everyone write is too open for medical images

try:
    CONFIG = schema.parse(schema.Config, config, "config")
    if workflow.is_main_process:  # the step that logs is local: no other job need know a password
        CONFIG.tracking.check_environment()
except InputError as error:
    raise WorkflowError(str(error)) from None

RESULTS = CONFIG.results
# As their rules, folders and commands are named: the first two once for each dataset, the others for each model.
STEPS = ("prepare", "reference", "train", "sample", "evaluate", "release", "track")
PREPARE, REFERENCE = (f"{RESULTS}/{step}/{{dataset}}" for step in STEPS[:2])
TRAIN, SAMPLE, EVALUATE, RELEASE, TRACK = (f"{RESULTS}/{step}/{{dataset}}/{{model}}" for step in STEPS[2:])
RUNS = [f"{dataset}/{model}" for dataset, model in CONFIG.runs()]
CONDA_ENV = "../envs/medsynth.yaml"
CLOCK_TOLERANCE = 60  # s that the clocks of a cluster may differ by


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    model="|".join(CONFIG.models),
    shard=r"\d+",


def shell_prefix(conda: bool) -> str:
    """Strict bash; the package on the path; and, unless conda brings one, the Python that runs Snakemake."""
    exports = {"PYTHONPATH": str(ROOT)}
    if not conda:
        exports["PATH"] = str(Path(sys.executable).parent)
    lines = [f'export {name}={shlex.quote(path)}"${{{name}:+:${name}}}"' for name, path in exports.items()]
    return "; ".join(["set -euo pipefail", *lines, ""]).replace("{", "{{").replace("}", "}}")


shell.prefix(shell_prefix(conda=DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method))


def diagnostics(folder: str, name: str = "") -> str:
    """Where the log and the benchmark of a job go, without their suffix; `folder` is that of its outputs."""
    return folder.replace(RESULTS, f"{RESULTS}/diagnostics", 1) + name


def code_of(step: str):
    """The digest of the code that a job of a step runs: a parameter of its rule, whose change runs it again."""

    @functools.cache
    def digest(dataset: str, model: str) -> str:
        return fingerprint(step, CONFIG.chosen(step, dataset, model))

    return lambda wildcards: digest(wildcards.dataset, wildcards.get("model", ""))


def table_of(source) -> list[str]:
    """The table that a source or a request reads, as an input; its path counts from data_root."""
    reads_table = isinstance(source, (schema.TableSource, schema.PlanTable))
    return [str(Path(CONFIG.data_root) / source.table)] if reads_table else []


def refuse_missing_tables() -> None:
    for name, dataset in CONFIG.datasets.items():
        for table in table_of(dataset.source):
            if not os.path.isfile(table):
                raise WorkflowError(
                    f"config: datasets.{name}.source.table: {table}: no such file; tables count from data_root, "
                    "which `--config data_root=FOLDER` sets"
                )


if workflow.is_main_process:
    refuse_missing_tables()


def launcher(wildcards, threads, resources) -> str:
    """What starts a training: Python, torchrun for several processes on one machine, or srun, as `mpi`, on many.

    Snakemake sees that it follows from resources, and trains nothing anew for another number of processes.
    """
    if resources.get("mpi"):
        return f"{resources.mpi} python"
    if resources.processes == 1:
        return "python"
    each = max(1, threads // resources.processes)
    torchrun = "python -m torch.distributed.run --standalone --nproc-per-node"
    return f"env OMP_NUM_THREADS={each} {torchrun} {resources.processes}"


def refuse_times_to_come() -> None:
    """Refuse files from the future before anything runs: Snakemake deletes whatever a job makes from them."""
    sources = [part for dataset in CONFIG.datasets.values() for part in (dataset.source, dataset.plan.request)]
    files = [Path(table) for source in sources for table in table_of(source)]
    for step in STEPS:
        files += sorted(Path(RESULTS).glob(f"{step}/*/*")) + sorted(Path(RESULTS).glob(f"{step}/*/*/*"))
    for file in files:
        if file.exists() and (ahead := file.stat().st_mtime - time.time()) > CLOCK_TOLERANCE:
            raise WorkflowError(
                f"{file} was last changed {ahead:.0f} s in the future, what is made from it would seem out of date: "
                "set the clock right or `touch` the file"
            )
