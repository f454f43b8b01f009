"""Canaries: held-out images that a copy of the model learns, to see whether an audit would find what was memorised.

A training of its own with images repeated on purpose (Carlini et al. 2019, "The secret sharer") would cost as much as
the first. The copy goes on for a moment instead: each step takes every canary and as many training images, at the
highest learning rate of the training.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from medsynth.artifacts.store import Store
from medsynth.config.membership import Membership
from medsynth.config.training import Training
from medsynth.membership.scoring import batch_of
from medsynth.models.contract import GenerativeModel


def canaries_of(store: Store, rows: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One image of each of some subjects, and all images of the others.

    Args:
        rows: (n,) positions in the store.
    """
    names = store.samples["subject_id"].to_numpy(dtype=str)[rows]
    subjects = rng.permutation(np.unique(names))
    chosen = [rows[names == subject][0] for subject in subjects[:count]]
    return np.array(chosen), rows[np.isin(names, subjects[count:])]


def taught(
    model: GenerativeModel,
    store: Store,
    canaries: np.ndarray,
    training: np.ndarray,
    options: Membership,
    trained: Training,
    seed: int,
) -> GenerativeModel | None:
    """A copy of the model that has learnt some images; the model itself stays as it is. None where no loss is known.

    Args:
        canaries, training: positions in the store.
        trained: how the model itself was trained.
    """
    learner = copy.deepcopy(model).train()
    paths = dict.fromkeys(path for phase in learner.phases for path in phase.modules)
    parameters = [parameter for path in paths for parameter in learner.get_submodule(path).parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, trained.learning_rate, weight_decay=trained.weight_decay)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    for _ in range(options.repeats):
        beside = rng.choice(training, len(canaries))
        rows = rng.permutation(np.concatenate([canaries, beside]))
        for start in range(0, len(rows), options.batch_size):
            loss = learner.canary_loss(batch_of(store, rows[start : start + options.batch_size], learner.device))
            if loss is None:
                return None
            (loss.sum() / len(rows)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, trained.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return learner.eval().requires_grad_(False)
