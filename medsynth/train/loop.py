"""The one training loop: data, model, an optimiser per player, step, EMA, checkpoint. It knows no family by name.

Every step draws its randomness from (seed, step, micro-batch) alone, so that a run that was killed, or that is spread
over several processes, sees the same images as an unbroken run of one process; and, where `batch_size` is the same, the
same noise and augmentation.
"""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from medsynth.artifacts.store import Store, StoreInfo
from medsynth.conditions.schema import Condition
from medsynth.config import TrainSettings
from medsynth.disk import files
from medsynth.errors import InputError, is_out_of_memory
from medsynth.fingerprint import fingerprint
from medsynth.images.modalities import MODALITIES
from medsynth.machine.devices import autocast_dtype, choose_device, fitting_batch_size, memory_format
from medsynth.machine.processes import Processes, StopSignal, joined
from medsynth.models import checkpoint
from medsynth.models.augmentation import AUGMENTATION_FEATURES, augment
from medsynth.models.checkpoint import difference, spec_of
from medsynth.models.contract import GenerativeModel, build
from medsynth.train.averaging import move_average
from medsynth.train.batches import Examples, derive_seed, training_order

log = logging.getLogger(__name__)

LOG_EVERY = 25  # steps between two rows of history.csv
VALIDATION_IMAGES = 512
STATISTICS_IMAGES = 2000  # at least, where there are as many
STATISTICS_BLOCK = 64  # images of them in memory at once
ALONE = Processes()
COUNTERS = ("step", "images_seen", "seconds", "best_loss", "stale", "history")


