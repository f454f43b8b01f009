"""Generate the samples of a plan, shard by shard, or one of them again.

A sample's seed follows from the run's seed and the sample's id alone: batch size, shard, order and the number of
processes do not change it. Any sample can be made again alone, within `TOLERANCE`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medsynth.artifacts.shards import remove_other_shards, shard_rows, write_shard
from medsynth.artifacts.store import Store
from medsynth.artifacts.tuned import Tuned
from medsynth.config import SampleSettings, parse_json
from medsynth.config.columns import MASK_OF
from medsynth.disk import tables
from medsynth.errors import InputError
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model, refuse_other_store
from medsynth.models.generation import generate
from medsynth.sample.plan import plan

# Of the range [-1, 1]: what another batch size or device may change by rounding, for each precision of the sampler.
TOLERANCE = {"float32": 2e-3, "bfloat16": 0.1}


def sample_shard(settings: SampleSettings, store: Store, weights: Path, tuned: Path, shard: int, out: Path) -> None:
    """Generate one shard of the plan: `out` (.npy), with its rows and its record beside it.

    Args:
        tuned: sampler.json of these weights.
    Raises:
        InputError: the weights were trained on other data, the sampler was chosen for others, or no such shard.
    """
    if not 0 <= shard < settings.plan.shards:
        raise InputError(f"shard {shard}: expected 0 to {settings.plan.shards - 1}")
    model, info = load_model(weights, choose_device())
    refuse_other_store(weights, info.store, store.info)
    sampler = Tuned.read(tuned).sampler_of(info.weights_sha256, info.settings.model.family, tuned)
    rows = plan(settings, store)
    rows = rows[shard_rows(len(rows), shard, settings.plan.shards)].reset_index(drop=True)
    masks = store.masks_asked(rows)
    images = generate(model, info.store.condition_schema, rows, sampler, masks)
    rows.insert(2, "model_sha256", info.weights_sha256)
    rows.insert(3, "sampler", sampler.model_dump_json())
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
        refuse_other_store(weights, info.store, store.info)
        masks = store.masks_asked(row)
    return generate(model, info.store.condition_schema, row, sampler, masks)[0]
