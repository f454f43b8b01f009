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

from medsynth import config
from medsynth.arguments import build_parser
from medsynth.config import columns
from medsynth.disk import files
from medsynth.errors import InputError, is_out_of_memory

HISTORY = ("images_seen", "loss", "val_loss", "learning_rate")
VERDICTS = ("sample_id", *columns.VERDICT)


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
    from medsynth.artifacts import reconstructions
    from medsynth.artifacts.reference import Reference
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.disk import tables
    from medsynth.evaluate.evaluate import evaluate

    settings = _settings(config.EvaluateSettings, args)
    history = tables.read(args.train / "history.csv", HISTORY, text=False)
    overfitted_from = _read_json(args.train / "model.json").get("overfitted_from")
    shards = open_shards(args.samples)
    store = Store.open(args.store, verify=True)
    reference = Reference.open(args.reference, store)
    made = reconstructions.Reconstructions.read(args.train / reconstructions.FILE, store)
    evaluate(settings, store, reference, shards.images, shards.rows, history, args.out, overfitted_from, made)


def utility(args: argparse.Namespace) -> None:
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.disk import tables
    from medsynth.utility.utility import utility

    shards = open_shards(args.samples)
    verdicts = tables.read(args.evaluation / "samples.csv", VERDICTS)
    settings = _settings(config.UtilitySettings, args)
    utility(settings, Store.open(args.store, verify=True), shards.images, shards.rows, verdicts, args.out)


def membership(args: argparse.Namespace) -> None:
    from medsynth.artifacts.store import Store
    from medsynth.membership.membership import membership

    settings = _settings(config.MembershipSettings, args)
    membership(settings, Store.open(args.store, verify=True), args.checkpoint, args.out)


def gates(args: argparse.Namespace) -> None:
    from medsynth.artifacts import measured
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.artifacts.tuned import Tuned
    from medsynth.disk import tables
    from medsynth.gates.gates import gates
    from medsynth.gates.origin import Run

    shards = open_shards(args.samples)
    run = Run(
        Store.open(args.store, verify=True),
        shards.images,
        shards.rows,
        tables.read(args.evaluation / "samples.csv", VERDICTS),
        measured.read([args.evaluation / "metrics.csv", *args.measured]),
        _read_json(args.train / "model.json"),
        Tuned.read(args.sampler).model_dump(mode="json"),
    )
    gates(_settings(config.GatesSettings, args), run, args.out)


