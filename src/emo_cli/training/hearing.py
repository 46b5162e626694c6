"""Teaches the sound encoder to hear: phones, mouth curves and loudness from synthetic recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from emo_cli.sound_encoders import Heard, MiniHearing
from emo_cli.training.articulation import CURVES, RATE
from emo_cli.training.corpus import Utterance, load
from emo_cli.training.loop import Randomness, Schedule, run

# What a face shows first weighs most: jaw and lip closure, then rounding and lip-to-teeth contact; loudness last.
_CURVE_WEIGHTS = (2.0, 1.0, 1.5, 1.2, 2.5, 1.5, 0.7, 0.7, 0.5, 0.5, 0.7)
_CURVE_SCALE = 10.0


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


def train_hearing(
    corpus: Path,
    folder: Path,
    schedule: Schedule,
    seed: int,
    report: Callable[[str], None],
    clips: int = 24,
    seconds: float = 3.0,
    bfloat16: bool = False,
) -> MiniHearing:
    """Train from nothing on `clips` clips of `seconds` per step; checkpoints, log and weights go to `folder`.

    bfloat16: a third faster on processors that have its instructions, slower on others.
    """
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)  # the first weights
    network = MiniHearing()
    train = load(corpus, "train")
    tests = {"validation": load(corpus, "validation"), "unseen voices": load(corpus, "unseen voices")}
    batches = {name: draw(items, 64, 3.0, np.random.default_rng(5)) for name, items in tests.items() if items}

    def step(randomness: Randomness) -> dict[str, torch.Tensor]:
        batch = draw(train, clips, seconds, randomness.choice)
        mel = disturbed(batch.mel, randomness.noise)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            heard = network.heads(network.features(mel))
        phones, curves = losses(heard, batch)
        return {"total": phones + curves, "phones": phones, "curves": curves}

    def watch(averaged: nn.Module) -> dict[str, float]:
        assert isinstance(averaged, MiniHearing)
        scores = {name: asdict(score(averaged, batch)) for name, batch in batches.items()}
        return {f"{split} {name}": value for split, values in scores.items() for name, value in values.items()}

    run(network, network.parameters(), step, schedule, folder, seed, report, watch)
    network.eval().save_pretrained(folder)
    return network


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
    heard = network.heads(network.features(batch.mel))
    right = (heard.phones.argmax(-1) == batch.labels).float().mean().item()

    def correlation(name: str) -> float:
        column = CURVES.index(name)
        pair = torch.stack([heard.curves[..., column].flatten(), batch.curves[..., column].flatten()])
        return round(float(torch.corrcoef(pair)[0, 1]), 4)

    return Score(round(right, 4), *(correlation(name) for name in ("jaw", "wide", "round", "close", "labiodental")))
