"""Beginning from another model's weights: what matches is taken, what does not is said."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from medsynth.errors import InputError

log = logging.getLogger(__name__)
SHOWN = 8


@dataclass(frozen=True)
class Channels:
    """Channels of a weight along one axis that mean the same in two models.

    Attributes:
        axis: 0 for what a layer gives, 1 for what it takes.
        own: channels of the child; other: of the parent, one for each.
    """

    axis: int
    own: Sequence[int]
    other: Sequence[int]


NO_CHANNELS: Mapping[str, Channels] = {}


@torch.no_grad()
def inherit(
    child: nn.Module,
    parent: nn.Module,
    role: str,
    counterparts: Mapping[str, str],
    channels: Mapping[str, Channels] = NO_CHANNELS,
) -> list[str]:
    """Copy every parameter whose counterpart in the parent has the same name and shape.

    Buffers stay the child's own: they describe its data.

    Args:
        role: of the parent, for what is said.
        counterparts: path of a submodule of the child → path of the parent's submodule that it begins from.
        channels: parameter of the child → its channels that the parent has too. Where a parameter has another shape,
            these are copied, and the others begin at zero: what a parent did not know of changes nothing at first.
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
        elif found is not None and name in channels and _take(parameter, found, channels[name]):
            taken += 1
        else:
            left.append(name)
    if not taken:
        raise InputError(f"{role}: none of {len(left)} tensors is in both models, nothing to begin from")
    shown = ", ".join(left[:SHOWN]) + (", ..." if len(left) > SHOWN else "")
    log.info("%s: began with %d of %d tensors; new are %s", role, taken, taken + len(left), shown or "none")
    return left


def _take(own: torch.Tensor, other: torch.Tensor, channels: Channels) -> bool:
    """Copy the channels that two parameters share; False where they differ in more than the axis of these."""
    axis = channels.axis
    if own.shape[:axis] + own.shape[axis + 1 :] != other.shape[:axis] + other.shape[axis + 1 :]:
        return False
    places, source = (torch.tensor(each, device=own.device) for each in (channels.own, channels.other))
    own.zero_().index_copy_(axis, places, other.to(own).index_select(axis, source))
    return True
