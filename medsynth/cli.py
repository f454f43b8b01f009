"""`medsynth <step>`: parse, open the inputs, call the step. Its subcommand is named as its rule and its folder are.

Imports stand inside the functions: the fingerprint of a step starts from those of its function (fingerprint.py).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medsynth import __version__, config
from medsynth.config import columns
from medsynth.disk import files
from medsynth.errors import InputError, is_out_of_memory

DESCRIPTION = "Synthetic medical images for research and teaching, never for diagnosis."
SAMPLE_SUMMARY = "generate one shard of the plan, or one sample again by its id"
VERIFY_SUMMARY = "check a released folder: checksums, tables, marks and counts"
INIT_SUMMARY = "read a table of images and write a configuration for it to stdout"
HISTORY = ("images_seen", "loss", "val_loss", "learning_rate")
VERDICTS = ("sample_id", *columns.VERDICT)
METRICS = (
    *("metric", "group", "value", "ci_low", "ci_high", "floor", "n_real", "n_synthetic"),
    *("higher_is_better", "note", "extractor"),
)
HELP = {
    "store": "folder that prepare wrote",
    "reference": "folder that reference wrote",
    "train": "folder that train wrote",
    "checkpoint": "model.safetensors of a trained model",
    "sampler": "sampler.json that tune wrote",
    "tune": "folder that tune wrote",
    "samples": "folder that sample wrote",
    "evaluation": "folder that evaluate wrote",
    "release": "folder that release wrote",
}


def prepare(args: argparse.Namespace) -> None:
    from medsynth.prepare.prepare import prepare

    prepare(_settings(config.PrepareSettings, args), args.out, args.threads)


def reference(args: argparse.Namespace) -> None:
    from medsynth.artifacts.store import Store
    from medsynth.reference.reference import reference

    settings = _settings(config.ReferenceSettings, args)
    reference(settings, Store.open(args.store, verify=True), args.out)


def train(args: argparse.Namespace) -> None:
    from medsynth.artifacts.store import Store
    from medsynth.train.loop import train

    settings = _settings(config.TrainSettings, args)
    train(settings, Store.open(args.store, verify=True), args.out, dict(args.parent), dict(args.sampler))


def base(args: argparse.Namespace) -> None:
    from medsynth.models.base_model import ship

    ship(args.checkpoint, args.out)


def tune(args: argparse.Namespace) -> None:
    from medsynth.artifacts.reference import Reference
    from medsynth.artifacts.store import Store
    from medsynth.tune.tune import tune

    settings = _settings(config.TuneSettings, args)
    store = Store.open(args.store, verify=True)
    tune(settings, store, Reference.open(args.reference, store), args.checkpoint, args.out)


def sample(args: argparse.Namespace) -> None:
    if args.sample_id:
        _sample_again(args)
        return
    _need(args, "settings", "store", "checkpoint", "sampler", "out")
    from medsynth.artifacts.store import Store
    from medsynth.sample.sample import sample_shard

    settings = _settings(config.SampleSettings, args)
    store = Store.open(args.store)
    if store.masks is not None and store.info.condition_schema.needs_mask:  # which are read, not the images
        store = Store.open(args.store, verify=True)
    sample_shard(settings, store, args.checkpoint, args.sampler, args.shard, args.out)


def _sample_again(args: argparse.Namespace) -> None:
    from medsynth.release.release import release_one
    from medsynth.sample.sample import regenerate

    release_one(args.sample_id, regenerate(args.sample_id, args.results), args.results, args.out)


def evaluate(args: argparse.Namespace) -> None:
    from medsynth.artifacts.reference import Reference
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.disk import tables
    from medsynth.evaluate.evaluate import evaluate

    settings = _settings(config.EvaluateSettings, args)
    history = tables.read(args.train / "history.csv", HISTORY, text=False)
    shards = open_shards(args.samples)
    store = Store.open(args.store, verify=True)
    evaluate(settings, store, Reference.open(args.reference, store), shards.images, shards.rows, history, args.out)


def release(args: argparse.Namespace) -> None:
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.artifacts.tuned import Tuned
    from medsynth.disk import tables
    from medsynth.release.release import release

    shards = open_shards(args.samples)
    release(
        _settings(config.ReleaseSettings, args),
        Store.open(args.store, verify=True),
        shards.images,
        shards.rows,
        tables.read(args.evaluation / "samples.csv", VERDICTS),
        tables.read(args.evaluation / "metrics.csv", METRICS),
        _read_json(args.train / "model.json"),
        Tuned.read(args.sampler).model_dump(mode="json"),
        args.out,
        shards.masks,
    )


def verify(args: argparse.Namespace) -> None:
    from medsynth.verify.verify import counts, verify

    if problems := verify(args.folder):
        sys.exit("\n".join(f"medsynth verify: {args.folder}: {problem}" for problem in problems))
    print(counts(args.folder))


def track(args: argparse.Namespace) -> None:
    from medsynth.track import track as tracking

    folders = ("store", "train", "tune", "evaluation", "release")
    _need(args, "settings", "out", *(() if args.initialise else ("initialised", *folders)))
    settings = _settings(config.TrackSettings, args)
    if args.initialise:
        tracking.initialise(settings, args.out)
    else:
        paths = {name: getattr(args, name) for name in ("initialised", *folders, "out")}
        tracking.log_run(settings.tracking, **paths)


def init(args: argparse.Namespace) -> None:
    from medsynth.init.init import init

    sys.stdout.write(init(args.table, args.modality))


def schema(args: argparse.Namespace) -> None:
    from medsynth.config import page

    written = config.Config.model_json_schema()
    files.write_text(args.out, json.dumps(written, indent=2) + "\n")
    if args.page:
        files.write_text(args.page, page.renewed(args.page.read_text(encoding="utf-8"), written))


def _settings(schema: type[config.Settings], args: argparse.Namespace) -> config.Settings:
    return config.parse_json(schema, args.settings.read_bytes(), str(args.settings))


def _parent(text: str) -> tuple[str, Path]:
    role, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected ROLE=PATH")
    return role, Path(path)


def _need(args: argparse.Namespace, *names: str) -> None:
    if missing := [name for name in names if getattr(args, name) is None]:
        raise InputError(f"--{missing[0]} is missing")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); remove it and make it again") from None


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("medsynth", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    steps = parser.add_subparsers(dest="step", required=True)

    def step(
        function: Callable[[argparse.Namespace], None],
        summary: str,
        *paths: str,
        settings: bool = True,
        required: bool = True,
    ) -> argparse.ArgumentParser:
        subparser = steps.add_parser(function.__name__, help=summary, description=summary)
        subparser.set_defaults(run=function)
        subparser.add_argument("--out", type=Path, required=required)
        if settings:
            subparser.add_argument(
                "--settings", type=Path, required=required, help="JSON file of the step's part of the configuration"
            )
        for name in paths:
            subparser.add_argument(f"--{name}", type=Path, required=required, help=HELP[name])
        return subparser

    step(prepare, "check, split and store a collection").add_argument("--threads", type=int, default=1)
    step(reference, "learn what is known of real images before a model exists", "store")
    training = step(train, "train one model on one prepared store", "store")
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
    step(tune, "choose how a trained model is sampled", "store", "reference", "checkpoint")
    sampling = step(sample, SAMPLE_SUMMARY, "store", "checkpoint", "sampler", required=False)
    sampling.add_argument("--shard", type=int, default=0, help="number of the shard, from 0")
    sampling.add_argument("--sample-id", help="make this sample again alone, as it was released")
    sampling.add_argument("--results", type=Path, default=Path("results"), help="where --sample-id looks (results)")
    step(evaluate, "measure the samples and give each a verdict", "store", "reference", "train", "samples")
    step(release, "write the dataset that is handed over", "store", "train", "sampler", "samples", "evaluation")
    tracking_step = step(
        track, "log one run in MLflow", "store", "train", "tune", "evaluation", "release", required=False
    )
    tracking_step.add_argument("--initialise", action="store_true", help="make ready what all runs share, and log none")
    tracking_step.add_argument("--initialised", type=Path, help="file that --initialise wrote")
    step(base, "write trained weights as they come with the package", "checkpoint", settings=False)
    verifying = steps.add_parser("verify", help=VERIFY_SUMMARY, description=VERIFY_SUMMARY)
    verifying.set_defaults(run=verify)
    verifying.add_argument("folder", type=Path, help=HELP["release"])
    starting = steps.add_parser("init", help=INIT_SUMMARY, description=INIT_SUMMARY)
    starting.set_defaults(run=init)
    starting.add_argument("table", type=Path, help="CSV or TSV with one image a row, paths counted from its folder")
    starting.add_argument("--modality", help="what the images are, where it should not be guessed")
    step(schema, "write the JSON schema of config.yaml", settings=False).add_argument(
        "--page", type=Path, help="Markdown page whose tables of keys are to be written anew"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run one step; bad input ends in one line on stderr and exit status 1."""
    args = build_parser().parse_args(argv)
    # Other libraries stay at warnings: at a finer level some write what they find in image headers.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("medsynth").setLevel(os.environ.get("MEDSYNTH_LOG", "INFO"))
    os.umask(os.umask(0o077) | 0o002)  # a umask that lets everyone write is too open for medical images
    # Read when torch is loaded. Else a thread that waits for another spins, and beside other programs a step takes
    # several times as long (docs/decisions/waiting-threads.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        args.run(args)
    except InputError as error:
        sys.exit(f"medsynth {args.step}: {error}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        first = next(iter(str(error).splitlines()), "no more is said")
        sys.exit(f"medsynth {args.step}: out of memory, give it more ({first})")
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        sys.exit(f"medsynth {args.step}: {error.strerror or error}{where}")
