"""Train, save, load and sample the family and the loss that were added; print what became of them as JSON."""

import json
import sys
from pathlib import Path

import pandas as pd
import torch

from medsynth import config
from medsynth.artifacts.store import Store
from medsynth.artifacts.tensors import read_tensors
from medsynth.errors import InputError
from medsynth.models.checkpoint import load_model
from medsynth.models.contract import Batch
from medsynth.train.batches import Examples
from medsynth.train.loop import train
from medsynth.train.trainer import Trainer

folder = Path(sys.argv[1])
cpu, store = torch.device("cpu"), Store.open(folder / "store")
training = {"images": 320, "effective_batch_size": 8, "batch_size": 8, "learning_rate": 0.1, "warmup": 0, "decay": 0}
training |= {"validate_every": 80, "patience": 1}
settings = config.TrainSettings(seed=1, model={"family": "prototype", "training": training})
trainer = Trainer(settings, store, cpu)
critic, drawn = (parameters.weight for parameters in (trainer.model.critic, trainer.model.drawn.layer))
moved = {"critic": [], "drawn": []}
for step in range(40):
    before = critic.clone(), drawn.clone()
    trainer.advance()
    moved["critic"] += [step] * bool((critic != before[0]).any())
    moved["drawn"] += [step] * bool((drawn != before[1]).any())

train(settings, store, folder / "prototype")
model, info = load_model(folder / "prototype/model.safetensors", cpu)
tensors, _ = read_tensors(folder / "prototype/model.safetensors")
now = trainer.averages.now
asked = store.info.condition_schema.encode(pd.DataFrame({"x": ["dark", "bright"]}))
images = [model.sample(Batch(asked), seeds, settings.model.sampler) for seeds in ([1, 2], [1, 2], [3, 4])]
history = pd.read_csv(folder / "prototype/history.csv")

stages = [{"channels": [8]}]
losses = {"brightness": {"weight": 2, "below": 0.5}}
of_loss = {"family": "diffusion", "stages": stages, "losses": losses, "training": training | {"images": 16}}
chosen = config.TrainSettings(seed=1, model=of_loss)
train(chosen, store, folder / "diffusion")
with_loss = pd.read_csv(folder / "diffusion/history.csv").iloc[-1]
batch = Examples(store.split("train"), cpu).gather(range(32))
terms = Trainer(chosen, store, cpu).model.loss(batch, "stage_1")


def refusal(**more: dict) -> str:
    """Why a dataset of these conditions cannot be learnt by the family."""
    conditions = {"x": {"kind": "categorical", "values": ["a", "b"]}, **more}
    plan = {"request": {"kind": "per_class", "column": "x", "counts": {"a": 1}}}
    dataset = {"source": {"kind": "table", "table": "t.csv"}, "modality": "chest_xray", "size": [8, 8]}
    dataset |= {"label": "x", "conditions": conditions, "plan": plan}
    whole = {"datasets": {"d": dataset}, "models": {"m": {"family": "prototype"}}}
    try:
        config.parse(config.Config, whole, "c.yaml")
    except InputError as error:
        return str(error)
    return ""


report = {
    "moved": moved,
    "rates": {name: optimiser.param_groups[0]["lr"] for name, optimiser in trainer.optimisers.items()},
    "saved": {name: str(tensor.dtype) for name, tensor in tensors.items()},
    "seen": int(tensors["drawn.seen"]),
    "as_trained": all(torch.equal(tensor, now[name]) for name, tensor in tensors.items()),
    "val_loss": info.val_loss,
    "history_val_loss": history["val_loss"].dropna().tolist(),
    "images_seen": info.images_seen,
    "terms": sorted({"critic", "error", "fooled"} & set(history)),
    "means": images[0].mean((1, 2, 3)).tolist(),
    "same": torch.equal(images[0], images[1]),
    "other": bool((images[0] != images[2]).any()),
    "shape": list(images[0].shape),
    "loss": with_loss[["loss", "stage_1", "stage_1_brightness"]].to_dict(),
    "acts": int((terms["stage_1_brightness"] > 0).sum()),
    "refusals": [refusal(), refusal(y={"kind": "number", "range": [0, 1]})],
}
print(json.dumps(report))
