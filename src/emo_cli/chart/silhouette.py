"""Where a head ends, by colours alone: hair, ears and neck of drawings that no network takes for people."""

from __future__ import annotations

import torch
from torch.nn import functional

_INNER = 1.12  # radii (1 is the face's outline) up to which all is head; just outside there is hair, ears and neck
_RING = (1.08, 1.3)  # radius at the sides and at the top up to which colours of the head are learned
_FAR = 1.8  # radius from which on, beside and above the head, colours of the background are learned
_COLOURS = 8  # of the head, and of the background
_DOUBT = 1.0  # head colours may be as many times as far as background colours and still count
_FARTHEST = 3.1  # radii: no head is larger
_NECK, _SLOPE = 0.75, 1.5  # half a neck's width, in radii, and how the shoulders widen below the chin


def told_by_colours(photo: torch.Tensor, radius: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
    """Which cells (rows, columns) of a picture belong to the person whose face is in it, 0..1.

    Cells whose colours are nearer to the head's than to the background's, and that hang together with the face, are
    head; shoulders and what stands between them are taken for granted. Where head and background look alike, the head
    reaches far: too much moving with it is better than torn hair.

    Args:
        photo: (1, 3, height, width) 0..255.
        radius, height: (rows, columns) of cells that cover it; the face's outline is at radius 1, and height goes from
            -1 at the chin to 1 at the top of the forehead.
    """
    size = (radius.shape[0], radius.shape[1])
    seen = functional.interpolate(photo, size, mode="bilinear", align_corners=False, antialias=True)[0]
    colours = _perceived(seen).flatten(1).T  # (cells, 3)
    flat, up = radius.flatten(), (height / radius.clamp(min=0.1)).flatten()
    above = up > -0.35
    ring = _RING[0] + (_RING[1] - _RING[0]) * up.clamp(0, 1)
    head = colours[(flat > 0.85) & (flat < ring) & above]
    around = colours[(flat > _FAR) & above]
    if len(head) < 4 * _COLOURS or len(around) < 4 * _COLOURS:
        return torch.ones(size)
    near, far = (torch.cdist(colours, _palette(some)).amin(1) for some in (head, around))
    like = (_DOUBT * near <= far).view(1, 1, *size)
    aside = (radius.square() - height.square()).clamp(min=0).sqrt()
    body = (height < -0.8) & (aside < _NECK - _SLOPE * (height + 1).clamp(max=0))
    inside = ((radius < _INNER) | body)[None, None]
    joined = _joined(inside, (like & (radius < _FARTHEST)) | inside).float()
    closed = -functional.max_pool2d(-functional.max_pool2d(joined, 5, 1, 2), 5, 1, 2)
    return functional.avg_pool2d(functional.pad(closed, (1,) * 4, mode="replicate"), 3, 1)[0, 0]


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
