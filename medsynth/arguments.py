"""What each subcommand of `medsynth` is given on its command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from medsynth import __version__, config

DESCRIPTION = "Synthetic medical images for research and teaching, never for diagnosis."
SAMPLE_SUMMARY = "generate one shard of the plan, or one sample again by its id"
BROWSE_SUMMARY = "show all samples on one page, each beside the training image that it is most like"
VERIFY_SUMMARY = "check a released folder: checksums, tables, marks and counts"
VIEWER_SUMMARY = "install NiiVue, by which volumes.html of a release shows volumes"
TABULATE_SUMMARY = "write the table of a collection that has none: class folders, MedMNIST, slices of volumes, frames"
INIT_SUMMARY = "read a table of images and write a configuration for it to stdout"
INSERT_SUMMARY = "draw lesions into real images that have none; what lies outside of them stays"
FOLLOW_SUMMARY = "log the curves of a training to MLflow while it goes on"
MEASURED_HELP = "tables of further steps in the columns of metrics.csv"
HELP = {
    "store": "folder that prepare wrote",
    "reference": "folder that reference wrote",
    "train": "folder that train wrote",
    "checkpoint": "model.safetensors of a trained model",
    "sampler": "sampler.json that tune wrote",
    "tune": "folder that tune wrote",
    "samples": "folder that sample wrote",
    "evaluation": "folder that evaluate wrote",
    "gates": "folder that gates wrote",
    "release": "folder that release wrote",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser, which says in `step` which subcommand was given."""
    parser = argparse.ArgumentParser("medsynth", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    steps = parser.add_subparsers(dest="step", required=True)

    def step(
        command: str, summary: str, *paths: str, settings: bool = True, required: bool = True
    ) -> argparse.ArgumentParser:
        subparser = steps.add_parser(command, help=summary, description=summary)
        subparser.add_argument("--out", type=Path, required=required)
        if settings:
            subparser.add_argument(
                "--settings", type=Path, required=required, help="JSON file of the step's part of the configuration"
            )
        for name in paths:
            subparser.add_argument(f"--{name}", type=Path, required=required, help=HELP[name])
        return subparser

    step("prepare", "check, split and store a collection").add_argument("--threads", type=int, default=1)
    step("reference", "learn what is known of real images before a model exists", "store")
    training = step("train", "train one model on one prepared store", "store")
    training.add_argument(
        "--parent",
        type=_parent,
        action="append",
        default=[],
        help="ROLE=model.safetensors of a model that it begins from or learns from, model.json beside it",
    )
    training.add_argument(
        "--sampler",
        type=_parent,
        action="append",
        default=[],
        help="ROLE=sampler.json that tune wrote of a parent whose sampler decides what is learnt from it",
    )
    step("tune", "choose how a trained model is sampled", "store", "reference", "checkpoint")
    sampling = step("sample", SAMPLE_SUMMARY, "store", "checkpoint", "sampler", required=False)
    sampling.add_argument("--shard", type=int, default=0, help="number of the shard, from 0")
    sampling.add_argument("--sample-id", help="make this sample again alone, as it was released")
    sampling.add_argument("--results", type=Path, default=Path("results"), help="where --sample-id looks (results)")
    step("evaluate", "measure the samples and give each a verdict", "store", "reference", "train", "samples")
    results = ("store", "train", "sampler", "samples", "evaluation")
    step("utility", "train classifiers with and without the samples", "store", "samples", "evaluation")
    step("membership", "ask whether a model tells its training images from held-out ones", "store", "checkpoint")
    judging = step("gates", "compare the metrics of a run with thresholds", *results)
    step("browse", BROWSE_SUMMARY, "store", "samples", "evaluation", "gates", settings=False)
    releasing = step("release", "write the dataset that is handed over", *results, "gates")
    tracking_step = step(
        "track", "log one run in MLflow", "store", "train", "tune", "evaluation", "release", required=False
    )
    for command in (judging, releasing, tracking_step):
        command.add_argument("--measured", type=Path, nargs="*", default=[], help=MEASURED_HELP)
    tracking_step.add_argument("--initialise", action="store_true", help="make ready what all runs share, and log none")
    tracking_step.add_argument("--initialised", type=Path, help="file that --initialise wrote")
    following = steps.add_parser("follow", help=FOLLOW_SUMMARY, description=FOLLOW_SUMMARY)
    following.add_argument("train", type=Path, help="folder that train writes, results/train/DATASET/MODEL")
    following.add_argument("--uri", default=config.Tracking().uri, help="MLflow's database or server, as tracking.uri")
    following.add_argument("--experiment", default=config.Tracking().experiment, help="MLflow's experiment")
    strips = step("vary", "draw one synthetic subject along a condition, and read each frame", settings=False)
    strips.add_argument("run_name", metavar="DATASET/MODEL", help="the run whose model draws")
    strips.add_argument("--results", type=Path, default=Path("results"), help="where the run is looked for (results)")
    strips.add_argument("--subject", type=int, action="append", required=True, help="number of a subject; repeatable")
    strips.add_argument(
        "--along", action="append", required=True, help="severity=0:1:9, sex=female,male, or pathology; repeatable"
    )
    strips.add_argument(
        "--with", dest="held", type=_cell, action="append", default=[], help="COLUMN=VALUE of all frames; repeatable"
    )
    strips.add_argument(
        "--held-outside",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="hold one image outside of lesions where they move (yes)",
    )
    inserting = step("insert", INSERT_SUMMARY, settings=False)
    inserting.add_argument("run_name", metavar="DATASET/MODEL", help="the run whose model draws")
    inserting.add_argument(
        "--results", type=Path, default=Path("results"), help="where the run is looked for (results)"
    )
    inserting.add_argument("--lesions", type=Path, required=True, help="CSV of condition columns, one lesion a row")
    inserting.add_argument(
        "--into", type=_cell, action="append", default=[], help="COLUMN=VALUE of the real images; repeatable"
    )
    inserting.add_argument("--split", choices=config.SPLITS, default="train", help="that these images are of (train)")
    inserting.add_argument("--seed", type=int, default=0, help="decides the images and the noise (0)")
    teaching = step("educate", "graded cases for teaching, answers apart", "store", "samples", "evaluation")
    teaching.add_argument("--strips", type=Path, help="folder that vary wrote, whose strips are added")
    step("base", "write trained weights as they come with the package", "checkpoint", settings=False)
    verifying = steps.add_parser("verify", help=VERIFY_SUMMARY, description=VERIFY_SUMMARY)
    verifying.add_argument("folder", type=Path, help=HELP["release"])
    viewing = steps.add_parser("viewer", help=VIEWER_SUMMARY, description=VIEWER_SUMMARY)
    viewing.add_argument("package", type=Path, help="file that `npm pack @niivue/niivue` wrote")
    tabling = steps.add_parser("tabulate", help=TABULATE_SUMMARY, description=TABULATE_SUMMARY)
    tabling.add_argument("source", type=Path, help="folder of class folders, MedMNIST .npz, or table of files")
    tabling.add_argument("--out", type=Path, help="new folder, for an .npz or volumes")
    tabling.add_argument("--subject", help="regular expression with one group: the subject in an image's path")
    tabling.add_argument("--labels", type=_listed, default=(), help="names of an .npz's classes, by commas")
    tabling.add_argument("--axis", help="cut volumes into axial, coronal or sagittal slices")
    tabling.add_argument("--every", type=_count, default=1, help="take one slice or frame of so many (1)")
    tabling.add_argument("--frames", action="store_true", help="a row for each frame of DICOM, TIFF or NIfTI")
    tabling.add_argument(
        "--where-mask", type=int, action="append", default=[], help="only where this label is; repeatable"
    )
    starting = steps.add_parser("init", help=INIT_SUMMARY, description=INIT_SUMMARY)
    starting.add_argument("table", type=Path, help="CSV or TSV with one image a row, paths counted from its folder")
    starting.add_argument("--modality", help="what the images are, where it should not be guessed")
    step("schema", "write the JSON schema of config.yaml", settings=False).add_argument(
        "--page", type=Path, help="Markdown page whose tables of keys are to be written anew"
    )
    return parser


def _parent(text: str) -> tuple[str, Path]:
    role, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected ROLE=PATH")
    return role, Path(path)


def _cell(text: str) -> tuple[str, str]:
    column, equals, cell = text.partition("=")
    if not (column and equals):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected COLUMN=VALUE")
    return column, cell


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number above 0")
    return int(text)
