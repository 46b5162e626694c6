"""Several training processes on one machine, each on a core of its own, that average what they learn."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch.multiprocessing.spawn import spawn

LOOPBACK = {"linux": "lo", "darwin": "lo0"}


def run_together(count: int, work: Callable[..., object], *arguments: Any) -> None:
    """Call work(*arguments) in `count` processes of one group; `work` and its arguments must survive pickling.

    Small networks gain nothing from many threads, so every process uses one.
    """
    with tempfile.TemporaryDirectory(prefix="emo-train-") as folder:
        spawn(_member, args=(count, Path(folder) / "meeting", work, arguments), nprocs=count)


def _member(rank: int, count: int, meeting: Path, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    # The processes share a machine; without this, gloo asks the network for the machine's own name.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK.get(sys.platform, ""))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        work(*arguments)
    finally:
        distributed.destroy_process_group()


def first() -> bool:
    """Whether this process is the one that writes and reports."""
    return not distributed.is_initialized() or distributed.get_rank() == 0
