"""Teaches the sound encoder to hear: phones, mouth curves and loudness from synthetic recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from emo_cli.sound.encoders import Heard, MiniHearing
from emo_cli.training.articulation import CURVES, RATE
from emo_cli.training.corpus import Utterance, load
from emo_cli.training.keeping import kept_file, remembered
from emo_cli.training.loop import Randomness, Schedule, run, take_over
from emo_cli.training.sphinx import fill

# What a face shows first weighs most: jaw and lip closure, then rounding and lip-to-teeth contact; loudness last.
_CURVE_WEIGHTS = (2.0, 1.0, 1.5, 1.2, 2.5, 1.5, 0.7, 0.7, 0.5, 0.5, 0.7)
_CURVE_SCALE = 10.0


@dataclass(frozen=True)
class Batch:
    """Clips: mel (batch, time, 64) at 100 Hz; at 50 Hz labels and loudness (batch, rows), curves (batch, rows, 10).

    evidence: (batch, rows, 126), what the acoustic model said of the recordings; None for a network without one.
    """

    mel: torch.Tensor
    labels: torch.Tensor
    curves: torch.Tensor
    loudness: torch.Tensor
    evidence: torch.Tensor | None = None


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
    evidence: bool = False,
    melody: bool = False,
    earlier: MiniHearing | None = None,
) -> MiniHearing:
    """Train on `clips` clips of `seconds` per step; checkpoints, log and weights go to `folder`.

    earlier: a network to begin with, instead of from nothing. evidence: the network is also told what an acoustic model
    of real speakers thinks (needs pocketsphinx). melody: it also tells how high the voice is. bfloat16: a third faster
    on processors that have its instructions, slower on others.
    """
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)  # the first weights
    network = MiniHearing(evidence=evidence, melody=melody)
    if earlier is not None:
        take_over(network, earlier)
    if network.evidence is not None:
        fill(network.evidence)
    train = load(corpus, "train")
    told = None
    if network.evidence is not None:
        tables = (value.numpy().tobytes() for value in network.evidence.state_dict().values())
        told = remembered(kept_file(folder, "evidence", corpus, tables), lambda: judged(train, network))
    tests = {"validation": load(corpus, "validation"), "unseen voices": load(corpus, "unseen voices")}
    batches = {
        name: draw(items, 64, 3.0, np.random.default_rng(5), judged(items, network) or None)
        for name, items in tests.items()
        if items
    }

    def step(randomness: Randomness) -> dict[str, torch.Tensor]:
        batch = draw(train, clips, seconds, randomness.choice, told)
        mel = disturbed(batch.mel, randomness.noise)
        doubt = None
        if batch.evidence is not None:
            doubt = doubted(batch.evidence, randomness.noise)
            mel = hidden(mel, randomness.noise)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            heard = network.heads(network.features(mel, doubt))
        phones, curves = losses(heard, batch)
        return {"total": phones + curves, "phones": phones, "curves": curves}

    def watch(averaged: nn.Module) -> dict[str, float]:
        assert isinstance(averaged, MiniHearing)
        scores = {name: asdict(score(averaged, batch)) for name, batch in batches.items()}
        return {f"{split} {name}": value for split, values in scores.items() for name, value in values.items()}

    run(network, network.parameters(), step, schedule, folder, seed, report, watch)
    network.eval().save_pretrained(folder)
    return network


def judged(utterances: Sequence[Utterance], network: MiniHearing) -> list[torch.Tensor]:
    """What the network's acoustic model says of each recording (rows, 126) float16; nothing where it has none.

    Worked out once: it costs half as much as a step of learning on the same sound.
    """
    evidence = network.evidence
    if evidence is None:
        return []
    return [evidence(torch.from_numpy(item.mel)[None].float())[0].half() for item in utterances]


def draw(
    utterances: Sequence[Utterance],
    count: int,
    seconds: float,
    rng: np.random.Generator,
    evidence: Sequence[torch.Tensor] | None = None,
) -> Batch:
    """Random clips of equal length; every second of the corpus is equally likely. `evidence` comes from `judged`."""
    ends = np.cumsum([len(item.mel) for item in utterances])
    length = round(seconds * RATE) // 2 * 2
    clips = [_clip(utterances, ends, length, rng, evidence) for _ in range(count)]
    mel, curves, labels, loudness, *told = (
        torch.from_numpy(np.stack(parts).astype(np.float32)) for parts in zip(*clips, strict=True)
    )
    return Batch(
        mel,
        labels[:, 1::2].long(),
        curves.unflatten(1, (-1, 2)).mean(2),
        loudness.unflatten(1, (-1, 2)).mean(2),
        told[0] if told else None,
    )


def _clip(
    utterances: Sequence[Utterance],
    ends: np.ndarray,
    length: int,
    rng: np.random.Generator,
    evidence: Sequence[torch.Tensor] | None,
) -> tuple[np.ndarray, ...]:
    """One clip (mel, curves, labels, loudness, evidence if any); short recordings are followed by another one."""
    parts: list[tuple[np.ndarray, ...]] = []
    missing = length
    while missing:
        index = int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))
        item = utterances[index]
        start = int(rng.integers(0, max(1, len(item.mel) - missing + 1))) // 2 * 2
        rows = slice(start, start + missing)
        told = () if evidence is None else (evidence[index][start // 2 : (start + missing) // 2].numpy(),)
        parts.append((item.mel[rows], item.curves[rows], item.labels[rows], item.loudness[rows], *told))
        missing -= len(parts[-1][0])
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def doubted(evidence: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Evidence (batch, rows, 126) made less sure, since synthetic voices fit the tables otherwise than people do.

    Noise per row of up to 0.3, an offset per clip of 0.15, and in one clip of ten no evidence at all.
    """
    batch = len(evidence)
    level = 0.3 * torch.rand(batch, 1, 1, generator=generator)
    offset = 0.15 * torch.randn(batch, 1, evidence.shape[2], generator=generator)
    noisy = evidence + level * torch.randn(evidence.shape, generator=generator) + offset
    return noisy * (torch.rand(batch, 1, 1, generator=generator) > 0.1)


