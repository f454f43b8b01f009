"""The processes of one training, as torchrun or srun starts and stops them; alone, every operation is a no-op."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

log = logging.getLogger(__name__)

PORTS = range(20_000, 30_000)  # for jobs to meet at; below those that Linux hands out by itself


@dataclass(frozen=True)
class Processes:
    """Rank and world size of this process in its training.

    Attributes:
        rank: from 0; rank 0 writes and reports.
        count: world size, the number of processes that share each batch.
    """

    rank: int = 0
    count: int = 1

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """All-reduce: replace each tensor by its sum over all processes, in one message.

        The tensors are dense, and of one layout in all processes.
        """
        if self.count > 1 and tensors:
            # In the order of memory: `flatten` would turn channels_last around, which takes longer than the message.
            lines = [tensor.as_strided((tensor.numel(),), (1,)) for tensor in tensors]
            message = torch.cat(lines)
            distributed.all_reduce(message)
            torch._foreach_copy_(lines, message.split([len(line) for line in lines]))

    def agree(self, value: float, device: torch.device) -> float:
        """Broadcast rank 0's value, so that no decision differs between processes by clock or rounding."""
        if self.count > 1:
            shared = torch.tensor(value, dtype=torch.float64, device=device)
            distributed.broadcast(shared, 0)
            return float(shared)
        return value

    def least(self, value: int, device: torch.device) -> int:
        """Minimum over all processes."""
        if self.count > 1:
            shared = torch.tensor(value, device=device)
            distributed.all_reduce(shared, distributed.ReduceOp.MIN)
            return int(shared)
        return value


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the other processes if torchrun or srun started this one, and leave them at the end."""
    _follow_srun()
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Processes()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def _follow_srun() -> None:
    """Set torchrun's environment variables from those of srun, if srun started this process as one of several.

    srun is called in a job's own script, on the node where rank 0 is.
    """
    place = os.environ
    if int(place.get("SLURM_STEP_NUM_TASKS", 1)) > 1 and "WORLD_SIZE" not in place:
        place["RANK"], place["WORLD_SIZE"] = place["SLURM_PROCID"], place["SLURM_STEP_NUM_TASKS"]
        place["LOCAL_WORLD_SIZE"] = str(len(place["SLURM_GTIDS"].split(",")))  # the step's tasks on this node
        place["MASTER_ADDR"] = place["SLURM_LAUNCH_NODE_IPADDR"]
        place["MASTER_PORT"] = str(PORTS.start + int(place["SLURM_JOB_ID"]) % len(PORTS))


class StopSignal:
    """Records SIGTERM, or Ctrl-C, as a request to stop while a block runs, so that a checkpoint is left.

    SIGTERM comes of a time limit or of a cancelled job. Ctrl-C after either stops at once. A signal that was ignored
    before, as Ctrl-C is in a background job, stays so.

    Attributes:
        received: the name of the signal; empty before it comes.
    """

    def __init__(self) -> None:
        self.received = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        log.warning("%s: stopping after this step", self.received)
