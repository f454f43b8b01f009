"""A strip of images over a training: the averaged weights draw the same few samples at some points of the budget."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from medsynth.artifacts.store import Store
from medsynth.disk import files
from medsynth.errors import InputError, is_out_of_memory
from medsynth.images.drawing import (
    GAP,
    GENERATED,
    INK,
    MARGIN,
    MARK,
    SYNTHETIC,
    TILE,
    disclaimer,
    font,
    marked_png,
    new_sheet,
    row_of,
)
from medsynth.models.generation import generate
from medsynth.train.batches import derive_seed
from medsynth.train.trainer import Trainer

log = logging.getLogger(__name__)

POINTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the budget
COLUMNS = 8
TITLE_HEIGHT = 24


class Strip:
    """The images of the points that were reached, each in a file, so that a training that resumes has them all.

    Attributes:
        settled: points that have their images, or never will.
    """

    def __init__(self, trainer: Trainer, val: Store, folder: Path) -> None:
        """folder: of checkpoints; `trainer` is restored from there before."""
        self.trainer = trainer
        self.folder = folder
        for number, point in enumerate(POINTS):
            if point > trainer.progress:  # of a training that was begun anew
                self._file(number).unlink(missing_ok=True)
        self.settled = {number for number in range(len(POINTS)) if self._file(number).exists()}
        labels = np.array(val.label_values())
        classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        chosen = np.array([rows[turn % len(rows)] for turn in range(COLUMNS) for rows in classes])[:COLUMNS]
        schema = trainer.spec.conditions
        self.rows = val.samples[list(schema.columns)].iloc[chosen].reset_index(drop=True)
        self.rows.insert(0, "sample_id", [f"strip-{place}" for place in range(COLUMNS)])
        self.rows.insert(1, "seed", [str(derive_seed(trainer.settings.seed, place)) for place in range(COLUMNS)])
        self.captions = labels[chosen].tolist()
        self.simulated = val.info.simulated
        self.masks = val.masks[chosen] if schema.needs_mask and val.masks is not None else None

    def draw(self) -> None:
        """Draw, if the last point of the budget that was passed has no images.

        The training's random numbers, weights and budget stay as they are. Where memory is too short, that point is
        left out.
        """
        passed = [number for number, point in enumerate(POINTS) if point <= self.trainer.progress]
        if passed:
            self._draw(passed[-1])

    def _draw(self, point: int) -> None:
        if point in self.settled:  # no look at the disk in every step
            return
        self.settled.add(point)
        try:
            images = self._images()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            log.warning("strip.png: out of memory at %.0f %%, no images of it", 100 * self.trainer.progress)
            return
        except InputError as error:  # samples that are not finite, early in a training
            log.warning("strip.png: no images at %.0f %%: %s", 100 * self.trainer.progress, error)
            return
        with files.written_whole(self._file(point)) as part, part.open("wb") as file:
            np.savez(file, images=images, seen=self.trainer.images_seen)

    def _images(self) -> np.ndarray:
        """uint16 (COLUMNS, C, *spatial)."""
        trainer = self.trainer
        model = copy.deepcopy(trainer.model)
        model.load_state_dict(trainer.averages.now, strict=False)
        if model.keeps_guide:
            model.guide = copy.deepcopy(model)
            model.guide.load_state_dict(trainer.averages.early or trainer.averages.now, strict=False)
        model.eval()
        devices = [trainer.device] if trainer.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            return generate(model, trainer.spec.conditions, self.rows, trainer.settings.model.sampler, self.masks)

    def _file(self, point: int) -> Path:
        return self.folder / f"strip_{point}.npz"

    def finish(self, path: Path) -> None:
        """Write the strip as a picture, whole or not at all, and remove its files.

        The end has its row wherever training ended.
        """
        self._draw(len(POINTS) - 1)
        made = [file for number in range(len(POINTS)) if (file := self._file(number)).exists()]
        read = [np.load(file, allow_pickle=False) for file in made]
        rows = {int(each["seen"]): each["images"] for each in read}
        picture(path, self.captions, rows, disclaimer(self.simulated))
        for file in made:
            file.unlink()


def picture(path: Path, captions: Sequence[str], rows: dict[int, np.ndarray], about: str) -> None:
    """Rows of images over time, each column one seed and condition.

    Args:
        captions: what each column was asked for.
        rows: images seen in training → uint16 (n, C, *spatial).
        about: disclaimer, for the file's header.
    """
    width = len(captions) * (TILE + GAP)
    sheet, draw = new_sheet(
        width, 20 + len(rows) * (TILE + GAP + TITLE_HEIGHT), "The same samples over the training", GENERATED
    )
    y = 3 * MARGIN
    for place, caption in enumerate(captions):
        draw.text((MARGIN + place * (TILE + GAP), y), str(caption)[:20], INK, font(12))
    y += 20
    for seen, images in rows.items():
        draw.text((MARGIN, y), f"{seen:,} images seen", INK, font(15))
        row_of(sheet, y + TITLE_HEIGHT, images, SYNTHETIC, MARK)
        y += TITLE_HEIGHT + TILE + GAP
    with files.written_whole(path) as part:
        marked_png(sheet, part, about)
