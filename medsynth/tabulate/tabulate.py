"""Make the table that every dataset begins with from collections that have none; `source` is the step's only input."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medsynth.disk import files, tables
from medsynth.errors import InputError
from medsynth.tabulate.folders import rows_of_folders
from medsynth.tabulate.frames import rows_of_frames
from medsynth.tabulate.medmnist import rows_of_archive
from medsynth.tabulate.slices import Cut, rows_of_volumes

log = logging.getLogger(__name__)

TABLE = "samples.csv"


@dataclass(frozen=True)
class Options:
    """What cannot be told from the source alone.

    Attributes:
        subject: regular expression, matched against an image's path below the folder, whose one group is the subject.
        labels: names of the classes of an archive, in the order of their numbers.
        cut: how volumes are cut; None where the source has none.
        every_frame: one frame of so many of files of several; None where a table's files have one.
    """

    subject: str | None = None
    labels: Sequence[str] = ()
    cut: Cut | None = None
    every_frame: int | None = None


def tabulate(source: Path, out: Path | None, options: Options) -> Path:
    """Write samples.csv for a source, and the images that it must be taken apart into; the path of the table.

    Args:
        source: a folder with a folder for each class, or a table of files of several frames, whose table is written
            beside them; a MedMNIST archive (.npz), or a table of volumes, both of which are unpacked into `out`.
        out: a new folder; None for a folder of images and for frames, which stay where they are.
    Raises:
        InputError: the source is none of these, or cannot be read; an output is there already.
    """
    if options.every_frame is not None and (source.is_dir() or options.cut is not None):
        raise InputError(f"--frames: {source} is no table of files with frames, or --axis is set too")
    if source.is_dir() or options.every_frame is not None:
        if out is not None:
            raise InputError(f"--out: the images of {source} stay where they are, its table is written beside them")
        target = source / TABLE if options.every_frame is None else source.with_name(f"{source.stem}_frames.csv")
        if target.exists():
            raise InputError(f"{target}: is there already; remove it, or use it as it is")
        if options.every_frame is None:
            rows = rows_of_folders(source, options.subject)
        else:
            rows = rows_of_frames(source, options.every_frame)
        with files.written_whole(target) as part:
            tables.write(part, pd.DataFrame(rows))
    else:
        if out is None:
            raise InputError("--out is missing: the images are unpacked into it")
        if out.exists():
            raise InputError(f"{out}: is there already, expected a new folder")
        with files.folder_written_whole(out) as folder:
            if source.suffix.lower() == ".npz":
                rows = rows_of_archive(source, folder, options.labels)
            elif options.cut is not None:
                rows = rows_of_volumes(source, folder, options.cut)
            else:
                raise InputError(f"{source}: expected a folder, an .npz, or a table with --axis (volumes) or --frames")
            tables.write(folder / TABLE, pd.DataFrame(rows))
        target = out / TABLE
    log.info("%s: %d images", target, len(rows))
    return target
