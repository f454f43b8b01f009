"""A training and its step: an optimiser per phase, the averages, the checkpoint. It knows no family by name.

Every step draws its randomness from (seed, step, micro-batch) alone, so that a run that was killed, or that is spread
over several processes, sees the same images as an unbroken run of one process; and, where `batch_size` is the same, the
same noise and augmentation. Validation has the same noise whatever `batch_size` is.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medsynth.artifacts.store import Store, StoreInfo
from medsynth.artifacts.tensors import read_tensors, write_tensors
from medsynth.config import TrainSettings
from medsynth.config.choices import training_entries
from medsynth.config.training import PLATEAU
from medsynth.errors import InputError, is_out_of_memory
from medsynth.fingerprint import fingerprint
from medsynth.images.modalities import MODALITIES
from medsynth.machine.devices import autocast_dtype, memory_format
from medsynth.machine.processes import Processes
from medsynth.models import checkpoint
from medsynth.models.augmentation import augment
from medsynth.models.checkpoint import difference, spec_of
from medsynth.models.contract import AUGMENTATION_FEATURES, Batch, build
from medsynth.train import micro_batch
from medsynth.train.averaging import Averages
from medsynth.train.batches import Examples, derive_seed
from medsynth.train.optimisers import from_tensors, optimisers_of, to_tensors
from medsynth.train.order import TrainingOrder
from medsynth.train.schedule import learning_rate
from medsynth.train.validation import Validation

log = logging.getLogger(__name__)

LOG_EVERY = 25  # steps between two rows of history.csv
STATISTICS_IMAGES = 2000  # at least, where there are as many
STATISTICS_BLOCK, STATISTICS_PIXELS = 64, 2**24  # of them in memory at once, at most
LESSON_IMAGES, LESSON_PIXELS = 16, 2**20  # of a batch for what is trained before the first step, at most
ALONE = Processes()
NO_PARENTS: Mapping[str, Path] = {}
COUNTERS = ("step", "images_seen", "seconds", "best_loss", "stale", "halvings", "history")


def origin_of(settings: TrainSettings, store: StoreInfo, parents: Mapping[str, Path]) -> dict[str, Any]:
    """What decides the results of a training: a checkpoint of another origin is not gone on from."""
    return {
        "settings": settings.model_dump(mode="json"),
        "store": store.digest,
        "code": fingerprint("train", training_entries(settings, store.conditions)),
        "parents": {role: checkpoint.read_info(path).weights_sha256 for role, path in parents.items()},
    }


class Trainer:
    """The state of a training and its step.

    Attributes:
        step: optimiser steps done; images_seen and seconds likewise.
        history: one record every LOG_EVERY steps and at every validation.
        since: loss term → (2,) its sum over the steps since the last record, and how many of them had it.
    """

    def __init__(
        self,
        settings: TrainSettings,
        store: Store,
        device: torch.device,
        processes: Processes = ALONE,
        parents: Mapping[str, Path] = NO_PARENTS,
    ) -> None:
        self.settings = settings
        self.options = options = settings.model.training
        self.device = device
        self.processes = processes
        self.origin = origin_of(settings, store.info, parents)  # now: the sources may be edited while this runs
        self.spec = spec_of(store.info)
        self.flip_axes = MODALITIES[store.info.modality].flip_axes
        of_training = store.split("train")
        self.examples = Examples(of_training, device)
        self.order = TrainingOrder(settings.seed, of_training.label_values(), options.balance)
        self.validation = Validation(Examples(store.split("val"), device), settings.seed, processes)

        torch.manual_seed(settings.seed)
        self.model = build(settings.model, self.spec, settings.parents)
        if strange := sorted(set(parents) - set(settings.model.roles)):
            known = ", ".join(settings.model.roles) or "none"
            raise InputError(f"parents: a {settings.model.family} model has no {strange[0]}, expected {known}")
        rows = range(0, len(self.examples), max(1, len(self.examples) // STATISTICS_IMAGES))
        loaded = {
            role: checkpoint.load_parent(path, settings.model.roles[role], store.info, device)
            for role, path in parents.items()
        }
        self.parents = {role: info for role, (_, info) in loaded.items()}
        together = max(1, min(STATISTICS_BLOCK, STATISTICS_PIXELS // math.prod(self.spec.size)))
        blocks = (block.cpu() for block in self.examples.blocks(rows, together))
        self.model.begin(blocks, {role: parent for role, (parent, _) in loaded.items()})
        self.layout = memory_format(self.spec.spatial_dims)
        self.model.to(device=device, memory_format=self.layout)
        self.dtype = autocast_dtype(device, options.precision)
        self.optimisers = optimisers_of(self.model, options)
        self.averages = Averages(self.model, options.ema)
        self.step = self.images_seen = self.stale = self.halvings = 0
        self.seconds = 0.0
        self.best_loss = math.inf
        self.history: list[dict[str, float]] = []
        self.since: dict[str, Tensor] = {}
        self.skipped = torch.zeros(len(self.model.phases), device=device)
        self.model.train_losses(self._lessons(), options.images)
        self.batch_size = self._fitting_batch_size()
        if options.compile is True or (options.compile == "auto" and device.type == "cuda"):
            for path in {path for phase in self.model.phases for path in phase.modules}:
                self.model.get_submodule(path).compile(dynamic=False)

    def _lessons(self) -> Iterator[Batch]:
        """Training batches without end, the same in every process, for what is trained before the first step."""
        count = max(1, min(LESSON_IMAGES, LESSON_PIXELS // math.prod(self.spec.size)))
        for number in itertools.count():
            torch.manual_seed(derive_seed(self.settings.seed, number))
            yield self._augmented(self.order.rows(number * count, count))

    def _augmented(self, rows: Sequence[int]) -> Batch:
        batch = self.examples.gather(rows)
        return augment(batch, self.spec.conditions, self.options.augmentation, self.flip_axes)

    def _fitting_batch_size(self) -> int:
        """Images that go through the network at once."""
        largest = self.options.effective_batch_size // self.processes.count
        if not largest:
            raise InputError(
                f"training.effective_batch_size is {self.options.effective_batch_size}, expected at least "
                f"the {self.processes.count} processes"
            )

        def attempt(phase: str, count: int) -> None:
            self._losses(self.examples.gather([0] * count), phase)["total"].mean().backward()

        size = micro_batch.choose(self.model, attempt, self.options.batch_size, largest, self.device)
        return self.processes.least(size, self.device) if self.options.batch_size == "auto" else size

    @property
    def progress(self) -> float:
        """The share of the budget that is used up: images or minutes, whichever is further."""
        minutes = self.options.minutes
        return max(self.images_seen / self.options.images, self.seconds / (60 * minutes) if minutes else 0)

    def learning_rate(self) -> float:
        return learning_rate(self.options, min(self.progress, 1), self.halvings)

    def _ready(self, batch: Batch) -> Batch:
        """The batch in the layout of the networks; untouched images are told to be so."""
        image, augmentation = batch.image, batch.augmentation
        assert image is not None
        if augmentation is None:
            augmentation = image.new_zeros(len(image), AUGMENTATION_FEATURES[self.spec.spatial_dims])
        image = image.contiguous(memory_format=self.layout)
        return replace(batch, image=image, augmentation=augmentation, progress=min(self.progress, 1.0))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def _losses(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        with self._autocast():
            terms = self.model.loss(self._ready(batch), phase)
        weights = self.model.term_weights
        total = torch.stack([weights.get(name, 1.0) * term.float() for name, term in terms.items()]).sum(0)
        return terms | {"total": total}

    def advance(self) -> dict[str, Tensor]:
        """One optimiser step of every phase on one effective batch; returns the mean of each loss term."""
        started, progress = time.monotonic(), self.progress
        means: dict[str, Tensor] = {}
        learning_rate = self.learning_rate()
        for turn, phase in enumerate(self.model.phases):
            if not phase.runs(self.step, self.progress):
                continue
            optimiser = self.optimisers[phase.name]
            while (terms := self._accumulate(turn, phase.name)) is None:
                optimiser.zero_grad(set_to_none=True)
            self.skipped[turn] += self._update(optimiser, learning_rate * phase.learning_rate, terms)
            for term, value in terms.items():
                means[term] = means.get(term, 0) + value
            self.model.zero_grad(set_to_none=True)  # of modules that this phase reads and another one moves
        for term, value in means.items():
            self.since[term] = self.since.get(term, 0) + torch.stack([value, torch.ones_like(value)])
        self.step += 1
        self.images_seen += self.options.effective_batch_size
        self.averages.move(self.step)
        if self.model.keeps_guide and not self.averages.early and self.progress >= self.options.guide_at:
            self.averages.keep_early()
        self.seconds = self.processes.agree(self.seconds + time.monotonic() - started, self.device)
        self.model.heed(means, self.progress - progress)
        return means

    def _accumulate(self, turn: int, phase: str) -> dict[str, Tensor] | None:
        """Add up one phase's gradients over this process's share of an effective batch: the mean of each loss term.

        None where memory ran out in any process: batch_size is then about half of what it was, in all of them.
        """
        images, size = self.options.effective_batch_size, self.batch_size
        means: dict[str, Tensor] = {}
        try:
            for micro in range(self.processes.rank, math.ceil(images / size), self.processes.count):
                torch.manual_seed(derive_seed(self.settings.seed, self.step, micro, turn))
                count = min(size, images - micro * size)
                batch = self._augmented(self.order.rows(self.step * images + micro * size, count))
                losses = self._losses(batch, phase)
                (losses["total"].sum() / images).backward()
                for term, values in losses.items():
                    means[term] = means.get(term, 0) + values.detach().float().sum() / images
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            self.batch_size = (size + 1) // 2
            log.warning("step %d: out of memory; going on with %d images at once", self.step, self.batch_size)
        self.batch_size = self.processes.least(self.batch_size, self.device)
        return means if self.batch_size == size else None

    def _update(self, optimiser: torch.optim.Optimizer, learning_rate: float, terms: dict[str, Tensor]) -> Tensor:
        """Apply one optimiser step. Returns 1 if the gradient was not finite and the step was skipped, else 0.

        Args:
            terms: this process's part of each loss term; becomes the whole.
        """
        parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        self.processes.add_up([*(p.grad for p in parameters if p.grad is not None), *terms.values()])
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.options.clip_norm)
        # The fused optimiser itself leaves out a step whose gradient is not finite: no wait for the device here.
        broken = (~torch.isfinite(norm)).float()
        optimiser.found_inf = broken
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return broken

    @torch.no_grad()
    def validate(self) -> float | None:
        """Mean score of the averaged weights on held-out subjects, with the same noise every time.

        None for a family without a score: its last average is then the best.
        """
        started = time.monotonic()
        with self.averages.in_place():
            loss = self.validation.mean(self._score, self.model.networks(), self.batch_size)
        if loss is None or loss < self.best_loss:
            self.best_loss, self.stale = math.inf if loss is None else loss, 0
            self.averages.keep_best()
        else:
            self.stale += 1
            self.halvings += self.stale % PLATEAU == 0
        if loss is None and self.options.schedule == "plateau":
            raise InputError(
                f"training.schedule: plateau follows a score, a {self.settings.model.family} model has none"
            )
        self.seconds = self.processes.agree(self.seconds + time.monotonic() - started, self.device)
        return loss

    def _score(self, batch: Batch) -> Tensor | None:
        with self._autocast():
            return self.model.score(self._ready(batch))

    def record(self, val_loss: float | None) -> None:
        """Add a row to the history, which waits for the device.

        A loss term is the mean over those steps since the last row that had it; a phase need not run in each.

        Raises:
            InputError: most steps since the last row had a gradient that was not finite.
        """
        since = self.step - (int(self.history[-1]["step"]) if self.history else 0)
        for phase, skipped in zip(self.model.phases, self.skipped.int().tolist(), strict=True):
            if skipped > max(1, since // (2 * phase.every)):
                raise InputError(
                    f"step {self.step}: {skipped} of the gradients of {phase.name} in the last {since} steps were not "
                    "finite; lower training.learning_rate or set training.precision to float32"
                )
        self.skipped.zero_()
        row = {"step": self.step, "images_seen": self.images_seen, "seconds": round(self.seconds, 3)}
        row |= {term: float(total / count) for term, (total, count) in self.since.items()}
        self.since = {}
        row |= {"val_loss": math.nan if val_loss is None else val_loss, "learning_rate": self.learning_rate()}
        row["images_per_s"] = round(self.images_seen / max(self.seconds, 1e-9), 2)
        self.history.append(row)

    def save(self, path: Path) -> None:
        """Write all that `restore` needs as one safetensors file."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        states = {"now": self.averages.now, "best": self.averages.best, "early": self.averages.early}
        states |= {"optimiser": to_tensors(self.optimisers), "since": self.since}
        for part, state in states.items():
            tensors |= {f"{part}.{name}": tensor for name, tensor in state.items()}
        info = self.origin | {key: getattr(self, key) for key in (*COUNTERS, "batch_size")}
        write_tensors(path, tensors, info)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: the checkpoint is damaged, or of other settings, data or code.
        """
        tensors, info = read_tensors(path)
        for key, value in self.origin.items():
            if info.get(key) != value:
                raise InputError(f"{path}: checkpoint of another {difference(info.get(key), value, key)}; "
                                 f"remove {path.parent} to train anew")  # fmt: skip
        names = ("model", "now", "best", "early", "optimiser", "since")
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in names}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        checkpoint.load_weights(self.model, parts["model"], path, set(self.model.state_dict()))
        for name, tensor in parts["now"].items():
            self.averages.now[name].copy_(tensor)
        self.averages.best = {name: tensor.to(self.device) for name, tensor in parts["best"].items()}
        self.averages.early = {name: tensor.to(self.device) for name, tensor in parts["early"].items()}
        self.since = {name: tensor.to(self.device) for name, tensor in parts["since"].items()}
        from_tensors(self.optimisers, parts["optimiser"])
        for key in COUNTERS:
            setattr(self, key, info[key])
        self.batch_size = min(self.batch_size, info["batch_size"])
