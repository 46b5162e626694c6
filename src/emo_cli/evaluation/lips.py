"""Whether the mouth moves as the sound says: agreement, lateness, and lips that meet for /p b m/."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from emo_cli.sound.encoders import PHONES, ROWS_PER_SECOND, MiniHearing
from emo_cli.sound.loudness import levelled
from emo_cli.speech import Sound

MOST_LAG = 15  # frames; SyncNet looks as far
CLOSED = 0.035  # of the distance of the outer eye corners, about 3 mm: the mesh sees closed lips at 0.00 to 0.03
STILL = 0.004  # a mouth whose opening varies less than this does not move
UNSURE = 0.15  # below this correlation the best lag says nothing
_AROUND_CLOSURE, _AROUND_OPENING = 0.08, 0.4  # seconds
OPEN_VOWELS = ("a", "ah", "e", "o")  # of PHONES


@dataclass(frozen=True)
class HeardMouth:
    """What a sound says about the mouth, 50 rows per second.

    opening (rows,): about 0..1, how far the lips should be apart; labial, vowel (rows,): whether /p b m/ or an open
    vowel is heard.
    """

    opening: np.ndarray
    labial: np.ndarray
    vowel: np.ndarray


@dataclass(frozen=True)
class LipAgreement:
    """agreement, peak: correlation -1..1 without and at the best lag; offset: frames by which the lips are late, None
    if no lag is better than another; closures_met, closed_in_vowels: shares 0..1, None if nothing of the kind is heard.
    """

    agreement: float
    peak: float
    offset: float | None
    closures_met: float | None
    closed_in_vowels: float | None


def hear(sound: Sound, encoder: MiniHearing) -> HeardMouth:
    """Ask mini's sound encoder what the mouth does."""
    with torch.inference_mode():
        heard = encoder.heads(encoder.rows(levelled(sound.samples))[None])
    phones = heard.phones[0].argmax(-1).numpy()
    vowels = [PHONES.index(name) for name in OPEN_VOWELS]
    return HeardMouth(heard.opening[0].float().numpy(), phones == PHONES.index("p"), np.isin(phones, vowels))


def agreement(opening: np.ndarray, heard: HeardMouth, fps: float, sound_delay: float = 0.0) -> LipAgreement:
    """Compare the opening of each frame (frames,) with what is heard.

    sound_delay: seconds by which the file lets the sound begin after the pictures.
    """
    seen = _filled(opening)
    rows = (np.arange(len(heard.opening)) + 0.5) / ROWS_PER_SECOND + sound_delay
    said = np.interp((np.arange(len(seen)) + 0.5) / fps, rows, heard.opening) if len(rows) else np.zeros(len(seen))
    by_lag = correlations(seen, said)
    middle = len(by_lag) // 2
    best = int(np.argmax(by_lag))
    offset = _summit(by_lag, best) - middle if by_lag[best] >= UNSURE else None
    met = _closures_met(opening, heard.labial, rows, fps)
    closed = _closed_share(opening, heard.vowel, rows, fps)
    return LipAgreement(float(by_lag[middle]), float(by_lag[best]), offset, met, closed)


def correlations(seen: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Correlation (31,) of two curves (frames,) at lags of -15..15 frames, `seen` late at the last; 0 where a curve
    does not move."""
    found = []
    for lag in range(-MOST_LAG, MOST_LAG + 1):
        one, other = (seen[lag:], said[: len(said) - lag]) if lag >= 0 else (seen[:lag], said[-lag:])
        moves = len(one) > 2 and one.std() > STILL and other.std() > STILL
        found.append(float(np.corrcoef(one, other)[0, 1]) if moves else 0.0)
    return np.array(found)


def _summit(values: np.ndarray, best: int) -> float:
    """Where the highest value would be between the lags: the top of the parabola through it and its neighbours."""
    if not 0 < best < len(values) - 1:
        return float(best)
    before, top, after = values[best - 1 : best + 2]
    bend = before - 2 * top + after
    return best + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def _filled(opening: np.ndarray) -> np.ndarray:
    """Gaps filled along straight lines."""
    known = np.isfinite(opening)
    if not known.any():
        return np.zeros(len(opening))
    return np.interp(np.arange(len(opening)), np.flatnonzero(known), opening[known])


def _closures_met(opening: np.ndarray, labial: np.ndarray, rows: np.ndarray, fps: float) -> float | None:
    """Share of the heard labials for which the lips meet; they must be apart before or after, or they do not close."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labial, [0]]).astype(int))).reshape(-1, 2)
    met = []
    for start, stop in edges:
        near = _between(opening, rows[start] - _AROUND_CLOSURE, rows[stop - 1] + _AROUND_CLOSURE, fps)
        wider = _between(opening, rows[start] - _AROUND_OPENING, rows[stop - 1] + _AROUND_OPENING, fps)
        if len(near):
            met.append(bool(near.min() < CLOSED <= wider.max()))
    return float(np.mean(met)) if met else None


def _between(opening: np.ndarray, start: float, stop: float, fps: float) -> np.ndarray:
    """The openings that are known of the frames that a stretch of time touches."""
    part = opening[max(0, int(np.floor(start * fps))) : max(0, int(np.floor(stop * fps)) + 1)]
    return part[np.isfinite(part)]


def _closed_share(opening: np.ndarray, vowel: np.ndarray, rows: np.ndarray, fps: float) -> float | None:
    """Share of the frames in the midst of open vowels whose lips are closed all the same."""
    inside = vowel & np.roll(vowel, 1) & np.roll(vowel, -1)
    frames = np.unique(np.floor(rows[inside] * fps).astype(int))
    values = opening[frames[(frames >= 0) & (frames < len(opening))]]
    values = values[np.isfinite(values)]
    return float((values < CLOSED).mean()) if len(values) else None
