"""Generate the samples of a plan, shard by shard, or one of them again.

A sample's seed follows from the run's seed and the sample's id alone: batch size, shard, order and the number of
processes do not change it. Any sample can be made again alone, within `TOLERANCE`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from medsynth.artifacts.shards import remove_other_shards, shard_rows, write_shard
from medsynth.artifacts.store import Store, StoreInfo, to_stored
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import (
    Sampler,
    SampleSettings,
    parse_json,
)
from medsynth.config.columns import MASK_OF
from medsynth.disk import tables
from medsynth.errors import InputError
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model
from medsynth.models.contract import Batch, GenerativeModel
from medsynth.sample.plan import plan

log = logging.getLogger(__name__)

# Of the range [-1, 1]: what another batch size or device may change by rounding, for each precision of the sampler.
TOLERANCE = {"float32": 2e-3, "bfloat16": 0.1}


def generate(
    model: GenerativeModel,
    schema: ConditionSchema,
    rows: pd.DataFrame,
    sampler: Sampler,
    masks: np.ndarray | None = None,
) -> np.ndarray:
    """Images for the rows of a plan: uint16 (n, C, *spatial) as the store keeps them.

    Args:
        masks: (n, *spatial) that the rows ask for, if any do.
    """
    if not len(rows):
        return np.zeros((0, model.spec.channels, *model.spec.size), np.uint16)
    condition = schema.encode(rows, masks)
    seeds: Sequence[int] = [int(seed) for seed in rows["seed"]]
    batches = []
    for start in tqdm(range(0, len(rows), sampler.batch_size), desc="sample", unit="batch", mininterval=5):
        part = slice(start, start + sampler.batch_size)
        images = model.sample(Batch(condition[part]), seeds[part], sampler)
        if not torch.isfinite(images).all():
            raise InputError(
                f"{rows['sample_id'].iloc[start]} and its batch: samples are not finite, train the model anew"
            )
        batches.append(to_stored(images.float().cpu().numpy()))
    return np.concatenate(batches)


def sample_shard(settings: SampleSettings, store: Store, weights: Path, shard: int, out: Path) -> None:
    """Generate one shard of the plan: `out` (.npy), with its rows and its record beside it.

    Raises:
        InputError: the weights were trained on other data, or there is no such shard.
    """
    if not 0 <= shard < settings.plan.shards:
        raise InputError(f"shard {shard}: expected 0 to {settings.plan.shards - 1}")
    model, info = load_model(weights, choose_device())
    _refuse_other_store(weights, info.store, store)
    if settings.sampler.family != info.settings.model.family:
        got, expected = settings.sampler.family, info.settings.model.family
        raise InputError(f"{weights}: is a {expected} model, got the sampler of a {got} model")
    rows = plan(settings, store)
    rows = rows[shard_rows(len(rows), shard, settings.plan.shards)].reset_index(drop=True)
    masks = store.masks_asked(rows)
    images = generate(model, info.store.condition_schema, rows, settings.sampler, masks)
    rows.insert(2, "model_sha256", info.weights_sha256)
    rows.insert(3, "sampler", settings.sampler.model_dump_json())
    remove_other_shards(out.parent, settings.plan.shards)
    write_shard(out, images, rows, masks)


def regenerate(sample_id: str, results: Path) -> np.ndarray:
    """Make one sample again from its row and its generator, alone: uint16 (C, *spatial).

    Raises:
        InputError: no such sample, or a generator other than the one that made it.
    """
    try:
        dataset, model_name, _ = sample_id.split("-")
    except ValueError:
        raise InputError(f"sample id {sample_id!r}: expected <dataset>-<model>-<number>") from None
    shards = sorted((results / "sample" / dataset / model_name).glob("shard_*.csv"))
    for path in shards:
        rows = tables.read(path)
        if len(row := rows[rows["sample_id"] == sample_id].reset_index(drop=True)):
            break
    else:
        raise InputError(f"sample id {sample_id!r}: in none of {len(shards)} shards under {results / 'sample'}")
    weights = results / "train" / dataset / model_name / "model.safetensors"
    model, info = load_model(weights, choose_device())
    if info.weights_sha256 != row.at[0, "model_sha256"]:
        raise InputError(f"{weights}: sha256 is {info.weights_sha256[:12]}, {sample_id} was made by another generator")
    sampler = parse_json(type(info.settings.model.sampler), str(row.at[0, "sampler"]), str(path))
    masks = None
    if MASK_OF in row:
        store = Store.open(results / "prepare" / dataset)
        _refuse_other_store(weights, info.store, store)
        masks = store.masks_asked(row)
    return generate(model, info.store.condition_schema, row, sampler, masks)[0]


def _refuse_other_store(weights: Path, learned: StoreInfo, store: Store) -> None:
    if learned.digest != store.info.digest:
        raise InputError(
            f"{weights}: trained on a store with digest {learned.digest[:12]}, this one has {store.info.digest[:12]}"
        )
