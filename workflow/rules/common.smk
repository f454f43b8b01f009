"""The checked configuration, and where `python -m medsynth` finds its Python and its package."""

import functools
import hashlib
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

# The package beside this workflow is the one that is fingerprinted, configured and run.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1].resolve()
sys.path.insert(0, str(ROOT))

import medsynth.config as schema  # its names one by one would hide some of Snakemake's
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.fingerprint import fingerprint

os.umask(os.umask(0o077) | 0o002)  # a umask that lets everyone write is too open for medical images

try:
    CONFIG = schema.parse(schema.Config, config, "config")
    if workflow.is_main_process:  # the step that logs is local: no other job need know a password
        CONFIG.tracking.check_environment()
except InputError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process:
    for name, dataset in CONFIG.datasets.items():
        if dataset.stated_licence is None:
            logger.warning(f"datasets.{name}.licence is not stated: the step release will end there.")

RESULTS = CONFIG.results
# As their rules, folders and commands are named: the first two once for each dataset, the others for each model. The
# last two are for teaching, and run for the target `education` alone.
STEPS = (
    *("prepare", "reference", "train", "tune", "sample", "evaluate", "utility", "membership"),
    *("gates", "browse", "release", "track", "vary", "educate"),
)
PREPARE, REFERENCE = (f"{RESULTS}/{step}/{{dataset}}" for step in STEPS[:2])
TRAIN, TUNE, SAMPLE, EVALUATE, UTILITY, MEMBERSHIP, GATES, BROWSE, RELEASE, TRACK, VARY, EDUCATE = (
    f"{RESULTS}/{step}/{{dataset}}/{{model}}" for step in STEPS[2:]
)
RUNS = [f"{dataset}/{model}" for dataset, model in CONFIG.runs()]
CONDA_ENV = "../envs/medsynth.yaml"


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


def settings_file(step: str, settings) -> str:
    """The file in which a job finds its settings: a parameter of its rule, whose change runs it again.

    Its name is the digest of what it holds, so it is never out of date. It is written as soon as jobs are to run, by
    whichever process of Snakemake comes first; a dry run writes nothing.
    """
    text = settings.model_dump_json(indent=2) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = f"{RESULTS}/diagnostics/settings/{step}-{digest}.json"
    if workflow.executor_plugin is not None and not workflow.dryrun:
        write_unless_there(Path(path), text)
    return path


@functools.cache
def write_unless_there(path: Path, text: str) -> None:
    if not (path.is_file() and path.read_bytes() == text.encode()):
        files.write_text(path, text)


def folder_of(name: str):
    """The folder of an input, or of the first of its files, which is what a step is told."""

    def folder(wildcards, input) -> str:
        found = input.get(name)
        return os.path.dirname(found if isinstance(found, str) else found[0])

    return folder


def code_of(step: str):
    """The digest of the code that a job of a step runs: a parameter of its rule, whose change runs it again."""

    @functools.cache
    def digest(dataset: str, model: str) -> str:
        return fingerprint(step, CONFIG.chosen(step, dataset, model))

    return lambda wildcards: digest(wildcards.dataset, wildcards.get("model", ""))
