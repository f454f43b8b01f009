"""What the contract tests train on, and how: stores of each kind of condition, the settings of each family."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from medsynth import config
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.config.training import Augmentation
from medsynth.models.augmentation import augment
from medsynth.models.contract import Batch
from medsynth.train.batches import Examples
from medsynth.train.loop import train
from medsynth.train.trainer import Trainer
from tests.conditions.toys import FIELDS, STRUCTURES, toy

CPU = torch.device("cpu")
SPLIT = {"train": 32, "val": 8, "test": 1}
MODALITY = {2: "chest_xray", 3: "ct_volume"}
BATCH = 8
DRAWS = 4
UNTOUCHED = Augmentation(probability=0)


@dataclass(frozen=True)
class Example:
    """How a family is trained in these tests.

    Attributes:
        settings: its section of the configuration; `parents` are named by their family.
        steps: of training.
        left: share of the held-out loss before training that may be left after it.
        side: pixels or voxels a side.
    """

    settings: dict[str, Any]
    steps: int
    left: float
    training: dict[str, Any] = field(default_factory=dict)
    side: int = 8


EXAMPLES = {
    "diffusion": Example(
        {
            "family": "diffusion",
            "codec": {"kind": "identity"},
            "p_mean": 0.5,
            "stages": [{"channels": [8]}, {"channels": [8]}],
            "sampler": {"family": "diffusion", "steps": [3, 2], "sigma_max": [4], "autoguidance": 3},
        },
        steps=60,
        left=0.95,
        training={"learning_rate": 1e-2},
    ),
    "consistency": Example(
        {"family": "consistency", "parents": {"teacher": "diffusion"}, "steps": [4, 3]},
        steps=30,
        left=0.95,
        training={"learning_rate": 2e-3, "warmup": 0},
    ),
    "stylegan": Example(
        {
            "family": "stylegan",
            "channels": [16, 8],
            "latent_dim": 16,
            "progressive_growing": 0.3,
            "discriminator_augmentation": "adaptive",
        },
        steps=40,
        left=0.95,
        training={"learning_rate": 2e-2},
        side=16,
    ),
    "vae": Example(
        {"family": "vae", "channels": [8, 16], "latent_channels": 4, "prior_channels": 16, "prior_blocks": 1},
        steps=60,
        left=0.995,  # it begins as the best linear model, and bits count down to grey levels
        training={"learning_rate": 5e-3},
        side=16,
    ),
    "vaegan": Example(
        {
            "family": "vaegan",
            "channels": [8, 16],
            "latent_channels": 4,
            "prior_channels": 16,
            "prior_blocks": 1,
            "discriminator_channels": [8],
        },
        steps=60,
        left=0.995,
        training={"learning_rate": 5e-3},
        side=16,
    ),
    "latent_diffusion": Example(
        {
            "family": "latent_diffusion",
            "parents": {"autoencoder": "vae"},
            "stages": [{"channels": [8]}],
            "p_mean": 0.5,
            "sampler": {"family": "latent_diffusion", "steps": [3], "autoguidance": 3},
        },
        steps=60,
        left=0.95,
        training={"learning_rate": 1e-2},
        side=16,
    ),
}


def settings_of(family: str, **changes: Any) -> config.TrainSettings:
    """Settings for training on a toy store, with those of its parents."""
    example = EXAMPLES[family]
    training = {"images": example.steps * BATCH, "effective_batch_size": BATCH, "batch_size": BATCH}
    training |= {"validate_every": 10**6, **example.training}
    model = {"training": training, **example.settings, **changes}
    parents = {role: settings_of(parent).model for role, parent in model.get("parents", {}).items()}
    return config.TrainSettings(seed=3, model=model, parents=parents)


def toy_store(kind: str, dims: int, side: int = 8, channels: int = 1) -> Store:
    """A store whose images are asked for by one condition `x`."""
    images, samples, masks = toy(kind, sum(SPLIT.values()), dims, side, seed=dims)
    ids = [str(row) for row in range(len(images))]
    splits = [name for name, count in SPLIT.items() for _ in range(count)]
    samples = samples.assign(source_row=ids, image=ids, subject_id=ids, split=splits, affine="")
    masked = kind == "mask"
    label = "x" if "x" in samples else "split"  # lesions and masks have no column of their own that could be one
    info = StoreInfo(
        version=2,
        dataset="d",
        modality=MODALITY[dims],
        simulated=False,
        size=images.shape[2:],
        channels=channels,
        conditions={"x": FIELDS[kind].model_dump()},
        label=label,
        structures=STRUCTURES if masked else {},
        rows_in=len(images),
        rows_out=len(images),
        rows_quarantined=0,
        digest=f"{kind}, {dims}D, {images.shape}, {channels} channels",
    )
    return Store(info, images.repeat(channels, 1), masks if masked else None, samples)


class Trained:
    """A model trained on a toy store, killed two steps before the end, and gone on with.

    Attributes:
        unbroken: the training that nobody killed, at its end; before, after: how well it does on its images.
        broken: the checkpoint of the one that was killed.
        weights: what that one left when it was started again.
    """

    def __init__(self, family: str, store: Store, folder: Path, parents: dict[str, Path]) -> None:
        self.example, self.store, self.parents = EXAMPLES[family], store, parents
        self.settings = settings_of(family)
        self.weights, self.broken = folder / "model.safetensors", folder / "broken.safetensors"
        self.unbroken = trainer = Trainer(self.settings, store, CPU, parents=parents)
        self.before = self.measured()
        for step in range(self.example.steps):
            if step == self.example.steps - 2:
                trainer.save(self.broken)
            trainer.advance()
        trainer.validate()
        self.after = self.measured()
        (folder / "checkpoints").mkdir()
        shutil.copy(self.broken, folder / "checkpoints" / "last.safetensors")
        train(self.settings, store, folder, parents)

    @torch.no_grad()
    def measured(self) -> float:
        """The score of the averaged weights, or the sum of the losses where there is none, over several draws."""
        model, batch = self.unbroken.model, replace(self.batch("train"), progress=1.0)
        torch.manual_seed(0)
        with self.unbroken.averages.in_place():
            found = [model.score(batch) for _ in range(DRAWS)]
            if None in found:
                found = [sum(model.loss(batch, phase.name).values()) for phase in model.phases for _ in range(DRAWS)]
        return float(torch.stack(found).mean())

    def batch(self, split: str, augmentation: Augmentation = UNTOUCHED) -> Batch:
        """All images of a split."""
        whole = Examples(self.store.split(split), CPU).gather(range(SPLIT[split]))
        return augment(whole, self.unbroken.spec.conditions, augmentation, ())
