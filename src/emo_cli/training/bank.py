"""Ready-made material for training mini's motion: what every utterance sounds like, and how a face would move to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emo_cli.chart.glances import gaze_of
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training import articulation as speech
from emo_cli.training.corpus import Utterance
from emo_cli.training.head import head_motion, speed
from emo_cli.training.rig import Rig
from emo_cli.training.targets import expression_weights

FPS = 25.0
STYLES = (0.35, 0.7, 1.0, 1.4)
SLOWEST = 0.03
"""Least speed of a head, so that its pose can be measured in units of its size."""


@dataclass(frozen=True)
class Take:
    """One utterance acted once: all rows but the features run at 25 fps.

    features (rows at 50 Hz, width) float16, weights (frames, expressions), closure (frames,), pose (frames, 3) degrees,
    lids (frames,), onsets (frames,) of blinks, saccades (frames,) and fixations (frames, 2) of the eyes and their
    gaze (frames, 2) in degrees, speed (3,).
    """

    features: Tensor
    weights: Tensor
    closure: Tensor
    pose: Tensor
    lids: Tensor
    onsets: Tensor
    saccades: Tensor
    fixations: Tensor
    gaze: Tensor
    speed: Tensor

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class Clips:
    """A batch of clips: sound (batch, frames, tokens, width), the rest as in Take with a batch in front."""

    sound: Tensor
    weights: Tensor
    closure: Tensor
    pose: Tensor
    lids: Tensor
    onsets: Tensor
    saccades: Tensor
    fixations: Tensor
    gaze: Tensor
    speed: Tensor


def act(utterance: Utterance, hearing: MiniHearing, rig: Rig, random: np.random.Generator) -> Take:
    """Let the teacher speak an utterance with a head of its own; the sound is heard by the trained encoder."""
    mel = torch.from_numpy(utterance.mel.astype(np.float32))
    with torch.no_grad():
        features = hearing.features(mel[None])[0]
    spoken = speech.Articulation(
        utterance.curves.astype(np.float32), utterance.labels.astype(np.int64), utterance.loudness.astype(np.float32)
    )
    style = float(random.choice(STYLES))
    curves = torch.from_numpy(speech.livelier(speech.to_frames(spoken, FPS), style))
    melody = None if hearing.melody is None else features[:, hearing.inner :].numpy()
    head = head_motion(spoken.loudness, FPS, style, random, melody)
    frames = min(len(curves), len(head.pose))
    brows, smile = (torch.from_numpy(part[:frames]) for part in (head.brows, head.smile))
    weights = expression_weights(rig.names, curves[:frames], brows, smile)
    saccades, fixations = (torch.from_numpy(part[:frames]) for part in (head.gaze.saccades, head.gaze.fixations))
    return Take(
        features=features.half(),
        weights=weights,
        closure=curves[:frames, speech.CURVES.index("close")],
        pose=torch.from_numpy(head.pose[:frames]),
        lids=torch.from_numpy(head.lids[:frames]),
        onsets=torch.from_numpy(head.blink_onsets[:frames]),
        saccades=saccades,
        fixations=fixations,
        gaze=gaze_of(fixations),
        speed=torch.from_numpy(speed(head.pose)).clamp(min=SLOWEST),
    )


def act_all(utterances: Sequence[Utterance], hearing: MiniHearing, rig: Rig, seed: int) -> list[Take]:
    """One take per utterance; utterances shorter than a clip are left out by `draw`."""
    random = np.random.default_rng(seed)
    return [act(utterance, hearing, rig, random) for utterance in utterances]


def windows(features: Tensor, first: int, frames: int, tokens: int) -> Tensor:
    """Sound tokens (frames, tokens, width) of `frames` video frames at 25 fps from features (rows, width) at 50 Hz.

    Frame f sees rows 2f-4..2f+5, clamped at the ends.
    """
    rows = 2 * torch.arange(first, first + frames)[:, None] - 4 + torch.arange(tokens)
    return features[rows.clamp(0, len(features) - 1)].float()


def draw(takes: Sequence[Take], count: int, frames: int, tokens: int, random: np.random.Generator) -> Clips:
    """`count` clips of `frames` frames from random takes at random places."""
    chosen: list[tuple[Take, int]] = []
    while len(chosen) < count:
        take = takes[int(random.integers(len(takes)))]
        if len(take) >= frames:
            chosen.append((take, int(random.integers(0, len(take) - frames + 1))))
    return cut_out(chosen, frames, tokens)


def cut_out(chosen: Sequence[tuple[Take, int]], frames: int, tokens: int) -> Clips:
    """A batch of clips of `frames` frames: each a take and its first frame."""

    def cut(name: str) -> Tensor:
        return torch.stack([getattr(take, name)[first : first + frames] for take, first in chosen])

    return Clips(
        sound=torch.stack([windows(take.features, first, frames, tokens) for take, first in chosen]),
        weights=cut("weights"),
        closure=cut("closure"),
        pose=cut("pose"),
        lids=cut("lids"),
        onsets=cut("onsets"),
        saccades=cut("saccades"),
        fixations=cut("fixations"),
        gaze=cut("gaze"),
        speed=torch.stack([take.speed for take, _ in chosen]),
    )
