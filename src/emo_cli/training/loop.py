"""The loop every stage of training runs in: steps, averaged weights, log lines, checkpoints that continue exactly."""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emo_cli import scratch
from emo_cli.errors import InputError, ModelError
from emo_cli.training import processes
from emo_cli.training.journal import Journal, Progress

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    rate rises over `warmup` steps, then falls as a cosine to `floor` of itself at `steps`. accumulate: batches whose
    gradients make one step; samples_every: steps from one look at what the network makes to the next. minutes, if
    given, stops the run early with a checkpoint; it can be continued.
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
    accumulate: int = 1
    samples_every: int | None = None

    def asked(self, steps: int | None, rate: float | None, minutes: float | None) -> Schedule:
        """This schedule with what the user asked for; None leaves a number as it is."""
        return replace(self, steps=steps or self.steps, rate=rate or self.rate, minutes=minutes)

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
    """Exponential moving average of those of a network's weights that learn: what is released."""

    def __init__(self, network: nn.Module, most: float) -> None:
        self.most = most
        self.weights = {name: value.detach().clone() for name, value in learning_of(network)}

    def update(self, network: nn.Module, step: int) -> None:
        keep = min(self.most, (step + 1) / (step + 21))
        for name, value in learning_of(network):
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


def learning_of(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The weights that are not frozen, with their names."""
    return [(name, value) for name, value in network.named_parameters() if value.requires_grad]


Step = Callable[[Randomness], dict[str, Tensor]]
"""One batch's losses by name; "total" is what is minimised."""
Samples = Callable[[int], None]
"""Shows what the averaged network makes after so many steps; every process calls it, the first one writes."""


def run(
    network: nn.Module,
    learning: Iterable[nn.Parameter],
    step: Step,
    schedule: Schedule,
    folder: Path,
    seed: int,
    report: Callable[[str], None],
    watch: Callable[[nn.Module], dict[str, float]] | None = None,
    samples: Samples | None = None,
    progress: Progress | None = None,
) -> bool:
    """Train until `schedule` ends, continuing from `folder` if it holds a checkpoint.

    At the end the network carries the averaged weights. Several processes of one group average their gradients and
    write through the first; a network that is shared out among them (processes.share_out) is written in parts. `watch`
    measures the averaged network at each checkpoint. Returns whether all steps are done (False when the minutes ran out
    first). Raises ModelError when the loss is no number, OutputError where nothing can be written.
    """
    scratch.make_folder(folder)
    rank, parameters = processes.rank(), list(learning)
    optimiser = torch.optim.AdamW(parameters, schedule.rate, betas=schedule.betas, weight_decay=schedule.decay)
    average, randomness = Averaged(network, schedule.average), Randomness.seeded(seed + rank)
    done = _resume(folder, rank, network, optimiser, average, randomness)
    journal = Journal(folder, done, schedule.log_every, report, progress) if rank == 0 else None
    began = saved = time.monotonic()
    while done < schedule.steps:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(done)
        losses = _learned(step, schedule.accumulate, optimiser, randomness)
        processes.share_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        average.update(network, done)
        done += 1
        if journal is not None:
            journal.step(done, schedule.steps, losses)
        if not math.isfinite(losses["total"]):
            raise ModelError(f"The loss is no number at step {done}. Go on from the last checkpoint at a lower rate.")
        if samples is not None and schedule.samples_every and done % schedule.samples_every == 0:
            _with_average(network, average, partial(samples, done))
        now = time.monotonic()
        out_of_time = processes.agreed(schedule.minutes is not None and (now - began) / 60 > schedule.minutes)
        due = processes.agreed(now - saved > 60 * schedule.checkpoint_minutes)
        if due or out_of_time or done == schedule.steps:
            _save(folder, rank, done, network, optimiser, average, randomness)
            saved = now
            if watch is not None and journal is not None:
                journal.line({"step": done, **_with_average(network, average, lambda: watch(network))})
        if out_of_time:
            break
    average.copy_to(network)
    return done >= schedule.steps


def _learned(
    step: Step, batches: int, optimiser: torch.optim.Optimizer, randomness: Randomness
) -> dict[str, float]:
    """Gradients of the mean over some batches; their mean losses by name."""
    optimiser.zero_grad()
    sums: dict[str, float] = {}
    for _ in range(batches):
        losses = step(randomness)
        (losses["total"] / batches).backward()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / batches
    return sums


def take_result(network: nn.Module, folder: Path) -> None:
    """Give a network the averaged weights of the run in `folder`, finished or not."""
    average = Averaged(network, 0.0)
    if _resume(folder, 0, network, None, average, Randomness.seeded(0)) == 0:
        raise InputError(f"There is no checkpoint in {folder}. Run that stage first.")
    average.copy_to(network)


def _with_average(network: nn.Module, average: Averaged, work: Callable[[], Any]) -> Any:
    """What comes of some work while the network carries the averaged weights, whole in every process."""
    current = {name: value.detach().clone() for name, value in learning_of(network)}
    average.copy_to(network)
    try:
        with processes.whole(network):
            return work()
    finally:
        for name, value in learning_of(network):
            value.data.copy_(current[name])


def _save(
    folder: Path, rank: int, done: int, network: nn.Module, optimiser: torch.optim.Optimizer, average: Averaged,
    randomness: Randomness,
) -> None:  # fmt: skip
    """Write the whole state under its final name only when complete; the other processes keep just their chance, and
    their part of a network that is shared out."""
    state: dict[str, Any] = {"step": done, "randomness": randomness.state()}
    if rank == 0 or processes.is_shared_out(network):
        state |= {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "average": average.weights,
        }
    with scratch.replaced(_checkpoint(folder, rank)) as part:
        torch.save(state, part)


def _checkpoint(folder: Path, rank: int) -> Path:
    return folder / (CHECKPOINT if rank == 0 else f"checkpoint-{rank}.pt")


def _resume(
    folder: Path, rank: int, network: nn.Module, optimiser: torch.optim.Optimizer | None, average: Averaged,
    randomness: Randomness,
) -> int:  # fmt: skip
    if not (folder / CHECKPOINT).exists():
        return 0
    own = _checkpoint(folder, rank)
    source = own if processes.is_shared_out(network) else folder / CHECKPOINT
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        if optimiser is not None:
            optimiser.load_state_dict(state["optimiser"])
        for name, value in network.named_parameters():
            if name in state["average"]:
                average.weights[name] = state["average"][name].to(value.device, copy=True)
        chance = torch.load(own, weights_only=True) if rank and own.exists() else state
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as problem:
        raise InputError(f"{source} does not continue this run. Give another --out folder.") from problem
    if rank == 0 or own.exists():
        randomness.restore(chance["randomness"])
    return int(state["step"])
