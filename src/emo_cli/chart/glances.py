"""Gaze of a clip as three independent normal numbers, so that plain noise already looks about like eyes.

The first says when the clip's next saccade begins, or that none does; the other two where it goes: the direction as it
is, the distance through the distribution of distances, so that most looks are near the viewer and some far aside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SPACING = 7
"""Least number of frames from one saccade to the next."""
FLATTENED = 0.6
"""Degrees of pitch that are as far as one degree of yaw."""
UNIT = 3.0
"""Degrees that the network sees as 1."""
_QUANTILES = 65
_FRAME = 40.0  # milliseconds


class GazeWhitening(nn.Module):
    """The table of gaze; buffers only, fitted by `fit`."""

    chance: Tensor
    distances: Tensor

    def __init__(self, new: int) -> None:
        super().__init__()
        self.new = new
        self.register_buffer("chance", torch.tensor(0.5))
        self.register_buffer("distances", torch.linspace(0, 6, _QUANTILES))

    def encode(self, saccades: Tensor, fixations: Tensor, generator: torch.Generator) -> Tensor:
        """Saccades (batch, new) bool and the places they go to (batch, new, 2), degrees -> white numbers (batch, 3).

        Only a clip's first saccade is kept; where there is none, the place is noise.
        """
        begins, frame = saccades.float().max(dim=1)
        uniform = torch.rand(len(saccades), generator=generator)
        place = fixations[torch.arange(len(frame)), frame] / fixations.new_tensor([1, FLATTENED])
        distance = place.norm(dim=1, keepdim=True)
        direction = place / distance.clamp(min=1e-6)
        noise = torch.randn(place.shape, generator=generator)
        there = torch.where(begins[:, None] > 0, direction * self._normal(distance), noise)
        soon = torch.where(
            begins > 0,
            1 - self.chance * (frame + uniform) / self.new,
            (1 - self.chance) * uniform,
        )
        when = torch.special.ndtri(soon.clamp(1e-4, 1 - 1e-4))
        return torch.cat([when[:, None], there], dim=1)

    def decode(self, numbers: Tensor, fixation: Tensor, rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """White numbers (batch, 3) of the clip in which the eyes at first look at `fixation` (batch, 2), degrees.

        rest: frames (batch,) until a saccade may begin. Returns the gaze (batch, new, 2) in degrees, where the eyes
        look at its end, and the frames (batch,) until the next saccade may begin.
        """
        soon = torch.special.ndtr(numbers[:, 0])
        frame = ((1 - soon) / self.chance * self.new).floor()
        begins = frame < self.new
        frame = torch.maximum(frame, rest)
        begins = begins & (frame < self.new)
        size = numbers[:, 1:].norm(dim=1, keepdim=True)
        place = numbers[:, 1:] / size.clamp(min=1e-6) * self._distance(size)
        goal = torch.where(begins[:, None], place * place.new_tensor([1, FLATTENED]), fixation)
        since = torch.arange(self.new) - torch.where(begins, frame, float(self.new))[:, None]  # (batch, new)
        gone = saccade_progress(since, (goal - fixation).norm(dim=1)[:, None])
        gaze = fixation[:, None] + gone[..., None] * (goal - fixation)[:, None]
        return gaze, goal, (torch.where(begins, frame + SPACING, rest) - self.new).clamp(min=0)

    def fit(self, saccades: Sequence[Tensor], fixations: Sequence[Tensor]) -> None:
        """Fit the table to saccades (frames,) and the places they go to (frames, 2) of many utterances."""
        whole = [row for row in saccades if len(row) >= self.new]
        self.chance.copy_(torch.cat([row.float().unfold(0, self.new, self.new).amax(1) for row in whole]).mean())
        places = torch.cat([where[row] for row, where in zip(saccades, fixations, strict=True)])
        if len(places):
            distance = (places / places.new_tensor([1, FLATTENED])).norm(dim=1)
            self.distances.copy_(torch.quantile(distance, torch.linspace(0, 1, _QUANTILES)))

    def _distance(self, size: Tensor) -> Tensor:
        """Length (batch, 1) of two normal numbers (Rayleigh) as a distance of the table, degrees."""
        place = (1 - torch.exp(-size.square() / 2)) * (_QUANTILES - 1)
        left = place.floor().clamp(max=_QUANTILES - 2)
        index = left.long().clamp(min=0)  # numbers that are not finite stay so, they are reported later
        low = self.distances[index]
        return low + (place - left) * (self.distances[index + 1] - low)

    def _normal(self, distance: Tensor) -> Tensor:
        """The inverse of `_distance`."""
        right = torch.searchsorted(self.distances, distance.contiguous()).clamp(1, _QUANTILES - 1)
        low, high = self.distances[right - 1], self.distances[right]
        part = ((distance - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
        share = (right - 1 + part) / (_QUANTILES - 1)
        return (-2 * torch.log1p(-share.clamp(max=1 - 1e-4))).sqrt()


def saccade_progress(since: Tensor, degrees: Tensor) -> Tensor:
    """How much of the way is done, 0..1, in a frame that is `since` frames after the one in which the eyes set out.

    A saccade takes 2.2 ms per degree and 21 ms (Carpenter 1988), less than two frames: it begins with its frame, and is
    seen in the middle of each.
    """
    length = (2.2 * degrees + 21) / _FRAME
    part = ((since + 0.5) / length).clamp(0, 1)
    return part * part * (3 - 2 * part)


def gaze_of(fixations: Tensor) -> Tensor:
    """The gaze (frames, 2) on its way from one fixation to the next (frames, 2), in degrees from the photo's."""
    before = torch.cat([fixations.new_zeros(1, 2), fixations[:-1]])
    way = fixations - before  # zero but in a saccade's own frame
    gone = saccade_progress(torch.zeros(len(way)), way.norm(dim=1))
    return before + gone[:, None] * way
