"""One AdamW a phase, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medsynth.config.training import Training
from medsynth.models.contract import GenerativeModel

Optimisers = dict[str, torch.optim.Optimizer]


def optimisers_of(model: GenerativeModel, options: Training) -> Optimisers:
    """Phase → its optimiser."""
    return {
        phase.name: torch.optim.AdamW(
            [p for path in phase.modules for p in model.get_submodule(path).parameters()],
            options.learning_rate,
            phase.betas,
            weight_decay=options.weight_decay,
            fused=True,
        )
        for phase in model.phases
    }


def to_tensors(optimisers: Optimisers) -> dict[str, Tensor]:
    """<phase>.<parameter>.<what> → tensor."""
    return {
        f"{phase}.{index}.{key}": value
        for phase, optimiser in optimisers.items()
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }


def from_tensors(optimisers: Optimisers, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `to_tensors`."""
    for phase, optimiser in optimisers.items():
        parameters = optimiser.param_groups[0]["params"]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            owner, index, key = name.rsplit(".", 2)
            if owner == phase:
                # The fused optimiser reads moments in the layout of their parameter, without a check.
                like = parameters[int(index)] if tensor.ndim else tensor
                state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(tensor)
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
