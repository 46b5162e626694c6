"""How lips, jaw and tongue move while given sounds are spoken: the curves a talking mouth is taught from.

Every sound has a target posture and a dominance that rises before the sound and decays after it; the curve
is the dominance-weighted mean of the targets (Cohen & Massaro 1993, "Modeling coarticulation in synthetic
visual speech"). So a weak sound (k, t) takes the mouth shape of its neighbours and a strong one (p, f) keeps
its own, as Öhman (1966) and Recasens (degrees of articulatory constraint) describe.

Pauses: between phrases a speaker holds an "inter-speech posture", lips parted and jaw a little open (Gick,
Wilson, Koch & Cook 2004; Ramanarayanan et al. 2013), so a short pause is NOT a closed mouth. Only a long
pause, and the time before the first and after the last word, returns to rest with closed lips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_cli.face.pose import steadied
from emo_cli.sound.encoders import CURVES as CURVES
from emo_cli.training.phones import PHONES, VOWELS, Phone

RATE = 100

# jaw: by vowel height, open 0.85, mid about 0.48, close 0.2-0.32; rounding adds lip protrusion and takes some
#   jaw (Lindblom & Sundberg 1971). Consonants by the jaw heights of Mooshammer, Hoole & Geumann 2007: s and sh
#   highest, then t, th, n, then l; k follows its vowels.
# wide, round, funnel: lip spreading (i > e > a) and rounding (u > o), open rounding being "funnel" (Abry & Boë 1986).
# lower, upper: lips drawn off the teeth. Sibilants need a jet between parted front teeth with the lips out of its
#   way, so s and sh show teeth although the jaw is high.
# close, labiodental, press: only p, b, m and f, v make contact; their timing is separate, see `_contact`.
_TARGETS: dict[str, dict[str, float]] = {
    "sil": {"jaw": 0.28, "lower": 0.14, "wide": 0.05},
    "a": {"jaw": 0.85, "wide": 0.25, "lower": 0.35, "upper": 0.25},
    "ah": {"jaw": 0.48, "wide": 0.15, "lower": 0.22, "upper": 0.10},
    "e": {"jaw": 0.50, "wide": 0.50, "lower": 0.40, "upper": 0.25},
    "i": {"jaw": 0.32, "wide": 0.75, "lower": 0.45, "upper": 0.30, "tongue": 0.3},
    "o": {"jaw": 0.48, "round": 0.48, "funnel": 0.60},
    "u": {"jaw": 0.24, "round": 0.85, "funnel": 0.45},
    "y": {"jaw": 0.22, "round": 0.75, "funnel": 0.50, "tongue": 0.3},
    "er": {"jaw": 0.35, "round": 0.20, "funnel": 0.30},
    "p": {"jaw": 0.14, "close": 1.0, "press": 0.5},
    "f": {"jaw": 0.14, "labiodental": 1.0, "upper": 0.25},
    "w": {"jaw": 0.20, "round": 0.90, "funnel": 0.35},
    "r": {"jaw": 0.28, "round": 0.25, "funnel": 0.45},
    "s": {"jaw": 0.18, "wide": 0.38, "lower": 0.60, "upper": 0.30, "tongue": 0.3},
    "t": {"jaw": 0.24, "wide": 0.25, "lower": 0.42, "upper": 0.20, "tongue": 0.7},
    "l": {"jaw": 0.32, "wide": 0.20, "lower": 0.32, "tongue": 0.9},
    "th": {"jaw": 0.24, "wide": 0.15, "lower": 0.32, "tongue": 1.0},
    "sh": {"jaw": 0.22, "funnel": 0.75, "round": 0.30, "lower": 0.42, "upper": 0.35},
    "k": {"jaw": 0.38, "wide": 0.10, "lower": 0.28, "upper": 0.10},
    "n": {"jaw": 0.24, "wide": 0.20, "lower": 0.32, "tongue": 0.7},
}
_STRENGTH = {
    "sil": 0.3, "p": 1.6, "f": 1.3, "w": 1.3, "sh": 1.1, "s": 0.9, "er": 0.8, "r": 0.7, "th": 0.7,
    "t": 0.5, "n": 0.5, "l": 0.5, "k": 0.3,
}  # fmt: skip
_VOWEL_STRENGTH = 0.9
# Per second: a posture is half gone 29 ms after its sound. Between t and a the jaw then moves by .45 of its range (by
# .32 at 16 per second) and takes about 75 ms either way. Of 16 to 30, tried on the ten cases of teacher_on_cases.py,
# the quicker ones agree better; above 24 a weak consonant loses the rounding of its neighbours. Lip contact is quicker,
# a pause lets go slowly.
_DECAY = 24.0
_DECAYS = {"p": 30.0, "f": 28.0, "sil": 12.0}
_LONGEST_SPOKEN = 0.35  # seconds; vowels longer than this are sung
_HELD_GAIN = 0.25
_FULL_PAUSE = 0.15  # seconds until a pause has its whole strength
_LONG_PAUSE = 0.6  # seconds; shorter ones are breaths and phrase ends inside the talk
_SETTLE = 0.22  # seconds between the last sound and closed lips, and between parting lips and the first sound


@dataclass(frozen=True)
class Articulation:
    """Curves (time, 10) in the order of CURVES, about 0..1; labels (time,) index PHONES; loudness (time,) 0..1.4.

    Time runs at 100 rows per second.
    """

    curves: NDArray[np.float32]
    labels: NDArray[np.int64]
    loudness: NDArray[np.float32]


def curves(phones: Sequence[Phone], loudness: NDArray[np.float32]) -> Articulation:
    """The mouth's movement for phones in time order; `loudness` (time,) at 100 Hz sets the length."""
    time = (np.arange(len(loudness)) + 0.5) / RATE
    targets = _target_table()
    total = np.zeros((len(time), len(CURVES)))
    weight = np.full((len(time), 1), 1e-4)
    labels = np.zeros(len(time), np.int64)
    for phone in phones:
        index = PHONES.index(phone.name)
        dominance = _dominance(phone, time)[:, None]
        total += dominance * targets[index]
        weight += dominance
        labels[(time >= phone.start) & (time < phone.stop)] = index
    # 15 ms of smoothing takes the corners off: lips have mass.
    movement = smooth(total / weight, 1.5)
    movement[:, _column("close")] = np.maximum(_contact(phones, time, "p"), _rest(phones, time))
    lifted = np.maximum(movement[:, _column("labiodental")] * 0.3, _contact(phones, time, "f"))
    movement[:, _column("labiodental")] = lifted
    _apply_loudness(movement, loudness)
    movement[:, _column("jaw")] *= 1 + _HELD_GAIN * _held(phones, time)
    return Articulation(movement.astype(np.float32), labels, loudness.astype(np.float32))


