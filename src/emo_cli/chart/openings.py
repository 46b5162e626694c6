"""Openings of the face (mouth and eyes): their smooth edges, and who shows at each pixel near them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from emo_cli.chart.head import smooth_step

_SAMPLES = 65
_ROUND = (0.08, 0.35)  # by so many of its lengths an opening must be wider than at rest for its corners to be round


@dataclass(frozen=True)
class Opening:
    """The edges of one opening in every frame, in its own frame from corner to corner.

    Attributes:
        origin, axis: (frames, 2) the first corner, and the unit vector to the second.
        length: (frames,) pixels between the corners.
        upper, lower: (frames, 65) height of the two edges at equal steps, pixels, larger is lower in the picture.
    """

    origin: torch.Tensor
    axis: torch.Tensor
    length: torch.Tensor
    upper: torch.Tensor
    lower: torch.Tensor

    def local(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (frames, n, 2) as the part of the way between the corners and the height, each (frames, n)."""
        offset = pixels - self.origin[:, None]
        x, y = self.axis[:, None].unbind(-1)
        along = (offset[..., 0] * x + offset[..., 1] * y) / self.length[:, None]
        return along, offset[..., 1] * x - offset[..., 0] * y

    def pixels(self, along: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
        """The inverse of `local`: (frames, n, 2)."""
        x, y = self.axis[:, None].unbind(-1)
        along = along * self.length[:, None]
        return self.origin[:, None] + torch.stack([along * x - height * y, along * y + height * x], -1)

    def edges(self, along: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heights (frames, n) of the upper and the lower edge at parts of the way (frames, n)."""
        place = along.clamp(0, 1) * (_SAMPLES - 1)
        left = place.floor().clamp(max=_SAMPLES - 2)
        index, part = left.long(), place - left
        tables = (table.expand(len(index), -1) for table in (self.upper, self.lower))
        upper, lower = (torch.lerp(table.gather(1, index), table.gather(1, index + 1), part) for table in tables)
        return upper, lower

    @property
    def gap(self) -> torch.Tensor:
        """Mean height (frames,) of the opening, pixels, never negative."""
        return (self.lower - self.upper).clamp(min=0).mean(-1)


@dataclass(frozen=True)
class Shares:
    """Who shows at each pixel of a box: the opening's inside, else the skin above its seam, else the skin below.

    Attributes:
        along, height: (frames, n) local coordinates.
        above, below: (frames, n) pixels under the upper and over the lower edge.
        inside: (frames, n) 0..1; over: (frames, n) share of the upper skin where not inside.
    """

    along: torch.Tensor
    height: torch.Tensor
    above: torch.Tensor
    below: torch.Tensor
    inside: torch.Tensor
    over: torch.Tensor

    def at(self, places: torch.Tensor) -> Shares:
        """The same of some of the pixels only."""
        parts = (self.along, self.height, self.above, self.below, self.inside, self.over)
        return Shares(*(part[:, places] for part in parts))


def opening(
    points: torch.Tensor, upper: tuple[int, ...], lower: tuple[int, ...], rest: Opening | None = None
) -> Opening:
    """Edges of an opening from screen points (frames, n, 2); both lists run from corner to corner.

    Lips that open wider than they are at `rest` have round corners then; lids have not, and get no `rest`.
    """
    origin = points[:, upper[0]]
    way = points[:, upper[-1]] - origin
    length = way.norm(dim=-1)
    axis = way / length[:, None]
    frame = Opening(origin, axis, length, length[:, None], length[:, None])
    sides = [frame.local(points[:, list(side)]) for side in (upper, lower)]
    share = None
    if rest is not None:
        wider = (sides[1][1] - sides[0][1]).amax(1) / length - (rest.lower - rest.upper).amax() / rest.length
        share = smooth_step(wider, *_ROUND)
    return Opening(origin, axis, length, *(curve(along, height, share) for along, height in sides))


def shares(edge: Opening, pixels: torch.Tensor, softness: float) -> Shares:
    """Anti-aliased shares at pixels (frames, n, 2); edges are `softness` pixels wide."""
    along, height = edge.local(pixels)
    upper, lower = edge.edges(along)
    above, below = height - upper, lower - height
    covered = (above / softness + 0.5).clamp(0, 1) + (below / softness + 0.5).clamp(0, 1) - 1
    ends = (torch.minimum(along, 1 - along) * edge.length[:, None] / softness + 0.5).clamp(0, 1)
    over = (0.5 - (height - (upper + lower) / 2) / softness).clamp(0, 1)
    return Shares(along, height, above, below, covered.clamp(min=0) * ends, over)


def curve(along: torch.Tensor, height: torch.Tensor, share: torch.Tensor | None = None) -> torch.Tensor:
    """Smooth heights (frames, 65) at equal steps through knots (frames, knots): cubic Hermite, limited slopes.

    share: (frames,) 0 .. 1, how far the ends are as steep as a circle's.
    """
    knots = along.shape[1]
    along = torch.cummax(along, 1).values + torch.arange(knots, device=along.device) * 1e-4
    along = (along - along[:, :1]) / (along[:, -1:] - along[:, :1])
    at = torch.linspace(0, 1, _SAMPLES, device=along.device).expand(len(along), -1)
    if share is not None:
        along, at = _as_angles(along, share), _as_angles(at, share)
    step, rise = along.diff(dim=1), height.diff(dim=1)
    slope = rise / step
    inner = (slope[:, :-1] * step[:, 1:] + slope[:, 1:] * step[:, :-1]) / (step[:, 1:] + step[:, :-1])
    tangent = torch.cat([slope[:, :1], inner, slope[:, -1:]], 1)
    right = torch.searchsorted(along.contiguous(), at.contiguous()).clamp(1, knots - 1)
    left = right - 1
    width = step.gather(1, left)
    t = ((at - along.gather(1, left)) / width).clamp(0, 1)
    start, stop = height.gather(1, left), height.gather(1, right)
    leave, arrive = tangent.gather(1, left) * width, tangent.gather(1, right) * width
    change = stop - start
    return start + t * (leave + t * (3 * change - 2 * leave - arrive + t * (leave + arrive - 2 * change)))


def _as_angles(part: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Parts 0..1 of a way (frames, n), and by `share` (frames,) of the half circle above it."""
    angle = torch.acos((1 - 2 * part).clamp(-1, 1)) / torch.pi
    return torch.lerp(part, angle, share[:, None])


def behind(rest: Opening, pixels: Shares, rigid: torch.Tensor, slack: float) -> torch.Tensor:
    """Where the photo's own inside of an opening (eye, or a mouth that was open) shows.

    What is inside moves with the skull and is covered by the edges; where the opening is wider than in the photo, its
    own edges are stretched to fill it, so that no skin is ever shown inside.

    Args:
        rest: the opening in the photo (1 frame); pixels: who shows where now.
        rigid: (frames, n, 2) photo places that the skull's motion alone brings to each pixel.
        slack: pixels beyond the photo's edges that still count as inside (the soft edge).

    Returns:
        Photo places (frames, n, 2).
    """
    along, height = rest.local(rigid)
    upper, lower = rest.edges(along)
    room = (lower - upper).clamp(min=1e-3)
    now = (pixels.above + pixels.below).clamp(min=1e-3)
    wide = ((now / room - 0.6) / 0.4).clamp(0, 1)
    stretched = upper + pixels.above * room / now
    kept = torch.minimum(torch.maximum(height, upper - slack), lower + slack)
    return rest.pixels(along, torch.lerp(kept, stretched, wide))


def lid_tucks(rest: Opening, centimetre: float, points: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How far outside its edges a closing eye's skin is taken from: upper and lower, each (points, 2) pixels."""
    taper = torch.sin(torch.linspace(0, torch.pi, points))[:, None]
    up = _upward(rest)
    return up * taper * 0.02 * centimetre, -up * taper * 0.08 * centimetre


def lip_tucks(
    rest: Opening, photo: torch.Tensor, centimetre: float, edges: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far outside its edges a closing mouth's lips are taken from: past the last white of the teeth.

    Args:
        photo: (1, 3, height, width); centimetre: in pixels.
        edges: screen places of the upper and the lower inner lip, each (points, 2).

    Returns:
        Upper and lower, each (points, 2) pixels.
    """
    steps = torch.linspace(0.05, 0.3, 11)
    size = photo.new_tensor([photo.shape[3], photo.shape[2]])
    taper = torch.sin(torch.linspace(0, torch.pi, len(edges[0])))
    tucks = []
    for edge, sign in zip(edges, (1.0, -1.0), strict=True):
        outward = sign * _upward(rest) * centimetre
        places = edge[None] + steps[:, None, None] * outward  # (steps, points, 2)
        seen = functional.grid_sample(photo, (places * 2 / size - 1)[None], "bilinear", align_corners=False)
        whiteness = seen[0].amin(0)  # (steps, points): lips are poor in green and blue
        lip = whiteness[-4:].amin(0)
        white = (whiteness > lip + 0.3 * (whiteness.amax(0) - lip).clamp(min=30)).float()
        last = (white * torch.arange(1, len(steps) + 1)[:, None]).amax(0).long().clamp(max=len(steps) - 1)
        reach = steps[last]
        reach = torch.stack([reach, reach.roll(1), reach.roll(-1)]).amax(0)
        tucks.append((reach * taper)[:, None] * outward)
    return tucks[0], tucks[1]


def _upward(rest: Opening) -> torch.Tensor:
    """Unit vector (2,) from the lower to the upper edge, on the screen."""
    x, y = rest.axis[0]
    return torch.stack([y, -x])
