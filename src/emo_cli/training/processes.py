"""Several training processes, on one machine or many, that average what they learn or share a network among them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from emo_cli import device

LOOPBACK = {"linux": "lo", "darwin": "lo0"}
_BUCKET = 1 << 24
"""Gradients that are averaged at once, so that their copies take little memory."""


def run_together(count: int, work: Callable[..., object], *arguments: Any) -> None:
    """Call work(*arguments) in `count` processes of one group; `work` and its arguments must survive pickling.

    Small networks gain nothing from many threads, so every process uses one. None outlives this one's being stopped.
    """
    with tempfile.TemporaryDirectory(prefix="emo-train-") as folder:
        group = spawn(_member, args=(count, Path(folder) / "meeting", work, arguments), nprocs=count, join=False)
        assert group is not None
        try:
            while not group.join():
                pass
        finally:
            for process in group.processes:
                process.terminate()  # nothing happens to one that has ended
                process.join()


def _member(rank: int, count: int, meeting: Path, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    # The processes share a machine; without this, gloo asks the network for the machine's own name.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK.get(sys.platform, ""))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        work(*arguments)
    finally:
        distributed.destroy_process_group()


def launched() -> int:
    """Of how many processes `accelerate launch` or torchrun has made this one a part; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(place: torch.device) -> Iterator[None]:
    """Inside the block, the processes that a launcher started are one group; each computes on a device of its own."""
    if launched() == 1 or distributed.is_initialized():
        yield
        return
    if os.environ.get("MASTER_ADDR") in ("127.0.0.1", "localhost"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK.get(sys.platform, ""))
    distributed.init_process_group(device.backends(place))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def seat() -> int:
    """Which of the processes on this machine this is, and so which of its graphics cards is its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def rank() -> int:
    """Which process of the group this is, counted from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many processes learn together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that writes and reports."""
    return rank() == 0


def report_aloud(line: str) -> None:
    """Processes of their own cannot reach the caller's printer, so the first one tells on standard error."""
    if first():
        print(line, file=sys.stderr, flush=True)


def wait_for_all() -> None:
    """Return when every process of the group has come here."""
    if count() > 1:
        agreed(True)


def agreed(wish: bool) -> bool:
    """True if the first process wishes so: clocks of processes differ, decisions must not."""
    if count() == 1:
        return wish
    flag = torch.tensor([float(wish)])
    distributed.broadcast(flag, src=0)
    return bool(flag.item())


def share_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over the processes of the group; nothing to do for one process.

    Where only some processes have a gradient, the others count as zero. A network that is shared out does it itself.
    """
    whole = [p for p in parameters if not isinstance(p, DTensor)]
    if count() == 1 or not whole:
        return
    there = torch.tensor([float(p.grad is not None) for p in whole])
    distributed.all_reduce(there, op=distributed.ReduceOp.MAX)
    gradients = []
    for parameter, anywhere in zip(whole, there.tolist(), strict=True):
        if anywhere:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([g.flatten() for g in bucket])
        distributed.all_reduce(flat)
        flat /= count()
        for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients in order, some at a time."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and sum(g.numel() for g in bucket) + gradient.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def wants_sharing_out() -> bool:
    """Whether the launcher was asked for FSDP: every process keeps only its part of the weights and their averages."""
    return launched() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("true", "1")


def share_out(network: nn.Module, place: torch.device) -> None:
    """Keep only a part of the network's weights in each process; its forward() gathers them for its own time."""
    fully_shard(network, mesh=init_device_mesh(place.type, (count(),)), reshard_after_forward=False)


def is_shared_out(network: nn.Module) -> bool:
    """Whether each process keeps only a part of the network's weights."""
    return isinstance(network, FSDPModule)


@contextmanager
def whole(network: nn.Module) -> Iterator[None]:
    """Inside the block every process holds all weights, so that parts of the network can be used on their own."""
    if not isinstance(network, FSDPModule):
        yield
        return
    network.unshard()
    try:
        yield
    finally:
        network.reshard()