def release(args: argparse.Namespace) -> None:
    from medsynth.artifacts import measured, outcomes
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.artifacts.tuned import Tuned
    from medsynth.disk import tables
    from medsynth.release.release import release

    gates = outcomes.read(args.gates / outcomes.FILE)
    if lines := outcomes.refusals(gates):
        lines.append(f"nothing is released; look at {args.evaluation} and {args.gates / outcomes.FILE}")
        sys.exit("\n".join(f"medsynth release: {line}" for line in lines))
    shards = open_shards(args.samples)
    release(
        _settings(config.ReleaseSettings, args),
        Store.open(args.store, verify=True),
        shards.images,
        shards.rows,
        tables.read(args.evaluation / "samples.csv", VERDICTS),
        measured.read([args.evaluation / "metrics.csv", *args.measured]),
        gates,
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
        tracking.log_run(settings.tracking, **paths, measured=args.measured)


def follow(args: argparse.Namespace) -> None:
    from medsynth.track.follow import follow

    settings = config.parse(config.Tracking, {"uri": args.uri, "experiment": args.experiment}, "follow")
    follow(settings, args.train)


def browse(args: argparse.Namespace) -> None:
    from medsynth.artifacts import measured, outcomes
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.browse.browse import browse
    from medsynth.disk import tables

    shards = open_shards(args.samples)
    browse(
        Store.open(args.store, verify=True),
        shards.images,
        shards.rows,
        tables.read(args.evaluation / "samples.csv", (*VERDICTS, "nearest_image")),
        measured.read([args.evaluation / "metrics.csv"]),
        outcomes.read(args.gates / outcomes.FILE),
        args.out,
    )


def vary(args: argparse.Namespace) -> None:
    from medsynth.artifacts.reference import Reference
    from medsynth.artifacts.shards import shard_tables
    from medsynth.artifacts.store import Store
    from medsynth.vary.vary import vary

    asked = {"subjects": args.subject, "along": args.along, "held": dict(args.held)}
    asked["held_outside"] = args.held_outside
    settings = config.parse(config.VarySettings, asked, "vary")
    folders = _run_folders(args)
    store = Store.open(folders["prepare"], verify=True)
    reference = Reference.open(folders["reference"], store)
    planned = shard_tables(folders["sample"])
    weights, sampler = folders["train"] / "model.safetensors", folders["tune"] / "sampler.json"
    vary(settings, store, reference, planned, weights, sampler, args.out)


def insert(args: argparse.Namespace) -> None:
    from medsynth.artifacts.reference import Reference
    from medsynth.artifacts.store import Store
    from medsynth.conditions.requests import read_requests
    from medsynth.insert.insert import insert

    asked = {"seed": args.seed, "into": dict(args.into), "split": args.split}
    settings = config.parse(config.InsertSettings, asked, "insert")
    folders = _run_folders(args)
    store = Store.open(folders["prepare"], verify=True)
    reference = Reference.open(folders["reference"], store)
    header, lesions = read_requests(args.lesions, store.info.condition_schema)
    weights, sampler = folders["train"] / "model.safetensors", folders["tune"] / "sampler.json"
    insert(settings, store, reference, header, lesions, weights, sampler, args.out)


def educate(args: argparse.Namespace) -> None:
    from medsynth.artifacts.shards import open_shards
    from medsynth.artifacts.store import Store
    from medsynth.disk import tables
    from medsynth.educate.educate import educate

    shards = open_shards(args.samples)
    verdicts = tables.read(args.evaluation / "samples.csv", VERDICTS)
    table = tables.read(args.evaluation / "copy_limits.csv", columns.COPY_LIMITS, text=False)
    limits: dict[str, float] = dict(zip(*(table[column] for column in columns.COPY_LIMITS), strict=True))
    settings = _settings(config.EducateSettings, args)
    educate(settings, Store.open(args.store), shards.images, shards.rows, verdicts, args.strips, limits, args.out)


def viewer(args: argparse.Namespace) -> None:
    from medsynth.pages.niivue import install

    print(install(args.package))


def tabulate(args: argparse.Namespace) -> None:
    from medsynth.tabulate.slices import Cut
    from medsynth.tabulate.tabulate import Options, tabulate

    cut = Cut(args.axis, args.every, tuple(args.where_mask)) if args.axis else None
    print(tabulate(args.source, args.out, Options(args.subject, args.labels, cut, args.every if args.frames else None)))


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


def _run_folders(args: argparse.Namespace) -> dict[str, Path]:
    """The folder of each step of the run that is named."""
    dataset, _, model = args.run_name.partition("/")
    if not (dataset and model) or "/" in model:
        raise InputError(f"got {args.run_name!r}, expected DATASET/MODEL, a run below {args.results}")
    of_dataset = {step: args.results / step / dataset for step in ("prepare", "reference")}
    return of_dataset | {step: args.results / step / dataset / model for step in ("train", "tune", "sample")}


def _need(args: argparse.Namespace, *names: str) -> None:
    if missing := [name for name in names if getattr(args, name) is None]:
        raise InputError(f"--{missing[0]} is missing")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); remove it and make it again") from None


SUBCOMMANDS: tuple[Callable[[argparse.Namespace], None], ...] = (
    *(prepare, reference, train, tune, sample, evaluate, utility, membership, gates, browse, release, track),
    *(follow, vary, educate, insert, verify, viewer, tabulate, init, base, schema),
)


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
        {run.__name__: run for run in SUBCOMMANDS}[args.step](args)
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
