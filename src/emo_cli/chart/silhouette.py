"""How far a head reaches beyond its face: hair, ears and neck told from the background by their colours."""

from __future__ import annotations

import torch
from torch.nn import functional

_SIDE = 128  # cells along the longer side of what is looked at
_INNER = 1.12  # radii (1 is the face's outline) up to which all is head; just outside there is hair, ears and neck
_RING = (1.08, 1.3)  # radius at the sides and at the top up to which colours of the head are learned
_FAR = 1.8  # radius from which on, beside and above the head, colours of the background are learned
_COLOURS = 8  # of the head, and of the background
_DOUBT = 1.0  # head colours may be as many times as far as background colours and still count
_SMOOTH = 5  # directions over which reaches are smoothed
DIRECTIONS = 72
"""Equal angles, the first straight to the right, counter-clockwise."""


def reaches(photo: torch.Tensor, radius: torch.Tensor, angle: torch.Tensor, farthest: torch.Tensor) -> torch.Tensor:
    """Radii (72,) at which the head ends in each direction, at most `farthest`.

    Cells whose colours are nearer to the head's than to the background's, and that hang together with the face, are
    head. Where head and background look alike, the head reaches far: too much moving with it is better than torn hair.

    Args:
        photo: (1, 3, height, width) 0..255; radius, angle: (rows, columns) of cells that cover it; farthest: (72,).
    """
    rows, columns = radius.shape
    size = (rows, columns)
    seen = functional.interpolate(photo, size, mode="bilinear", align_corners=False, antialias=True)[0]
    colours = _perceived(seen).flatten(1).T  # (cells, 3)
    flat, height = radius.flatten(), torch.sin(angle).flatten()
    above = height > -0.35
    ring = _RING[0] + (_RING[1] - _RING[0]) * height.clamp(0, 1)
    head = colours[(flat > 0.85) & (flat < ring) & above]
    around = colours[(flat > _FAR) & above]
    direction = ((angle / (2 * torch.pi) * DIRECTIONS).round().long() % DIRECTIONS).flatten()
    if len(head) < 4 * _COLOURS or len(around) < 4 * _COLOURS:
        return farthest
    near, far = (torch.cdist(colours, _palette(some)).amin(1) for some in (head, around))
    like = (_DOUBT * near <= far).view(1, 1, *size)
    inside = (flat < _INNER).view(1, 1, *size)
    joined = _joined(inside, like | inside)[0, 0].flatten()
    out = torch.full((DIRECTIONS,), _INNER).scatter_reduce(0, direction[joined], flat[joined], "amax")
    wide = functional.max_pool1d(functional.pad(out[None], (1, 1), mode="circular"), 3, 1)
    half = _SMOOTH // 2
    smooth = functional.avg_pool1d(functional.pad(wide, (half, half), mode="circular"), _SMOOTH, 1)[0]
    return torch.minimum(smooth, farthest)


def cells_for(height: int, width: int) -> tuple[int, int, float]:
    """Rows and columns of the cells that are looked at, and how many pixels one has."""
    cell = max(1.0, max(height, width) / _SIDE)
    return max(1, round(height / cell)), max(1, round(width / cell)), cell


def _perceived(colours: torch.Tensor) -> torch.Tensor:
    """Colours (3, rows, columns) as lightness and two differences, in which equal steps look about equal."""
    red, green, blue = colours.clamp(min=0).sqrt() * 16
    return torch.stack([(red + green + blue) / 3, 1.2 * (red - green), 0.8 * ((red + green) / 2 - blue)])


def _palette(colours: torch.Tensor) -> torch.Tensor:
    """A few colours (n, 3) that stand for many (m, 3): k-means from a spread along lightness."""
    centres = colours[colours[:, 0].argsort()][torch.linspace(0, len(colours) - 1, _COLOURS).long()]
    for _ in range(8):
        nearest = torch.cdist(colours, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add(0, nearest, colours)
        counts = torch.bincount(nearest, minlength=_COLOURS)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def _joined(start: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """The allowed cells (1, 1, rows, columns) that can be reached from the start through allowed ones."""
    reached = start.float()
    for _ in range(sum(start.shape[2:])):
        grown = functional.max_pool2d(reached, 3, 1, 1) * allowed
        if torch.equal(grown, reached):
            break
        reached = grown
    return reached > 0