def livelier(curves: NDArray[np.float32], style: float) -> NDArray[np.float32]:
    """Curves (frames, 10) as a calm (0.35), usual (1) or very lively (1.4) person would draw them: 0.9 to 1.2 times.

    People who move their heads much also open their mouths wide; contacts of the lips and rounding stay what they are.
    """
    result = curves.copy()
    for name in ("jaw", "wide", "upper", "lower"):
        result[:, _column(name)] *= 0.8 + 0.3 * style
    return result


def loudness_of(waveform: NDArray[np.float32], rate: int = 16000) -> NDArray[np.float32]:
    """Loudness (time,) at 100 Hz of a clean recording: smoothed level over its 90th percentile, 0..1.4."""
    hop = rate // RATE
    rows = waveform[: len(waveform) // hop * hop].astype(np.float64).reshape(-1, hop)
    level = smooth(np.sqrt((rows**2).mean(axis=1)), 6.0)
    reference = float(np.percentile(level, 90)) if len(level) else 0.0
    if reference < 1e-5:
        return np.zeros(len(level), np.float32)
    return np.clip(level / reference, 0.0, 1.4).astype(np.float32)


def to_frames(articulation: Articulation, fps: float) -> NDArray[np.float32]:
    """Curves (frames, 10) at a video's rate: the mean over each frame, but the maximum for `close`.

    A /p/ keeps the lips shut for about two frames at 25 fps; a mean would show parted lips instead.
    """
    rows = articulation.curves
    count = max(1, int(np.ceil(len(rows) * fps / RATE - 1e-6)))
    first = np.minimum(np.floor(np.arange(count) * RATE / fps + 1e-6).astype(int), len(rows) - 1)
    last = np.minimum(np.maximum(np.append(first[1:], len(rows)), first + 1), len(rows))
    running = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
    frames = (running[last] - running[first]) / (last - first)[:, None]
    close = rows[:, _column("close")]
    frames[:, _column("close")] = [close[a:b].max() for a, b in zip(first, last, strict=True)]
    return frames.astype(np.float32)


def smooth(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Gaussian smoothing along the first axis, `sigma` in rows; the ends are held."""
    if len(values) == 0:
        return values
    return steadied(values.reshape(len(values), -1), sigma).reshape(values.shape)


def _target_table() -> NDArray[np.float64]:
    return np.array([[_TARGETS[name].get(curve, 0.0) for curve in CURVES] for name in PHONES])


def _column(name: str) -> int:
    return CURVES.index(name)


def _dominance(phone: Phone, time: NDArray[np.float64]) -> NDArray[np.float64]:
    strength = _STRENGTH.get(phone.name, _VOWEL_STRENGTH)
    if phone.name == "sil":
        strength *= min(1.0, (phone.stop - phone.start) / _FULL_PAUSE)
    return strength * np.exp(-_DECAYS.get(phone.name, _DECAY) * _beyond(phone, time, 0.6))


def _beyond(phone: Phone, time: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Seconds that `time` lies outside the middle `share` of a phone; 0 inside."""
    middle, half = (phone.start + phone.stop) / 2, (phone.stop - phone.start) / 2
    return np.maximum(np.abs(time - middle) - share * half, 0.0)


def _contact(phones: Sequence[Phone], time: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Lip contact 0..1, not co-articulated: a labial whose lips do not meet is a different sound."""
    contact = np.zeros(len(time))
    for phone in phones:
        if phone.name == name:
            contact = np.maximum(contact, np.exp(-((_beyond(phone, time, 0.55) / 0.028) ** 2)))
    return contact


def _held(phones: Sequence[Phone], time: NDArray[np.float64]) -> NDArray[np.float64]:
    """0..1, how much a vowel is sung: it grows over half a second in vowels longer than any in speech.

    Singers open the jaw further on long notes, which lifts the first formant to the pitch (Sundberg 1975).
    """
    held = np.zeros(len(time))
    for phone in phones:
        if phone.name in VOWELS and phone.stop - phone.start > _LONGEST_SPOKEN:
            inside = np.minimum(time - phone.start - 0.1, phone.stop - time)
            held = np.maximum(held, np.clip(inside / 0.5, 0.0, 1.0))
    return held


def _rest(phones: Sequence[Phone], time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lips closed at rest, 0..0.97: in long pauses, and before the first and after the last sound."""
    rest = np.zeros(len(time))
    for start, stop in _pauses(phones):
        opens, closes = stop < float("inf"), start > -float("inf")
        if opens and closes and stop - start < _LONG_PAUSE:
            continue
        inside = np.minimum(time - start, stop - time)
        rest = np.maximum(rest, 0.97 / (1.0 + np.exp(np.clip((_SETTLE - inside) / 0.05, -30.0, 30.0))))
    return rest


def _pauses(phones: Sequence[Phone]) -> list[tuple[float, float]]:
    """Stretches without sound; the outer two have no outer edge, since rest began or lasts beyond the clip."""
    sounds = [phone for phone in phones if phone.name != "sil"]
    starts = [-float("inf")] + [phone.stop for phone in sounds]
    stops = [phone.start for phone in sounds] + [float("inf")]
    return [(start, stop) for start, stop in zip(starts, stops, strict=True) if stop > start]


def _apply_loudness(movement: NDArray[np.float64], loudness: NDArray[np.float32]) -> None:
    """Loud speech opens the mouth wider (Schulman 1989); the lips' own rounding stays."""
    factor = 0.68 + 0.37 * smooth(loudness.astype(np.float64), 10.0)
    for name in ("jaw", "wide", "upper", "lower"):
        movement[:, _column(name)] *= factor
    apart = 1.0 - movement[:, _column("close")]
    for name in ("upper", "lower"):
        movement[:, _column(name)] *= apart
