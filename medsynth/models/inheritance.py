"""Beginning from another model's weights: what matches is taken, what does not is said."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import nn

from medsynth.errors import InputError

log = logging.getLogger(__name__)
SHOWN = 8


@torch.no_grad()
def inherit(child: nn.Module, parent: nn.Module, counterparts: Mapping[str, str]) -> list[str]:
    """Copy every parameter whose counterpart in the parent has the same name and shape.

    Buffers stay the child's own: they describe its data.

    Args:
        counterparts: path of a submodule of the child → path of the parent's submodule that it begins from.
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
        else:
            left.append(name)
    if not taken:
        raise InputError(f"initial: none of {len(left)} tensors is in both models, nothing to begin from")
    shown = ", ".join(left[:SHOWN]) + (", ..." if len(left) > SHOWN else "")
    log.info("initial: began with %d of %d tensors; new are %s", taken, taken + len(left), shown or "none")
    return left
