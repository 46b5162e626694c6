"""The loop every stage of training runs in: steps, averaged weights, log lines, checkpoints that continue exactly."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
from torch import Tensor, nn

from emo_cli.errors import InputError

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    rate rises over `warmup` steps, then falls as a cosine to `floor` of itself at `steps`. minutes, if given, stops the
    run early with a checkpoint; it can be continued.
    """

    steps: int
    rate: float
    warmup: int = 40
    floor: float = 0.05
    average: float = 0.998
    decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    log_every: int = 50
    checkpoint_minutes: float = 10.0
    minutes: float | None = None

    def rate_at(self, step: int) -> float:
        """Learning rate of step 0, 1, ..."""
        fall = 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1)))
        return self.rate * min(1, (step + 1) / self.warmup) * (self.floor + (1 - self.floor) * fall)


@dataclass(frozen=True)
class Randomness:
    """All chance of one process: material is chosen with numpy, noise is drawn with torch."""

    choice: np.random.Generator
    noise: torch.Generator

    @staticmethod
    def seeded(seed: int) -> Randomness:
        """The same seed gives the same run; every process needs its own."""
        return Randomness(np.random.default_rng(seed), torch.Generator().manual_seed(seed))

    def state(self) -> dict[str, Any]:
        return {"choice": json.dumps(self.choice.bit_generator.state), "noise": self.noise.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.choice.bit_generator.state = json.loads(state["choice"])
        self.noise.set_state(state["noise"])


class Averaged:
    """Exponential moving average of a network's weights: what is released."""

    def __init__(self, network: nn.Module, most: float) -> None:
        self.most = most
        self.weights = {name: value.detach().clone() for name, value in network.named_parameters()}

    def update(self, network: nn.Module, step: int) -> None:
        keep = min(self.most, (step + 1) / (step + 21))
        for name, value in network.named_parameters():
            self.weights[name].lerp_(value.detach(), 1 - keep)

    def copy_to(self, network: nn.Module) -> None:
        own = dict(network.named_parameters())
        for name, value in self.weights.items():
            own[name].data.copy_(value)


@torch.no_grad()
def take_over(network: nn.Module, earlier: nn.Module) -> None:
    """Begin with an earlier network's weights; what has grown since, or is new, begins at zero and changes nothing."""
    weights = dict(earlier.named_parameters())
    for name, value in network.named_parameters():
        value.zero_()
        if name in weights:
            old = weights[name]
            value[tuple(slice(size) for size in old.shape)] = old


Step = Callable[[Randomness], dict[str, Tensor]]
"""One step's losses by name; "total" is what is minimised."""


def run(
    network: nn.Module,
    learning: Iterable[nn.Parameter],
    step: Step,
    schedule: Schedule,
    folder: Path,
    seed: int,
    report: Callable[[str], None],
    watch: Callable[[nn.Module], dict[str, float]] | None = None,
) -> bool:
    """Train until `schedule` ends, continuing from `folder` if it holds a checkpoint.

    At the end the network carries the averaged weights. Several processes of one group average their gradients and
    write through the first. `watch` measures the averaged network at each checkpoint. Returns whether all steps are
    done (False when the minutes ran out first).
    """
    folder.mkdir(parents=True, exist_ok=True)
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    parameters = list(learning)
    optimiser = torch.optim.AdamW(parameters, schedule.rate, betas=schedule.betas, weight_decay=schedule.decay)
    average, randomness = Averaged(network, schedule.average), Randomness.seeded(seed + rank)
    done = _resume(folder, rank, network, optimiser, average, randomness)
    began = saved = time.monotonic()
    sums: dict[str, float] = {}
    while done < schedule.steps:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(done)
        losses = step(randomness)
        optimiser.zero_grad()
        losses["total"].backward()
        share_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        average.update(network, done)
        done += 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if done % schedule.log_every == 0 and rank == 0:
            means = {name: round(value / schedule.log_every, 5) for name, value in sums.items()}
            line = {"step": done, "minutes": round((time.monotonic() - began) / 60, 2), **means}
            _log(folder, line, report)
        if done % schedule.log_every == 0:
            sums = {}
        now = time.monotonic()
        out_of_time = _agreed(schedule.minutes is not None and (now - began) / 60 > schedule.minutes)
        if _agreed(now - saved > 60 * schedule.checkpoint_minutes) or out_of_time or done == schedule.steps:
            _save(folder, rank, done, network, optimiser, average, randomness)
            saved = now
            if watch is not None and rank == 0:
                _log(folder, {"step": done, **_measured(network, average, watch)}, report)
        if out_of_time:
            break
    average.copy_to(network)
    return done >= schedule.steps


def take_result(network: nn.Module, folder: Path) -> None:
    """Give a network the averaged weights of the run in `folder`, finished or not."""
    average = Averaged(network, 0.0)
    if _resume(folder, 0, network, None, average, Randomness.seeded(0)) == 0:
        raise InputError(f"There is no checkpoint in {folder}. Run that stage first.")
    average.copy_to(network)


def share_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over the processes of the group; nothing to do for one process."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _agreed(wish: bool) -> bool:
    """True if the first process wishes so: clocks of processes differ, decisions must not."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return wish
    flag = torch.tensor([float(wish)])
    distributed.broadcast(flag, src=0)
    return bool(flag.item())


def _measured(
    network: nn.Module, average: Averaged, watch: Callable[[nn.Module], dict[str, float]]
) -> dict[str, float]:
    current = {name: value.detach().clone() for name, value in network.named_parameters()}
    average.copy_to(network)
    try:
        return watch(network)
    finally:
        for name, value in network.named_parameters():
            value.data.copy_(current[name])


def _log(folder: Path, line: dict[str, Any], report: Callable[[str], None]) -> None:
    with (folder / LOG).open("a") as file:
        file.write(json.dumps(line) + "\n")
    report("  ".join(f"{name} {value}" for name, value in line.items()))


def _save(
    folder: Path, rank: int, done: int, network: nn.Module, optimiser: torch.optim.Optimizer, average: Averaged,
    randomness: Randomness,
) -> None:  # fmt: skip
    """Write the whole state under its final name only when complete; the other processes keep just their chance."""
    state: dict[str, Any] = {"step": done, "randomness": randomness.state()}
    if rank == 0:
        state |= {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "average": average.weights,
        }
    target = folder / (CHECKPOINT if rank == 0 else f"checkpoint-{rank}.pt")
    partial = target.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, target)


def _resume(
    folder: Path, rank: int, network: nn.Module, optimiser: torch.optim.Optimizer | None, average: Averaged,
    randomness: Randomness,
) -> int:  # fmt: skip
    if not (folder / CHECKPOINT).exists():
        return 0
    try:
        state = torch.load(folder / CHECKPOINT, weights_only=True)
        network.load_state_dict(state["network"])
        if optimiser is not None:
            optimiser.load_state_dict(state["optimiser"])
        average.weights = {name: value.clone() for name, value in state["average"].items()}
    except (RuntimeError, KeyError, ValueError, EOFError) as problem:
        raise InputError(f"{folder / CHECKPOINT} does not continue this run. Give another --out folder.") from problem
    own = folder / f"checkpoint-{rank}.pt"
    if rank == 0:
        randomness.restore(state["randomness"])
    elif own.exists():
        randomness.restore(torch.load(own, weights_only=True)["randomness"])
    return int(state["step"])