def hidden(mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Clips (batch, time, 64) of which one in three is nothing but its mean, so that the evidence is learned from too.

    What synthetic voices look like is easier to learn than what the evidence says of them, but only the latter is the
    same for people.
    """
    visible = torch.rand(len(mel), 1, 1, generator=generator) > 0.35
    return torch.where(visible, mel, mel.mean(1, keepdim=True))


def disturbed(mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another speaker and microphone, on the normalised mel (batch, time, 64) itself.

    Frequency warp by 0.78 to 1.12 (vocal tract length perturbation, Jaitly & Hinton 2013; more of it upwards, since
    people had higher formants than synthetic voices), tilt, a noise floor, blur
    over frequency (pitch matters less), and masks in frequency and time (SpecAugment, Park et al. 2019).
    """
    batch, time_rows, bins = mel.shape

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, generator=generator)

    def sometimes(share: float) -> torch.Tensor:
        return torch.rand(batch, 1, 1, generator=generator) < share

    bin_axis = torch.arange(bins, dtype=torch.float32)
    position = (bin_axis * uniform(0.78, 1.12) + uniform(-1.5, 1.5)).clamp(0, bins - 1)
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
    heard = network.heads(network.features(batch.mel, batch.evidence))
    right = (heard.phones.argmax(-1) == batch.labels).float().mean().item()

    def correlation(name: str) -> float:
        column = CURVES.index(name)
        pair = torch.stack([heard.curves[..., column].flatten(), batch.curves[..., column].flatten()])
        return round(float(torch.corrcoef(pair)[0, 1]), 4)

    return Score(round(right, 4), *(correlation(name) for name in ("jaw", "wide", "round", "close", "labiodental")))
