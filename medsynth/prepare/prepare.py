"""The step `prepare`: a table of images, or a phantom, becomes a store. Each file is read and decoded once."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from medsynth.artifacts import store
from medsynth.artifacts.store import StoreInfo
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import SPLITS, PhantomSource, PrepareSettings, TableSource
from medsynth.config.evaluation import FEWEST_OF_A_CLASS, FEWEST_SUBJECTS
from medsynth.disk import files, tables
from medsynth.errors import InputError
from medsynth.images.intensity import CONTAINER_BITS
from medsynth.images.modalities import MODALITIES
from medsynth.prepare import duplicates
from medsynth.prepare.bits import bits_used
from medsynth.prepare.sources import Prepared, open_phantom, open_table
from medsynth.prepare.table import Rejection, Sample, refuse_too_many, split_samples, strata

log = logging.getLogger(__name__)

CHUNK = 16  # images handed to a worker at once


def prepare(settings: PrepareSettings, out: Path, threads: int = 1) -> StoreInfo:
    """Write a store, whole or not at all.

    Rows that cannot be used are listed in the store's quarantine.csv. If there are too many of them, or too few rows
    remain, no store is written and the list is left beside it as `<out>.quarantine.csv`.

    Args:
        out: the store's folder; an existing one is replaced.
        threads: worker processes; 1 works in this process.
    Raises:
        InputError: the source cannot be used, or the store cannot be written.
    """
    left_behind = out.with_name(f"{out.name}.quarantine.csv")
    rejected: list[Rejection] = []
    try:
        with files.folder_written_whole(out) as folder:
            info = _write_store(settings, folder, threads, rejected)
        left_behind.unlink(missing_ok=True)
    except InputError as error:
        if not rejected:
            raise
        with files.written_whole(left_behind) as part:
            _write_quarantine(part, rejected)
        raise InputError(f"{error}; all {len(rejected)} rows that cannot be used: {left_behind}") from None
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}), nothing is left of it") from None
    return info


def _write_store(settings: PrepareSettings, folder: Path, threads: int, rejected: list[Rejection]) -> StoreInfo:
    """Fill the store's folder; `rejected` is filled on the way, for the caller to show if this fails."""
    source = settings.source
    if isinstance(source, PhantomSource):
        intake = open_phantom(settings, source)
    else:
        intake = open_table(settings, source, rejected)
    shape = (MODALITIES[settings.modality].channels, *settings.size)

    kept: list[dict[str, str]] = []
    used: list[Sample] = []
    first_with: dict[bytes, Sample] = {}
    twins: list[tuple[Sample, Sample]] = []
    labels: set[int] = set()
    largest: list[int] = []
    decoloured = 0
    raw_images, raw_masks = folder / "images.raw", folder / "masks.raw"
    with ExitStack() as stack:
        images = stack.enter_context(raw_images.open("wb"))
        masks = stack.enter_context(raw_masks.open("wb")) if intake.has_masks else None
        results = _in_order(intake.prepare_one, intake.samples, intake.preload, threads)
        for result in tqdm(results, f"prepare {settings.dataset}", len(intake.samples), unit="image", mininterval=0.5):
            if isinstance(result, Rejection):
                rejected.append(result)
                continue
            if result.largest is not None:
                largest.append(result.largest)
            sample = result.sample
            # Compared as a model would see them: the same picture saved as two files is still one picture.
            content = hashlib.sha256(result.pixels.data).digest()
            if twin := first_with.get(content):
                reason = f"the same pixels as row {twin.source_row} ({twin.image})"
                rejected.append(Rejection(sample.source_row, sample.image, "image", sample.image, reason))
                twins.append((twin, sample))
                continue
            first_with[content] = sample
            used.append(sample)
            decoloured += result.decoloured
            kept.append(result.to_cells(split=""))
            images.write(result.pixels.data)
            if masks is not None and result.mask is not None:
                masks.write(result.mask.data)
                labels.update(np.unique(result.mask).tolist())
    stated = source.bits_stored if isinstance(source, TableSource) else None
    bits = stated if stated and largest else bits_used(largest, settings.dataset)
    if bits != stated and bits and bits < CONTAINER_BITS:
        rejected.clear()
        again = settings.model_copy(update={"source": source.model_copy(update={"bits_stored": bits})})
        return _write_store(again, folder, threads, rejected)
    if decoloured:
        log.info("%s: the tint or colour of %d images was left out", settings.dataset, decoloured)
    assert len(kept) + len(rejected) == intake.rows
    found = duplicates.NONE
    if isinstance(source, TableSource) and used:
        found = duplicates.find(store.open_rows(raw_images, shape, np.uint16), used, twins, source, settings.label)
    found.write(folder / "duplicates.csv")
    rejected.extend(found.rejected)
    rejected.sort(key=lambda rejection: rejection.source_row)
    refuse_too_many(rejected, intake.rows, intake.max_bad_fraction)

    out = {rejection.source_row for rejection in found.rejected}
    places = [place for place, sample in enumerate(used) if sample.source_row not in out]
    whose = [found.subjects.get(sample.subject_id, sample.subject_id) for sample in used]
    joined = [replace(used[place], subject_id=whose[place]) for place in places]
    split_of = split_samples(joined, strata(settings), settings.split, settings.seed)
    for cells, subject in zip(kept, whose, strict=True):
        cells["subject_id"], cells["split"] = subject, split_of.get(subject, "")
    order = np.array(sorted(places, key=lambda place: SPLITS.index(kept[place]["split"])))
    store.write_in_order(folder / "images.npy", raw_images, shape, np.uint16, order)
    if intake.has_masks:
        store.write_in_order(folder / "masks.npy", raw_masks, settings.size, np.uint8, order)
    tables.write_rows(folder / "samples.csv", list(kept[0]), (kept[row] for row in order))
    usable = [kept[place] for place in places]
    _tell_of_few_subjects(settings.dataset, usable)
    _tell_of_rare_classes(settings, usable)
    split_rows = ({"subject_id": subject, "split": split} for subject, split in sorted(split_of.items()))
    tables.write_rows(folder / "split.csv", ("subject_id", "split"), split_rows)
    _write_quarantine(folder / "quarantine.csv", rejected)

    structures = intake.structures
    if structures is None:
        structures = {f"structure_{n}": n for n in sorted(labels - {0})}
    if not structures and ConditionSchema(settings.conditions, len(settings.size)).needs_mask:
        raise InputError(f"{settings.dataset}: no mask shows a structure, a condition of kind mask needs one")
    info = StoreInfo(
        version=store.VERSION,
        dataset=settings.dataset,
        modality=settings.modality,
        simulated=isinstance(source, PhantomSource),
        size=settings.size,
        channels=shape[0],
        conditions=settings.conditions,
        label=settings.label,
        strata=settings.strata,
        structures=structures,
        rows_in=intake.rows,
        rows_out=len(order),
        rows_quarantined=len(rejected),
        windowed=isinstance(source, TableSource) and source.intensity == "windowed",
        bits_stored=bits,
        decoloured=decoloured,
        duplicates=len(found.pairs),
        duplicate_limit=found.limit,
        subjects_joined=sum(subject != whole for subject, whole in found.subjects.items()),
        digest="",
    )
    info = info.model_copy(update={"digest": store.digest(folder, info)})
    (folder / "store.json").write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return info


