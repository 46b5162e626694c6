"""Teaches the sound encoder to hear: phones, mouth curves and loudness from synthetic recordings."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from emo_cli.errors import UsageError
from emo_cli.sound_encoders import Heard, MiniHearing
from emo_cli.training.articulation import CURVES, RATE
from emo_cli.training.corpus import Utterance, load

# What a face shows first weighs most: jaw and lip closure, then rounding and lip-to-teeth contact; loudness last.
_CURVE_WEIGHTS = (2.0, 1.0, 1.5, 1.2, 2.5, 1.5, 0.7, 0.7, 0.5, 0.5, 0.7)
_CURVE_SCALE = 10.0
_WARM_UP = 50  # steps
_LOG_EVERY = 50
_SCORE_EVERY = 250


@dataclass(frozen=True)
class Plan:
    """How to train: either `minutes` of wall time or a number of `steps`; the learning rate falls over that span."""

    minutes: float | None = None
    steps: int | None = None
    batch: int = 24
    seconds: float = 3.0
    learning_rate: float = 1.5e-3
    average: float = 0.998  # decay of the averaged weights
    seed: int = 0
    checkpoint_minutes: float = 5.0
    bfloat16: bool = False  # a third faster on processors with bfloat16 instructions, slower on others

    def progress(self, step: int, elapsed: float) -> float:
        """Share 0..1 of the training that is done; `elapsed` in seconds.

        Raises UsageError unless exactly one of minutes and steps is given.
        """
        if (self.minutes is None) == (self.steps is None):
            raise UsageError("Training needs either minutes or steps; give exactly one of them.")
        share = step / self.steps if self.steps is not None else elapsed / 60.0 / float(self.minutes or 1e-9)
        return min(1.0, share)

    def rate(self, step: int, progress: float) -> float:
        """Learning rate: short warm-up, then half a cosine down to 2 %."""
        cosine = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * min(1.0, (step + 1) / _WARM_UP) * cosine


@dataclass(frozen=True)
class Batch:
    """Clips: mel (batch, time, 64) at 100 Hz; at 50 Hz labels and loudness (batch, rows), curves (batch, rows, 10)."""

    mel: torch.Tensor
    labels: torch.Tensor
    curves: torch.Tensor
    loudness: torch.Tensor


@dataclass(frozen=True)
class Score:
    """phones: share of rows heard right, 0..1; the others: correlation of heard and true curves, -1..1."""

    phones: float
    jaw: float
    wide: float
    round: float
    close: float
    labiodental: float


def train_hearing(corpus: Path, folder: Path, plan: Plan, resume: bool = True) -> MiniHearing:
    """Trains from nothing and saves the averaged weights in folder/hearing.

    Every few minutes a checkpoint (folder/checkpoint.pt) and a usable snapshot (folder/hearing-latest) are
    written; with `resume`, training goes on from the checkpoint as if it had never stopped. Losses and scores go
    to folder/log.jsonl, one JSON object a line.
    """
    torch.set_flush_denormal(True)
    plan.progress(0, 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan)
    if resume and (folder / "checkpoint.pt").exists():
        trainer.load(folder / "checkpoint.pt")
    train = load(corpus, "train")
    tests = {"validation": load(corpus, "validation"), "unseen voices": load(corpus, "unseen voices")}
    batches = {name: draw(items, 64, 3.0, np.random.default_rng(5)) for name, items in tests.items() if items}
    saved = time.monotonic()
    while trainer.progress() < 1.0:
        losses = trainer.step(train)
        last = trainer.progress() >= 1.0
        if trainer.steps % _LOG_EVERY == 0 or last:
            line: dict[str, Any] = {"step": trainer.steps, "minutes": round(trainer.elapsed / 60, 2), **losses}
            if trainer.steps % _SCORE_EVERY == 0 or last:
                line |= {name: asdict(score(trainer.average, batch)) for name, batch in batches.items()}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        if last or time.monotonic() - saved > plan.checkpoint_minutes * 60:
            trainer.save(folder / "checkpoint.pt")
            _save_model(trainer.average, folder / "hearing-latest")
            saved = time.monotonic()
    _save_model(trainer.average, folder / "hearing")
    return trainer.average


class Trainer:
    """Network, averaged network, optimiser and random states: all that a checkpoint holds."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.network, self.average = MiniHearing(), MiniHearing()
        self.average.load_state_dict(self.network.state_dict())
        self.average.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), plan.learning_rate, weight_decay=0.01)
        self.choices = np.random.default_rng(plan.seed)
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.steps = 0
        self.elapsed = 0.0

    def progress(self) -> float:
        return self.plan.progress(self.steps, self.elapsed)

    def step(self, utterances: Sequence[Utterance]) -> dict[str, float]:
        started = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate(self.steps, self.progress())
        batch = draw(utterances, self.plan.batch, self.plan.seconds, self.choices)
        network = self.network.train()
        mel = disturbed(batch.mel, self.generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plan.bfloat16):
            heard = network.heads(network.features(mel))
        phone_loss, curve_loss = losses(heard, batch)
        self.optimiser.zero_grad()
        (phone_loss + curve_loss).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        # Early on a long memory would keep the random start.
        decay = min(self.plan.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1.0 - decay)
        self.elapsed += time.monotonic() - started
        return {"phone loss": round(phone_loss.item(), 4), "curve loss": round(curve_loss.item(), 4)}

    def save(self, path: Path) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "choices": json.dumps(self.choices.bit_generator.state),
            "steps": self.steps,
            "elapsed": float(self.elapsed),
        }
        torch.save(state, path.with_suffix(".partial"))
        os.replace(path.with_suffix(".partial"), path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.choices.bit_generator.state = json.loads(state["choices"])
        self.steps, self.elapsed = state["steps"], state["elapsed"]


def draw(utterances: Sequence[Utterance], count: int, seconds: float, rng: np.random.Generator) -> Batch:
    """Random clips of equal length; every second of the corpus is equally likely."""
    ends = np.cumsum([len(item.mel) for item in utterances])
    length = round(seconds * RATE) // 2 * 2
    clips = [_clip(utterances, ends, length, rng) for _ in range(count)]
    mel, curves, labels, loudness = (
        torch.from_numpy(np.stack([clip[part] for clip in clips]).astype(np.float32)) for part in range(4)
    )
    return Batch(
        mel,
        labels[:, 1::2].long(),
        curves.unflatten(1, (-1, 2)).mean(2),
        loudness.unflatten(1, (-1, 2)).mean(2),
    )


def _clip(
    utterances: Sequence[Utterance], ends: np.ndarray[Any, Any], length: int, rng: np.random.Generator
) -> tuple[np.ndarray[Any, Any], ...]:
    """One clip (mel, curves, labels, loudness); short recordings are followed by another one."""
    parts: list[tuple[np.ndarray[Any, Any], ...]] = []
    missing = length
    while missing:
        item = utterances[int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))]
        start = int(rng.integers(0, max(1, len(item.mel) - missing + 1)))
        parts.append(
            tuple(array[start : start + missing] for array in (item.mel, item.curves, item.labels, item.loudness))
        )
        missing -= len(parts[-1][0])
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def disturbed(mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another speaker and microphone, on the normalised mel (batch, time, 64) itself.

    Frequency warp up to 14 % (vocal tract length perturbation, Jaitly & Hinton 2013), tilt, a noise floor, blur
    over frequency (pitch matters less), and masks in frequency and time (SpecAugment, Park et al. 2019).
    """
    batch, time_rows, bins = mel.shape

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, generator=generator)

    def sometimes(share: float) -> torch.Tensor:
        return torch.rand(batch, 1, 1, generator=generator) < share

    bin_axis = torch.arange(bins, dtype=torch.float32)
    position = (bin_axis * uniform(0.86, 1.14) + uniform(-1.5, 1.5)).clamp(0, bins - 1)
    lower = position.floor().long().clamp(max=bins - 2)
    share = position - lower
    index = lower.expand(batch, time_rows, bins)
    mel = mel.gather(2, index) * (1 - share) + mel.gather(2, index + 1) * share
    slope = torch.linspace(-1, 1, bins)
    colour = torch.randn(3, batch, 1, 1, generator=generator) * 0.15
    mel = mel + colour[0] * slope + colour[1] * torch.cos(math.pi * slope) + colour[2]
    hiss = uniform(-3.5, -1.3) * 2.5 + 0.3 * torch.randn(mel.shape, generator=generator)
    mel = torch.where(sometimes(0.5), torch.logaddexp(mel * 2.5, hiss) / 2.5, mel)
    blurred = F.avg_pool1d(mel, 3, 1, 1, count_include_pad=False)
    mel = torch.where(sometimes(0.4), blurred, mel)
    mean = mel.mean((1, 2), keepdim=True)
    start, width = uniform(0, bins - 8), uniform(1, 8)
    masked = sometimes(0.6) & (bin_axis >= start) & (bin_axis < start + width)
    start, width = uniform(0, time_rows - 12), uniform(2, 10)
    row_axis = torch.arange(time_rows, dtype=torch.float32)[:, None]
    masked = masked | (sometimes(0.4) & (row_axis >= start) & (row_axis < start + width))
    return torch.where(masked, mean, mel)


def losses(heard: Heard, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the phones and weighted squared error of curves and loudness."""
    phones = F.cross_entropy(heard.phones.float().flatten(0, 1), batch.labels.flatten(), label_smoothing=0.05)
    guess = torch.cat([heard.curves, heard.loudness[..., None]], -1).float()
    truth = torch.cat([batch.curves, batch.loudness[..., None]], -1)
    curves = ((guess - truth) ** 2 * torch.tensor(_CURVE_WEIGHTS)).mean() * _CURVE_SCALE
    return phones, curves


@torch.no_grad()
def score(network: MiniHearing, batch: Batch) -> Score:
    """How well a network hears clips as they are."""
    heard = network.eval().heads(network.features(batch.mel))
    right = (heard.phones.argmax(-1) == batch.labels).float().mean().item()

    def correlation(name: str) -> float:
        column = CURVES.index(name)
        pair = torch.stack([heard.curves[..., column].flatten(), batch.curves[..., column].flatten()])
        return round(float(torch.corrcoef(pair)[0, 1]), 4)

    return Score(round(right, 4), *(correlation(name) for name in ("jaw", "wide", "round", "close", "labiodental")))


def _save_model(network: MiniHearing, folder: Path) -> None:
    """Readers see the old folder or the new one, never half of one."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    network.save_pretrained(fresh)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Train the sound encoder on a speech corpus.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="faster on processors that have it")
    parser.add_argument("--fresh", action="store_true", help="ignore an earlier checkpoint")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    plan = Plan(minutes=choice.minutes, steps=choice.steps, seed=choice.seed, bfloat16=choice.bfloat16)
    train_hearing(choice.corpus, choice.out, plan, resume=not choice.fresh)


if __name__ == "__main__":
    _main()
