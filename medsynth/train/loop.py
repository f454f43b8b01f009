"""The one training loop: step, validate, save, until the budget is used up. It knows no family by name."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from medsynth.artifacts import live
from medsynth.artifacts.reconstructions import FILE
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.artifacts.tuned import Tuned
from medsynth.config import TrainSettings
from medsynth.config.base_model import DETAILS
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.machine.devices import choose_device
from medsynth.machine.processes import StopSignal, joined
from medsynth.models import checkpoint
from medsynth.train import kept
from medsynth.train.overfitting import overfitted_from
from medsynth.train.reconstruct import reconstruct
from medsynth.train.strip import Strip
from medsynth.train.trainer import LOG_EVERY, NO_PARENTS, Trainer, origin_of

log = logging.getLogger(__name__)

LAST = Path("checkpoints") / "last.safetensors"


def train(
    settings: TrainSettings,
    store: Store,
    out: Path,
    parents: Mapping[str, Path] = NO_PARENTS,
    samplers: Mapping[str, Path] = NO_PARENTS,
) -> None:
    """Train a model on the training subjects of a store, going on from `out/checkpoints` where a run broke off.

    Writes model.safetensors, model.json, history.csv, strip.png and reconstructions.safetensors into `out`, keeps them
    in `out/kept`, and removes the last checkpoint. A training that was finished before from the same settings, data,
    code and parents is not repeated.

    Args:
        parents: role → the weights of a model to begin from or learn from.
        samplers: role → the sampler.json of such a model, in place of the sampler that it is configured with.
    """
    settings = settings.model_copy(update={"model": settings.model.for_images(store.info.size)})
    parents = with_base(settings, store.info, parents)
    settings = _sampled_by(settings, parents, samplers)
    origin = origin_of(settings, store.info, parents)
    device = choose_device()
    with joined(device) as processes:
        leads = processes.rank == 0
        if processes.agree(float(leads and kept.take_back(out, origin)), device):
            if leads:
                (out / LAST).unlink(missing_ok=True)
            return
        trainer = Trainer(settings, store, device, processes, parents)
        trainer.origin = origin  # of before: the sources may have been edited since
        _train(trainer, store, out)


def with_base(
    settings: TrainSettings, store: StoreInfo, parents: Mapping[str, Path] = NO_PARENTS
) -> Mapping[str, Path]:
    """The parents, and the package's weights where the model begins with them.

    Raises:
        InputError: they are not those that the settings name.
    """
    if settings.base is None:
        return parents
    base = settings.model.base(store.image_shape)
    if base is None or base.sha256 != settings.base:
        got = "none that fit" if base is None else f"those with sha256 {base.sha256[:12]}"
        raise InputError(
            f"base: this installation has {got}, expected weights with sha256 {settings.base[:12]}: make the settings "
            "with the same version of medsynth"
        )
    return {**parents, DETAILS: base.weights}


def _sampled_by(settings: TrainSettings, weights: Mapping[str, Path], samplers: Mapping[str, Path]) -> TrainSettings:
    """The settings with parents that are sampled as tune chose for their weights."""
    parents = dict(settings.parents)
    for role, path in samplers.items():
        digest, family = checkpoint.read_info(weights[role]).weights_sha256, parents[role].family
        sampler = Tuned.read(path).sampler_of(digest, family, path)
        parents[role] = parents[role].model_copy(update={"sampler": sampler})
    return settings.model_copy(update={"parents": parents})


def _train(trainer: Trainer, store: Store, out: Path) -> None:
    options, leads = trainer.options, trainer.processes.rank == 0
    last = out / LAST
    if last.exists():
        trainer.restore(last)
        log.info("resumed at step %d from %s", trainer.step, last)
    strip = Strip(trainer, store.split("val"), last.parent)
    if leads:
        live.begin(out / live.LIVE, trainer.history)
    next_save = time.monotonic() + options.checkpoint_seconds
    with StopSignal() as stop, tqdm(total=100, unit="%", desc="train", mininterval=5, disable=not leads) as bar:
        while trainer.progress < 1 and (options.patience is None or trainer.stale < options.patience):
            before = trainer.images_seen
            trainer.advance()
            if leads:
                strip.draw()
            interval = options.validate_every
            due = trainer.images_seen // interval > before // interval or trainer.progress >= 1
            if due or trainer.step % LOG_EVERY == 0:
                trainer.record(trainer.validate() if due else None)
                last_row = trainer.history[-1]  # without a loss after steps that had no phase
                if leads:
                    live.add(out / live.LIVE, last_row)
                bar.set_postfix(loss=last_row.get("total", math.nan), images_per_s=last_row["images_per_s"])
            bar.update(min(100, 100 * trainer.progress) - bar.n)
            stopping = bool(trainer.processes.agree(float(bool(stop.received)), trainer.device))
            if leads and (stopping or time.monotonic() > next_save):
                trainer.save(last)
                next_save = time.monotonic() + options.checkpoint_seconds
            if stopping:
                by = stop.received or "a signal to another process"
                raise SystemExit(f"stopped by {by}; {last} holds the state, start again to go on")
    averages = trainer.averages
    if trainer.model.keeps_guide and not averages.early:
        log.warning("training ended before guide_at: the guide is the model itself, and autoguidance changes nothing")
        averages.keep_early_as_best()
    if leads:
        if overfitted := overfitted_from(trainer.history) if trainer.model.scores_its_loss else None:
            log.warning(
                "overfitted: the held-out loss was lowest after %d of %d images and rose from there; the weights of "
                "then are kept",
                *(overfitted, trainer.images_seen),
            )
        strip.finish(out / "strip.png")
        history = pd.DataFrame(trainer.history).rename(columns={"total": "loss"})
        with files.written_whole(out / "history.csv") as part:
            history.to_csv(part, index=False, float_format="%.6g")
        trainer.model.load_state_dict(averages.best, strict=False)
        with torch.compiler.set_stance("force_eager"):
            reconstructed = reconstruct(trainer.model.eval(), store.split("test"), trainer.batch_size)
        reconstructed.write(out / FILE, store)
        weights = averages.best | {f"guide.{name}": tensor for name, tensor in averages.early.items()}
        checkpoint.save_model(
            out,
            weights,
            store.info,
            trainer.settings,
            trainer.parents,
            trainer.images_seen,
            trainer.seconds,
            trainer.best_loss if math.isfinite(trainer.best_loss) else None,
            overfitted,
        )
        kept.keep(out, trainer.origin)
        last.unlink(missing_ok=True)
        (out / live.LIVE).unlink(missing_ok=True)
