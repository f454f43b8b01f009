"""Beginning from another model's weights: what matches is taken, what does not is said."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import nn

from medsynth.errors import InputError

log = logging.getLogger(__name__)
SHOWN = 8
NO_INPUTS: Mapping[str, int] = {}


@torch.no_grad()
def inherit(
    child: nn.Module,
    parent: nn.Module,
    role: str,
    counterparts: Mapping[str, str],
    inputs: Mapping[str, int] = NO_INPUTS,
) -> list[str]:
    """Copy every parameter whose counterpart in the parent has the same name and shape.

    Buffers stay the child's own: they describe its data.

    Args:
        role: of the parent, for what is said.
        counterparts: path of a submodule of the child → path of the parent's submodule that it begins from.
        inputs: a weight of the child → how many of its input channels, the first ones, mean the same in both. Of a
            weight of another shape these are copied, and the others begin at zero: what a parent was not told of
            changes nothing at first.
    Returns:
        The names of the parameters that were not taken, which the log names too.
    Raises:
        InputError: nothing matches.
    """
    known = dict(parent.named_parameters())
    taken, left = 0, []
    for name, parameter in child.named_parameters():
        own = next((path for path in counterparts if name.startswith(f"{path}.")), None)
        found = known.get(counterparts[own] + name.removeprefix(own)) if own else None
        if found is not None and found.shape == parameter.shape:
            parameter.copy_(found)
            taken += 1
        elif found is not None and name in inputs and _differ_by_inputs(parameter, found, inputs[name]):
            parameter.zero_()
            parameter[:, : inputs[name]].copy_(found[:, : inputs[name]])
            taken += 1
        else:
            left.append(name)
    if not taken:
        raise InputError(f"{role}: none of {len(left)} tensors is in both models, nothing to begin from")
    shown = ", ".join(left[:SHOWN]) + (", ..." if len(left) > SHOWN else "")
    log.info("%s: began with %d of %d tensors; new are %s", role, taken, taken + len(left), shown or "none")
    return left


def _differ_by_inputs(own: torch.Tensor, other: torch.Tensor, shared: int) -> bool:
    """Whether two weights (out, in, ...) have the same shape but for inputs, of which both have the shared ones."""
    same = own.shape[:1] + own.shape[2:] == other.shape[:1] + other.shape[2:]
    return same and min(own.shape[1], other.shape[1]) >= shared
