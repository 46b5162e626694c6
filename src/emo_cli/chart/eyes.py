"""Eyes of a portrait: lids that meet exactly, and lid skin that unfolds without thickening the lashes."""

from __future__ import annotations

import torch

from emo_cli.chart.geometry import BESIDE_LIDS, LID_PAIRS, lid_gaps

_LOWER_SHARE = 0.18  # of a blink: the upper lid travels most of the way
# The lid's margin: where it ends on the way to the ring, and how much of the ring's motion it takes.
_MARGIN_PLACE, _MARGIN_FOLLOWS = 0.35, 0.06


def close_lids(points: torch.Tensor, rest: torch.Tensor, lids: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """Move the lids of moved face points towards each other.

    Args:
        points: (frames, 468, 3) upright pixels; rest: (468, 3) the photo's own.
        lids: (frames,) 0 as they are .. 1 closed: upper and lower lid meet exactly.
        spread: (468, 28) how the skin follows the fourteen upper, then the fourteen lower lid points.

    Returns:
        (frames, 468, 3); lids that crossed by expression alone are brought to meet.
    """
    gap = lid_gaps(points)
    crossed = gap[..., 1] < lid_gaps(rest)[..., 1].clamp(max=0)
    share = torch.where(crossed, torch.ones_like(lids)[:, None], lids.clamp(0, 1)[:, None])
    step = gap * share[..., None]  # (frames, 14, 3)
    way = torch.cat([step * (_LOWER_SHARE - 1), step * _LOWER_SHARE], 1)
    moved = points + torch.einsum("vp,fpk->fvk", spread, way)
    upper, lower = (list(side) for side in zip(*LID_PAIRS, strict=True))
    moved[:, upper] = points[:, upper] + way[:, : len(upper)]  # exact, whatever the spread's rounding
    moved[:, lower] = points[:, lower] + way[:, len(upper) :]
    return moved


def lid_margins(points: torch.Tensor, place: float) -> torch.Tensor:
    """Points between each lid and its ring of skin (frames, 28, 2 or 3) at `place` of the way."""
    rows = []
    for lid, beside in BESIDE_LIDS.items():
        rows.append(torch.lerp(points[:, list(lid[1:-1])], points[:, list(beside)], place))
    return torch.cat(rows, 1)


def margin_places(points: torch.Tensor) -> torch.Tensor:
    """Where the lid margins end in the photo: (1, 28, n) of its points (1, 468, n)."""
    return lid_margins(points, _MARGIN_PLACE)


def margin_offsets(offsets: torch.Tensor) -> torch.Tensor:
    """Motion of the lid margins' ends (frames, 28, n) from that of the face points: nearly the lid's own."""
    return lid_margins(offsets, _MARGIN_FOLLOWS)


def margin_triangles(first: int) -> torch.Tensor:
    """Triangles (n, 3) between lids, their margins (vertices from `first` on) and the rings of skin."""
    triangles = []
    for row, (lid, beside) in enumerate(BESIDE_LIDS.items()):
        ends = [first + row * len(beside) + i for i in range(len(beside))]
        margin = [lid[0], *ends, lid[-1]]
        for i in range(len(lid) - 1):
            triangles += _quad(lid[i], lid[i + 1], margin[i], margin[i + 1])
        for i in range(len(beside) - 1):
            triangles += _quad(ends[i], ends[i + 1], beside[i], beside[i + 1])
    return torch.tensor([t for t in triangles if len(set(t)) == 3])


def _quad(a: int, b: int, c: int, d: int) -> list[tuple[int, int, int]]:
    return [(a, b, c), (b, d, c)]
