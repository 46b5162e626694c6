"""Eyes that look about: the photo's own iris moves inside its eye, lids and corners stay where they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from emo_cli.chart.geometry import Similarity
from emo_cli.chart.head import smooth_step
from emo_cli.chart.openings import Opening
from emo_cli.chart.sheet import Sheet

LIMITS = (11.0, 6.0)  # degrees of yaw and pitch that one picture of an eye can bear
_RADIUS = 1.2  # centimetres of an eyeball
_IRIS = (0.45, 0.7)  # centimetres of an iris's radius; what the landmarks say is brought between them
_RIM = 1.15  # of the iris's radius: that far out the picture moves as one piece
_LID = 0.4  # of the opening's height: the part next to each lid in which motion fades
_ROOM = 0.55  # of the white beside the iris that it may move into; more would press the white into a line
_NARROW, _WIDE = 0.1, 0.3  # centimetres: eyes less open than this in the photo do not look about, wider ones do


@dataclass(frozen=True)
class Eyeball:
    """One eye of a portrait.

    Attributes:
        along: place of the iris's centre as a part of the way between the corners; reach: half the width of what moves
            as one piece, in the same unit.
        across: (2, 2) pixels along and across the opening per centimetre to the picture's right and down.
        share: 0..1 how much it moves at all.
    """

    along: float
    reach: float
    across: torch.Tensor
    share: float

    def looked(self, rest: Opening, places: torch.Tensor, gaze: torch.Tensor) -> torch.Tensor:
        """Photo places (frames, n, 2) of what shows at places of the still eye when it looks at `gaze`.

        Args:
            rest: the opening in the photo; places: (frames, n, 2) of the photo; gaze: (frames, 2) degrees of yaw and
                pitch in the head, within the limits.
        """
        along, height = rest.local(places)
        upper, lower = rest.edges(along)
        way = _RADIUS * torch.sin(torch.deg2rad(gaze)) @ self.across.T * self.share  # (frames, 2) pixels
        right, down = self._within(way[:, :1], rest.length), way[:, 1:]
        free = self._free(along, (height - upper) / (lower - upper).clamp(min=1e-3))
        # The motion is given where things are, but is needed where they were: one step of the inversion.
        was = along - right * free / rest.length[:, None]
        free = self._free(was, (height - down * free - upper) / (lower - upper).clamp(min=1e-3))
        return rest.pixels(along - right * free / rest.length[:, None], height - down * free)

    def _free(self, along: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """Share of the motion (frames, n): all on the iris, none at corners and lids."""
        left = smooth_step(along, 0.0, max(self.along - self.reach, 0.05))
        right = smooth_step(1 - along, 0.0, max(1 - self.along - self.reach, 0.05))
        return left * right * smooth_step(torch.minimum(part, 1 - part), 0.0, _LID)

    def _within(self, way: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Pixels (frames, 1) bent softly so that white stays beside the iris."""
        left, right = self.along - self.reach, 1 - self.along - self.reach
        room = torch.where(way < 0, max(left, 0.02), max(right, 0.02)) * _ROOM * length
        return room * torch.tanh(way / room)


def in_the_head(gaze: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """Degrees (frames, 2) by which the eyes turn in a head of `pose` (frames, 3) to look at `gaze` (frames, 2).

    Eyes hold on to what they look at while the head turns (the vestibulo-ocular reflex), as far as they can.
    """
    limit = gaze.new_tensor(LIMITS)
    return limit * torch.tanh((gaze - pose[:, :2]) / limit)


def fit_eyeballs(sheet: Sheet, irises: torch.Tensor) -> tuple[Eyeball, Eyeball]:
    """The right and the left eye of a portrait.

    Args:
        irises: (10, 2) pixels of the sheet's picture: centre and four points of the rim, right eye first.
    """
    right, left = (_fitted(sheet.openings[i + 1], irises[5 * i : 5 * i + 5], sheet.similarity) for i in (0, 1))
    return right, left


def _fitted(rest: Opening, iris: torch.Tensor, similarity: Similarity) -> Eyeball:
    centimetre = 1 / similarity.scale
    along, height = (float(value) for value in rest.local(iris[None, :1]))
    upper, lower = (float(edge) for edge in rest.edges(torch.tensor([[along]])))
    radius = float((iris[1:] - iris[0]).norm(dim=1).mean()) / centimetre
    believed = 0.2 < along < 0.8 and upper <= height <= lower and _IRIS[0] / 2 < radius < 2 * _IRIS[1]
    if not believed:
        along, radius = 0.5, sum(_IRIS) / 2
    radius = min(max(radius, _IRIS[0]), _IRIS[1])
    sideways = similarity.invert_vectors(torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]))
    screen = sideways[:, :2] * sideways.new_tensor([1.0, -1.0])  # pixels per centimetre to the right and down
    x, y = rest.axis[0]
    return Eyeball(
        along=along,
        reach=_RIM * radius * centimetre / float(rest.length),
        across=torch.stack([screen @ torch.stack([x, y]), screen @ torch.stack([-y, x])]),
        share=float(smooth_step(rest.gap / centimetre, _NARROW, _WIDE)),
    )