class Trainer:
    """The state of a training and its step.

    Attributes:
        step: optimiser steps done; images_seen and seconds likewise.
        history: one record every LOG_EVERY steps and at every validation.
    """

    def __init__(
        self,
        settings: TrainSettings,
        store: Store,
        device: torch.device,
        processes: Processes = ALONE,
        teacher: Path | None = None,
    ) -> None:
        self.settings = settings
        self.options = options = settings.model.training
        self.device = device
        self.processes = processes
        self.store_digest = store.info.digest
        self.code = fingerprint("train")  # now, since the sources may be edited while this runs
        self.spec = spec_of(store.info)
        self.flip_axes = MODALITIES[store.info.modality].flip_axes
        self.examples = Examples(store.split("train"), device)
        self.held_out = Examples(store.split("val"), device)

        torch.manual_seed(settings.seed)
        self.model = build(settings.model, self.spec)
        rows = range(0, len(self.examples), max(1, len(self.examples) // STATISTICS_IMAGES))
        taught_by: GenerativeModel | None = None
        self.taught: checkpoint.CheckpointInfo | None = None
        if teacher:
            taught_by, self.taught = checkpoint.load_teacher(teacher, store.info, device)
        blocks = (block.cpu() for block in self.examples.blocks(rows, STATISTICS_BLOCK))
        self.model.begin(blocks, taught_by)
        self.layout = memory_format(self.spec.spatial_dims)
        self.model.to(device=device, memory_format=self.layout)
        self.dtype = autocast_dtype(device, options.precision)
        self.players: dict[str, torch.nn.Module] = {name: self.model.get_submodule(name) for name in self.model.players}
        self.optimisers = {
            name: torch.optim.AdamW(
                player.parameters(), options.learning_rate, (0.9, 0.99), weight_decay=options.weight_decay, fused=True
            )
            for name, player in self.players.items()
        }
        self.ema = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.best: dict[str, Tensor] = {}
        self.early: dict[str, Tensor] = {}
        self.step = self.images_seen = self.stale = 0
        self.seconds = 0.0
        self.best_loss = math.inf
        self.history: list[dict[str, float]] = []
        self.skipped = torch.zeros((), device=device)
        self.batch_size = self._fitting_batch_size()
        if options.compile is True or (options.compile == "auto" and device.type == "cuda"):
            for player in self.players.values():
                player.compile(dynamic=False)

    def _fitting_batch_size(self) -> int:
        """Images that go through the network at once."""
        largest = self.options.effective_batch_size // self.processes.count
        if not largest:
            raise InputError(
                f"training.effective_batch_size is {self.options.effective_batch_size}, expected at least "
                f"the {self.processes.count} processes"
            )
        if self.options.batch_size != "auto":
            return min(self.options.batch_size, largest)

        def attempt(count: int) -> None:
            for player in self.players:
                self._losses(*self.examples.gather([0] * count), player)["total"].mean().backward()
                self.model.zero_grad(set_to_none=True)

        return self.processes.least(fitting_batch_size(attempt, largest, self.device), self.device)

    @property
    def progress(self) -> float:
        """The share of the budget that is used up: images or minutes, whichever is further."""
        minutes = self.options.minutes
        return max(self.images_seen / self.options.images, self.seconds / (60 * minutes) if minutes else 0)

    def learning_rate(self) -> float:
        """Linear warm-up, a plateau, and a cosine decay to zero over the last part of the budget."""
        options, progress = self.options, min(self.progress, 1)
        warm = min(1, (progress + 1e-3) / options.warmup) if options.warmup else 1
        left = min(1, (1 - progress) / options.decay) if options.decay else 1
        return options.learning_rate * warm * (1 - math.cos(math.pi * left)) / 2

    def _losses(self, image: Tensor, condition: Condition, player: str, augmented: bool = False) -> dict[str, Tensor]:
        features = image.new_zeros(len(image), AUGMENTATION_FEATURES[self.spec.spatial_dims])
        if augmented:
            image, condition, features = augment(
                image, condition, self.spec.conditions, self.options.augmentation, self.flip_axes
            )
        image = image.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            terms = self.model.loss(image, condition, features, player)
        return terms | {"total": torch.stack([term.float() for term in terms.values()]).sum(0)}

    def advance(self) -> dict[str, Tensor]:
        """One optimiser step of every player on one effective batch; returns the mean of each loss term."""
        started = time.monotonic()
        means: dict[str, Tensor] = {}
        learning_rate = self.learning_rate()
        broken = torch.zeros((), device=self.device)
        for turn, (name, player) in enumerate(self.players.items()):
            while (terms := self._accumulate(turn, name)) is None:
                player.zero_grad(set_to_none=True)
            for term, value in terms.items():
                means[term] = means.get(term, 0) + value
            broken = torch.maximum(broken, self._update(player, self.optimisers[name], learning_rate))
        self.skipped += broken
        self.step += 1
        self.images_seen += self.options.effective_batch_size
        self._average()
        self.seconds = self.processes.agree(self.seconds + time.monotonic() - started, self.device)
        return means

    def _accumulate(self, turn: int, name: str) -> dict[str, Tensor] | None:
        """Add up one player's gradients over this process's share of an effective batch: the mean of each loss term.

        None where memory ran out in any process: batch_size is then about half of what it was, in all of them.
        """
        batch, size = self.options.effective_batch_size, self.batch_size
        means: dict[str, Tensor] = {}
        try:
            for micro in range(self.processes.rank, math.ceil(batch / size), self.processes.count):
                torch.manual_seed(derive_seed(self.settings.seed, self.step, micro, turn))
                count = min(size, batch - micro * size)
                rows = training_order(self.settings.seed, len(self.examples), self.step * batch + micro * size, count)
                losses = self._losses(*self.examples.gather(rows), name, augmented=True)
                (losses["total"].sum() / batch).backward()
                for term, values in losses.items():
                    means[term] = means.get(term, 0) + values.detach().sum() / batch
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            self.batch_size = (size + 1) // 2
            log.warning("step %d: out of memory; going on with %d images at once", self.step, self.batch_size)
        self.batch_size = self.processes.least(self.batch_size, self.device)
        return means if self.batch_size == size else None

    def _update(self, player: torch.nn.Module, optimiser: torch.optim.Optimizer, learning_rate: float) -> Tensor:
        """Move the player; returns 1 where its gradient was not finite and it stays, else 0."""
        parameters = [p for p in player.parameters() if p.grad is not None]
        self.processes.add_up([p.grad for p in parameters if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.options.clip_norm)
        # The fused optimiser itself leaves out a step whose gradient is not finite: no wait for the device here.
        broken = (~torch.isfinite(norm)).float()
        optimiser.found_inf = broken
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return broken

    def _average(self) -> None:
        """Move the averaged weights, and keep them as the guide once training has come so far."""
        move_average(self.ema, self.model.state_dict(), self.step, self.options.ema)
        if self.model.keeps_guide and not self.early and self.progress >= self.options.guide_at:
            self.early = {name: tensor.clone() for name, tensor in self.ema.items()}

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss of the averaged weights on held-out subjects, with the same noise every time."""
        started = time.monotonic()
        trained = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema)
        totals = []
        rows = range(0, len(self.held_out), -(-len(self.held_out) // VALIDATION_IMAGES))
        for start in range(0, len(rows), self.batch_size):
            torch.manual_seed(derive_seed(self.settings.seed, start))
            batch = self.held_out.gather(rows[start : start + self.batch_size])
            totals.append(torch.stack([self._losses(*batch, player)["total"] for player in self.model.judged]).sum(0))
        self.model.load_state_dict(trained)
        loss = self.processes.agree(float(torch.cat(totals).mean()), self.device)
        if loss < self.best_loss:
            self.best_loss, self.stale = loss, 0
            self.best = {name: tensor.clone() for name, tensor in self.ema.items()}
        else:
            self.stale += 1
        self.seconds = self.processes.agree(self.seconds + time.monotonic() - started, self.device)
        return loss

    def record(self, means: dict[str, Tensor], val_loss: float | None) -> None:
        """Add a row to the history, which waits for the device.

        Raises:
            InputError: most steps since the last row had a gradient that was not finite.
        """
        since = self.step - (int(self.history[-1]["step"]) if self.history else 0)
        if int(self.skipped) > max(1, since // 2):
            raise InputError(
                f"step {self.step}: {int(self.skipped)} of the last {since} gradients were not finite; "
                "lower training.learning_rate or set training.precision to float32"
            )
        self.skipped.zero_()
        self.processes.add_up(list(means.values()))
        row = {"step": self.step, "images_seen": self.images_seen, "seconds": round(self.seconds, 3)}
        row |= {term: float(value) for term, value in means.items()}
        row |= {"val_loss": math.nan if val_loss is None else val_loss, "learning_rate": self.learning_rate()}
        row["images_per_s"] = round(self.images_seen / max(self.seconds, 1e-9), 2)
        self.history.append(row)

    @property
    def _origin(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be gone on from."""
        settings = self.settings.model_dump(mode="json")
        teacher = self.taught.weights_sha256 if self.taught else None
        return {"settings": settings, "store": self.store_digest, "code": self.code, "teacher": teacher}

    def save(self, path: Path) -> None:
        """Write all that `restore` needs as one safetensors file."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for part in ("ema", "best", "early"):
            tensors |= {f"{part}.{name}": tensor for name, tensor in getattr(self, part).items()}
        for player, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{player}.{index}.{key}": value for key, value in state.items()}
        info = self._origin | {key: getattr(self, key) for key in (*COUNTERS, "batch_size")}
        checkpoint.write_tensors(path, tensors, info)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: the checkpoint is damaged, or of other settings, data or code.
        """
        tensors, info = checkpoint.read_tensors(path)
        for key, value in self._origin.items():
            if info.get(key) != value:
                raise InputError(f"{path}: checkpoint of another {difference(info.get(key), value, key)}; "
                                 f"remove {path.parent} to train anew")  # fmt: skip
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "best": {}, "early": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        checkpoint.load_weights(self.model, parts["model"], path)
        for name, tensor in parts["ema"].items():
            self.ema[name].copy_(tensor)
        self.best = {name: tensor.to(self.device) for name, tensor in parts["best"].items()}
        self.early = {name: tensor.to(self.device) for name, tensor in parts["early"].items()}
        for player, optimiser in self.optimisers.items():
            parameters = optimiser.param_groups[0]["params"]
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in parts["optimiser"].items():
                owner, index, key = name.rsplit(".", 2)
                if owner == player:
                    # The fused optimiser reads moments in the layout of their parameter, without a check.
                    like = parameters[int(index)] if tensor.ndim else tensor
                    state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(tensor)
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        for key in COUNTERS:
            setattr(self, key, info[key])
        self.batch_size = min(self.batch_size, info["batch_size"])


def train(settings: TrainSettings, store: Store, out: Path, teacher: Path | None = None) -> None:
    """Train a model on the training subjects of a store, going on from `out/checkpoints` where a run broke off.

    Writes model.safetensors, model.json and history.csv into `out`, and removes the checkpoints when all are there.

    Args:
        teacher: weights of the model to learn from, trained on the same store, for a family that has one.
    """
    device = choose_device()
    with joined(device) as processes:
        _train(Trainer(settings, store, device, processes, teacher), store.info, out)


def _train(trainer: Trainer, info: StoreInfo, out: Path) -> None:
    options, leads = trainer.options, trainer.processes.rank == 0
    last = out / "checkpoints" / "last.safetensors"
    if last.exists():
        trainer.restore(last)
        log.info("resumed at step %d from %s", trainer.step, last)
    stop = StopSignal()
    next_save = time.monotonic() + options.checkpoint_seconds
    with tqdm(total=100, unit="%", desc="train", mininterval=5, disable=not leads) as bar:
        while trainer.progress < 1 and (options.patience is None or trainer.stale < options.patience):
            before = trainer.images_seen
            means = trainer.advance()
            interval = options.validate_every
            due = trainer.images_seen // interval > before // interval or trainer.progress >= 1
            if due or trainer.step % LOG_EVERY == 0:
                trainer.record(means, trainer.validate() if due else None)
                bar.set_postfix(loss=trainer.history[-1]["total"], images_per_s=trainer.history[-1]["images_per_s"])
            bar.update(min(100, 100 * trainer.progress) - bar.n)
            stopping = bool(trainer.processes.agree(float(stop.received), trainer.device))
            if leads and (stopping or time.monotonic() > next_save):
                trainer.save(last)
                next_save = time.monotonic() + options.checkpoint_seconds
            if stopping:
                raise SystemExit(f"stopped by SIGTERM; {last} holds the state, start again to go on")
    if trainer.model.keeps_guide and not trainer.early:
        log.warning("training ended before guide_at: the guide is the model itself, and autoguidance changes nothing")
        trainer.early = {name: tensor.clone() for name, tensor in trainer.best.items()}
    if leads:
        history = pd.DataFrame(trainer.history).rename(columns={"total": "loss"})
        with files.written_whole(out / "history.csv") as part:
            history.to_csv(part, index=False, float_format="%.6g")
        weights = trainer.best | {f"guide.{name}": tensor for name, tensor in trainer.early.items()}
        checkpoint.save_model(
            out,
            weights,
            info,
            trainer.settings,
            trainer.taught,
            trainer.images_seen,
            trainer.seconds,
            trainer.best_loss,
        )
        last.unlink(missing_ok=True)
