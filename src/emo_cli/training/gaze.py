"""Where a talking person looks: at the viewer, from point to point of the face, and briefly aside while thinking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPACING = 0.3
"""Least seconds from one saccade to the next."""
FARTHEST = 9.0
"""Degrees: people turn the head for anything farther aside."""
_TALKING = 0.3  # of the loudness of vowels: below this the voice rests
_STAY, _GLANCE = 1.1, 0.55  # mean seconds beyond the least, of a look at the viewer and of one aside
_ASIDE_TALKING, _ASIDE_RESTING = 0.22, 0.5  # chance that the next look from the viewer goes aside
_RETURN = 0.8  # chance that the next look from aside goes back to the viewer
_VIEWER = 0.45  # degrees of standard deviation: from eye to eye and mouth of a face some steps away
_NEAREST, _REACH = 1.2, 2.1  # degrees of a look aside: the least, and the mean beyond it
_FLATTENED = 0.6  # looks go less far up and down than to the sides


@dataclass(frozen=True)
class Gaze:
    """Where the eyes look, one row per video frame.

    Attributes:
        saccades: (frames,) bool, true in the frame in which the eyes set out for another place.
        fixations: (frames, 2) float32, that place from then on: degrees of yaw (to the picture's right) and pitch
            (down) from where the photo's eyes look, as the room sees it, whatever the head does.
    """

    saccades: np.ndarray
    fixations: np.ndarray


def gaze(level: np.ndarray, blinks: np.ndarray, fps: float, random: np.random.Generator) -> Gaze:
    """Invent where somebody looks who says this.

    Fixations of about 0.3 to 3 s; most are on the viewer, and more than half of those aside come while the voice rests:
    people look away to think and back when they have something to say (Kendon 1967; Glenberg et al. 1998). Aside, gaze
    goes an exponentially distributed way (Lee, Badler & Badler 2002), here a shorter one than theirs, as larger shifts
    come with the head. A blink nearby draws a saccade to itself (Evinger et al. 1994).

    Args:
        level: (frames,) loudness, about 0 in silence and 1 in loud vowels; blinks: (frames,) bool, their onsets.
    """
    count = len(level)
    saccades, fixations = np.zeros(count, dtype=bool), np.zeros((count, 2), np.float32)
    starts, away, previous = np.flatnonzero(blinks), False, -SPACING * fps
    due = random.uniform(0.1, 1.5)
    while (frame := round(due * fps)) < count:
        near = starts[np.abs(starts - frame) <= 0.4 * fps]
        if len(near) and random.random() < 0.7:
            frame = int(near[0])
        if frame >= previous + SPACING * fps:
            away = _goes_aside(away, bool(level[frame] > _TALKING), random)
            saccades[frame], previous = True, frame
            fixations[frame:] = _aside(random) if away else random.normal(size=2) * _VIEWER * (1, _FLATTENED)
        due = max(due, frame / fps) + SPACING + random.gamma(2.0, (_GLANCE if away else _STAY) / 2)
    return Gaze(saccades, fixations)


def _goes_aside(away: bool, talking: bool, random: np.random.Generator) -> bool:
    if away:
        return bool(random.random() > _RETURN)
    return bool(random.random() < (_ASIDE_TALKING if talking else _ASIDE_RESTING))


def _aside(random: np.random.Generator) -> np.ndarray:
    """A place (2,) beside the viewer, degrees of yaw and pitch, in any direction."""
    reach = min(_NEAREST + random.exponential(_REACH), FARTHEST)
    angle = random.uniform(0, 2 * np.pi)
    return reach * np.array([np.cos(angle), _FLATTENED * np.sin(angle)])
