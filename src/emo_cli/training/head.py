"""How a talking head moves: nods and turns with the voice, blinks in quiet moments, brows on accents, gaze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_cli.chart.whitening import PROFILE, SPACING
from emo_cli.family import SPEED_UNIT
from emo_cli.training.articulation import smooth
from emo_cli.training.gaze import Gaze, gaze

LOUDNESS_RATE = 100
"""Loudness values per second."""
MELODY_RATE = 50
"""Rows of melody per second."""
BLINK_RATE = 25.0
"""Frames per second of PROFILE and SPACING."""


@dataclass(frozen=True)
class HeadMotion:
    """What moves besides the mouth, one row per video frame.

    Attributes:
        pose: (frames, 3) float32, degrees of yaw (to the picture's right), pitch (down) and roll, around the photo's.
        lids: (frames,) float32, 0 open to 1 closed.
        blink_onsets: (frames,) bool, true in the first frame of each blink.
        brows: (frames,) float32, -0.3 drawn down to 1 raised.
        smile: (frames,) float32, 0 to 1.
        gaze: where the eyes look.
    """

    pose: np.ndarray
    lids: np.ndarray
    blink_onsets: np.ndarray
    brows: np.ndarray
    smile: np.ndarray
    gaze: Gaze


def head_motion(
    loudness: np.ndarray, fps: float, style: float, random: np.random.Generator, melody: np.ndarray | None = None
) -> HeadMotion:
    """Invent head motion for one utterance.

    Args:
        loudness: (times,) at 100 Hz, at least one value; about 0 in silence and 1 in loud vowels.
        fps: video frames per second.
        style: how lively the head is; motion and its speed are proportional to it. 0.35 calm, 1 usual, 1.4 lively.
        random: the same state gives the same motion.
        melody: (rows, 2) at 50 Hz as Melody tells it; None for a voice without one.
    """
    voice = _Voice.listen(np.asarray(loudness, dtype=np.float64), melody, fps)
    pose = style * _pose(voice, fps, random)
    onsets = _blink_onsets(voice, fps, random)
    # Brows go up with the voice more often than with its loudness (Cave et al. 1996).
    raised = 0.9 * random.uniform(0.4, 1.0) * voice.accent + 0.25 * voice.arousal + 0.9 * np.maximum(voice.rise, 0)
    brows = np.clip(raised + _drift(len(pose), 0.12, 1.5, fps, random), -0.3, 1)
    smile = np.clip(random.uniform(0.2, 0.6) * voice.arousal + _drift(len(pose), 0.06, 2.0, fps, random), 0, 1)
    turned, brow, cheek = (np.asarray(values, np.float32) for values in (pose, brows, smile))
    looks = gaze(voice.level, onsets, fps, random)
    return HeadMotion(turned, lids(onsets, fps), onsets, brow, cheek, looks)


def lids(onsets: np.ndarray, fps: float) -> np.ndarray:
    """Lid closure (frames,), 0..1, of blinks that begin in the frames marked in `onsets` (frames,)."""
    frames = np.arange(len(onsets)) * BLINK_RATE / fps
    closed = np.zeros(len(onsets))
    for start in np.flatnonzero(onsets) * BLINK_RATE / fps:
        steps = np.arange(-1, len(PROFILE) + 1)
        closed = np.maximum(closed, np.interp(frames - start, steps, (0.0, *PROFILE, 0.0)))
    return closed.astype(np.float32)


def speed(pose: np.ndarray) -> np.ndarray:
    """Return the head's speed (3,) per axis for a pose (frames, 3) in degrees at 25 fps; 1 is 0.3 degrees per frame."""
    if len(pose) < 2:
        return np.zeros(3, dtype=np.float32)
    mean_step: np.ndarray = np.abs(np.diff(pose, axis=0)).mean(0)
    return (mean_step / SPEED_UNIT).astype(np.float32)


@dataclass(frozen=True)
class _Voice:
    """What the head hears, per video frame: activity 0..1, accent 0..about 1, nod and lift as signed pulses.

    arousal: 0..1, how much louder, higher and livelier the last seconds are than usual: energy and a high, wide pitch
    are the main signs of aroused feeling in a voice (Scherer 2003), and such speech comes with raised brows, smiles and
    more head motion. rise: octaves of the voice above its usual pitch, 0 where there is no telling.
    """

    level: np.ndarray
    activity: np.ndarray
    arousal: np.ndarray
    accent: np.ndarray
    nod: np.ndarray
    lift: np.ndarray
    rise: np.ndarray

    @staticmethod
    def listen(loudness: np.ndarray, melody: np.ndarray | None, fps: float) -> _Voice:
        count = max(1, int(np.ceil(len(loudness) * fps / LOUDNESS_RATE - 1e-6)))
        times = (np.arange(count) + 0.5) / fps
        level = np.interp(
            times, (np.arange(len(loudness)) + 0.5) / LOUDNESS_RATE, smooth(loudness, 0.05 * LOUDNESS_RATE)
        )
        activity = np.clip(smooth(level, 0.4 * fps) / 0.5, 0, 1)
        spread = smooth(np.abs(level - smooth(level, 0.5 * fps)), 0.8 * fps)
        rise = np.zeros(count) if melody is None else _rise(melody, times, 0.08)
        height = np.zeros(count) if melody is None else _rise(melody, times, 0.8)
        range_of_pitch = smooth(np.abs(rise - height), 0.8 * fps)
        livelier = 1.6 * smooth(level, 0.8 * fps) + 1.5 * spread + 1.2 * height + 1.5 * range_of_pitch
        arousal = np.clip(livelier - 0.6, 0, 1)
        swell = fps * _growth(smooth(level, 0.06 * fps))  # per second: syllables that grow loud
        accent = np.clip(smooth(swell, 0.10 * fps) / 3, 0, 1.2)
        # A beat goes down with the accent and swings back: a narrow pulse minus a wide one drifts nowhere.
        nod = smooth(swell, 0.17 * fps) - smooth(swell, 0.5 * fps)
        return _Voice(level, activity, arousal, accent, nod, _phrase_starts(level, fps), rise)


def _pose(voice: _Voice, fps: float, random: np.random.Generator) -> np.ndarray:
    count = len(voice.level)
    lively = voice.activity * (0.8 + 0.5 * voice.arousal)
    yaw = _drift(count, 4.4, 1.7, fps, random) + lively * _drift(count, 1.8, 0.7, fps, random)
    roll = _drift(count, 2.1, 2.0, fps, random) + lively * _drift(count, 0.9, 0.8, fps, random)
    strength = random.uniform(0.8, 1.2)
    # The chin follows the voice up: pitch alone tells more of the head's motion than loudness (Munhall et al. 2004).
    chin = 3.0 * voice.lift + 4.0 * (voice.rise - smooth(voice.rise, 1.5 * fps))
    pitch = _drift(count, 2.2, 1.6, fps, random) + strength * (1.8 * voice.nod - chin)
    pitch = pitch + _breath(voice, fps, random)
    return np.stack([yaw, pitch, roll], 1)


def _rise(melody: np.ndarray, times: np.ndarray, seconds: float) -> np.ndarray:
    """Octaves above the usual pitch (times,), smoothed over where the voice has one; 0 where it rests."""
    told, sure = (smooth(column.astype(np.float64), seconds * MELODY_RATE) for column in melody.T)
    return np.interp(times, (np.arange(len(sure)) + 0.5) / MELODY_RATE, told / (sure + 0.2))


def _phrase_starts(level: np.ndarray, fps: float) -> np.ndarray:
    """How far the chin is up (frames,), about -0.3..0.7: up as a phrase begins, below rest as it ends."""
    talking = smooth((level > 0.25).astype(np.float64), 0.15 * fps)
    seconds = np.arange(int(6 * fps)) / fps
    fall = np.exp(-seconds / 0.8) - np.exp(-seconds / 2.4) / 3  # as much below rest as above
    return smooth(np.convolve(_growth(talking), fall)[: len(level)], 0.12 * fps)


def _breath(voice: _Voice, fps: float, random: np.random.Generator) -> np.ndarray:
    """Degrees (frames,) of the sway of breathing: 12 to 20 breaths a minute at rest, hardly seen while one talks."""
    phase = 2 * np.pi * (random.uniform(0.2, 0.33) * np.arange(len(voice.level)) / fps + random.random())
    return -0.3 * np.sin(phase) * (1 - 0.6 * voice.activity)


def _phrase_ends(level: np.ndarray, fps: float) -> np.ndarray:
    """Frames in which talk falls silent for at least 0.3 seconds."""
    talking = smooth((level > 0.2).astype(np.float64), 0.04 * fps) > 0.5
    quiet = round(0.3 * fps)
    stops = np.flatnonzero(talking[:-1] & ~talking[1:]) + 1
    return np.array([stop for stop in stops if not talking[stop : stop + quiet].any()], dtype=int)


def _growth(values: np.ndarray) -> np.ndarray:
    """How much more each value is than the one before, 0 where it is less."""
    return np.maximum(np.diff(values, prepend=values[:1]), 0)


def _drift(count: int, spread: float, memory: float, fps: float, random: np.random.Generator) -> np.ndarray:
    """A smoothed Ornstein-Uhlenbeck walk (count,) of standard deviation `spread` that forgets in `memory` seconds."""
    keep = np.exp(-1 / (memory * fps))
    margin = int(fps)  # so that smoothing sees real values at both ends
    kicks = random.normal(size=count + 2 * margin)
    walk = np.empty_like(kicks)
    value = kicks[0]
    for step, kick in enumerate(kicks):
        value = keep * value + np.sqrt(1 - keep**2) * kick
        walk[step] = value
    return spread * smooth(walk, 0.2 * fps)[margin : margin + count]


def _blink_onsets(voice: _Voice, fps: float, random: np.random.Generator) -> np.ndarray:
    """Choose where blinks begin: gamma-spaced, mean 3.6 s, most of them moved to where the voice rests nearby.

    The end of a phrase within a second draws a blink to itself (Nakano & Kitazawa 2010).
    """
    ends = _phrase_ends(voice.level, fps)
    onsets = np.zeros(len(voice.level), dtype=bool)
    spacing = int(np.ceil(SPACING * fps / BLINK_RATE))
    last = len(onsets) - int(np.ceil(len(PROFILE) * fps / BLINK_RATE))  # whole blinks only
    due, previous = random.uniform(0.3, 3.0), -spacing
    while due * fps <= last:
        onset = round(due * fps)
        if random.random() < 0.6:
            first = max(onset - round(0.5 * fps), 0)
            near = ends[np.abs(ends - onset) <= fps]
            quietest = first + int(np.argmin(voice.level[first : min(onset + round(0.5 * fps), last) + 1]))
            onset = int(random.choice(near)) + int(random.integers(0, 5)) if len(near) else quietest
        if previous + spacing <= onset <= last:
            onsets[onset] = True
            previous = onset
        due += random.gamma(3.0, 1.2)
    return onsets