def _tell_of_few_subjects(dataset: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Warn of what will not be judged, before a model is trained."""
    lost = {
        "val": "no field can be found readable, and the sampler is tuned by training images",
        "test": "KID, FID, density and coverage are not measured",
    }
    for split, what in lost.items():
        count = len({cells["subject_id"] for cells in rows if cells["split"] == split})
        if count < FEWEST_SUBJECTS:
            log.warning(
                "%s: %d subjects in %s, fewer than %d: %s; a larger split.%s mends it, or more patients",
                *(dataset, count, split, FEWEST_SUBJECTS, what, split),
            )


def _tell_of_rare_classes(settings: PrepareSettings, rows: Sequence[Mapping[str, str]]) -> None:
    """Warn of classes that cannot be drawn or cannot be checked, before a model is trained."""
    label = ConditionSchema(settings.conditions, len(settings.size)).of_column[settings.label]
    shown = Counter((cells["split"], cells[settings.label]) for cells in rows)
    values = label.choices(settings.label)
    if unseen := [f"{settings.label} {value}" for value in values if not shown["train", value]]:
        log.warning(
            "%s: no training image of %s: a plan that asks for it is refused when sampling begins",
            settings.dataset,
            ", ".join(unseen),
        )
    of_validation = {value: shown["val", value] for value in values if shown["train", value]}
    if few := [f"{value} ({n})" for value, n in of_validation.items() if n < FEWEST_OF_A_CLASS]:
        log.warning(
            "%s: fewer than %d validation images of %s %s: no sample of it can be rejected as misread; a larger "
            "split.val mends it",
            settings.dataset,
            FEWEST_OF_A_CLASS,
            settings.label,
            ", ".join(few),
        )


def _write_quarantine(path: Path, rejected: Sequence[Rejection]) -> None:
    columns = [field.name for field in fields(Rejection)]
    tables.write_rows(path, columns, (asdict(rejection) for rejection in rejected))


def _in_order(
    work: Callable[[Sample], Prepared | Rejection], samples: Sequence[Sample], preload: Sequence[str], threads: int
) -> Iterator[Prepared | Rejection]:
    """Results in the order of the samples; few wait in memory, however many there are."""
    if threads == 1:
        yield from map(work, samples)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medsynth.prepare.sources", *preload])  # imported once, not once in each worker
    pool = ProcessPoolExecutor(threads, context, _end_with_parent)
    waiting: deque[Future[list[Prepared | Rejection]]] = deque()
    try:
        for start in range(0, len(samples), CHUNK):
            waiting.append(pool.submit(_work_through, work, samples[start : start + CHUNK]))
            if len(waiting) > 4 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise InputError(
            "prepare: a worker process was killed, most likely for want of memory; give the step more, or fewer threads"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: do not outlive a step that was killed. A worker waits for work on a pipe that itself keeps open."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _work_through(
    work: Callable[[Sample], Prepared | Rejection], samples: Sequence[Sample]
) -> list[Prepared | Rejection]:
    return [work(sample) for sample in samples]
