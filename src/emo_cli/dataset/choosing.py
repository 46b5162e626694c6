"""From a stretch of video with one face to a clip that is wanted, or the reason why it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emo_cli.dataset.agreement import Agreement, agreement
from emo_cli.dataset.camera import changing, wandering
from emo_cli.dataset.limits import Limits
from emo_cli.dataset.manifest import DroppedClip, Track, TrainingClip
from emo_cli.dataset.survey import Gap, Stretch, box_of
from emo_cli.face.pose import poses, rotation_speed
from emo_cli.sound.encoders import MiniHearing
from emo_cli.sound.loudness import loudness

_FROM_TOP = 0.45  # where the middle of the faces stands in the square
_SMALLEST = 0.5  # side of the square in the source, in sides of the clip
_LOSABLE = 0.02  # of the box's size that may lie outside of the picture
_QUIETEST = -55.0  # dB of full scale

Sounding = Callable[[float, float], np.ndarray | None]
"""Start and length in seconds -> waveform float32 (samples,) at 16 kHz of that part, None without a sound track."""


@dataclass(frozen=True)
class Chosen:
    """A clip that is wanted as far as the first pass can tell: its row and its track."""

    clip: TrainingClip
    track: Track


@dataclass(frozen=True)
class _Refused(Exception):
    reason: str
    detail: str


def choose(
    stretch: Stretch, name: str, source: str, limits: Limits, sounding: Sounding, hearing: MiniHearing
) -> Chosen | DroppedClip:
    """Measure a stretch, cheap things first, and take it or say why not."""
    try:
        return _chosen(stretch, name, source, limits, sounding, hearing)
    except _Refused as refused:
        start, stop = stretch.first / limits.fps, (stretch.first + len(stretch.points)) / limits.fps
        return DroppedClip(source, round(start, 3), round(stop, 3), refused.reason, refused.detail)


def dropped_gap(gap: Gap, source: str, limits: Limits) -> DroppedClip:
    """The row of frames without a single face."""
    start, stop = gap.first / limits.fps, gap.stop / limits.fps
    detail = f"{stop - start:.1f} s with {'no face' if gap.reason == 'no face' else 'more than one face'}."
    return DroppedClip(source, round(start, 3), round(stop, 3), gap.reason, detail)


def _chosen(
    stretch: Stretch, name: str, source: str, limits: Limits, sounding: Sounding, hearing: MiniHearing
) -> Chosen:
    frames = len(stretch.points)
    seconds = frames / limits.fps
    if frames < limits.fewest:
        raise _Refused("short", f"It lasts {seconds:.1f} s, a clip at least {limits.shortest:g} s.")
    crop = _crop(stretch, limits)
    wander, change = wandering(stretch.drifts), changing(stretch.drifts)
    if wander > limits.camera:
        raise _Refused("camera", f"The picture wanders by {wander:.1%} of its width.")
    if change > limits.background:
        raise _Refused("background", f"Behind the head {change:.1%} of full scale change from frame to frame.")
    loudness, agreed = _heard(stretch, limits, sounding, hearing)
    track = _track(stretch.points, crop, limits.size)
    clip = TrainingClip(
        name, source, round(stretch.first / limits.fps, 6), frames, limits.fps, limits.size, _three(crop, 1),
        round(loudness, 2), _three(track.pose[:, :3].mean(0), 2), _three(track.speed.mean(0), 4), round(change, 5),
        round(agreed.correlation, 4), agreed.lag,
    )  # fmt: skip
    return Chosen(clip, track)


def _crop(stretch: Stretch, limits: Limits) -> np.ndarray:
    """The square x, y, side around all faces of a stretch, in pixels of the source, inside the picture."""
    boxes = box_of(stretch.points)
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    size = float((high - low).max())
    whole = np.array([stretch.width, stretch.height])
    if (low < -_LOSABLE * size).any() or (high > whole + _LOSABLE * size).any():
        raise _Refused("cut off", "The face leaves the picture.")
    side = min(limits.room * size, stretch.width, stretch.height)
    if side < _SMALLEST * limits.size:
        raise _Refused("small", f"The square around the face has {side:.0f} pixels, the clip {limits.size}.")
    if size > side:
        raise _Refused("cut off", "The face wanders over more than one square of the picture.")
    middle = (low + high) / 2
    corner = np.clip(middle - side * np.array([0.5, _FROM_TOP]), 0, whole - side)
    return np.round(np.array([*corner, side]), 1)


def _heard(
    stretch: Stretch, limits: Limits, sounding: Sounding, hearing: MiniHearing
) -> tuple[float, Agreement]:
    """Loudness in dB of full scale, and how well lips and sound agree."""
    waveform = sounding(stretch.first / limits.fps, len(stretch.points) / limits.fps)
    if waveform is None:
        raise _Refused("silent", "The video has no sound track.")
    loud = loudness(waveform) if len(waveform) else -math.inf
    if loud < _QUIETEST:
        raise _Refused("silent", f"The sound is quieter than {_QUIETEST:g} dB of full scale.")
    agreed = agreement(stretch.points, waveform, limits.fps, hearing)
    off = abs(agreed.lag) / limits.fps
    if agreed.correlation < limits.agreement:
        raise _Refused("disagrees", f"Mouth and sound correlate by {agreed.correlation:.2f} at most.")
    if off > limits.lag + 1e-6:
        raise _Refused("disagrees", f"The sound fits the mouth best when it is shifted by {off:.2f} s.")
    return loud, agreed


def _track(points: np.ndarray, crop: np.ndarray, size: int) -> Track:
    """A face in pixels of the clip."""
    scale = size / crop[2]
    placed = (points - np.array([crop[0], crop[1], 0.0])) * scale
    held = poses(placed)
    return Track(*(part.astype(np.float32) for part in (box_of(placed), placed, held, rotation_speed(held[:, :3]))))


def _three(values: np.ndarray, digits: int) -> tuple[float, float, float]:
    one, two, three = (round(float(value), digits) for value in values)
    return one, two, three
