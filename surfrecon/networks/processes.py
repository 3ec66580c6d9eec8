"""Processes that learn together: one a GPU, as torchrun starts them, or this one alone."""

from __future__ import annotations

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Processes:
    """A context in which this process belongs to those that torchrun has started; alone where it hasn't.

    Attributes:
        count: of processes.
        rank: of this one, from 0.
    """

    def __init__(self):
        self.count, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))

    def __enter__(self) -> Processes:
        if self.count > 1:
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return self

    def __exit__(self, *_) -> None:
        if self.count > 1:
            distributed.destroy_process_group()

    def device(self, wanted: str) -> torch.device:
        """The device of this process: of several GPUs its own."""
        device = torch.device(wanted)
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if device.type == "cuda" and self.count > 1 else device

    def together(self, network: nn.Module) -> nn.Module:
        """A network whose gradients are means over all processes, and whose parameters are those of the first one."""
        if self.count == 1:
            return network
        device = next(network.parameters()).device
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)
