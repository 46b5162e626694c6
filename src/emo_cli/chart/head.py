"""Turn the head of a portrait: limits, rotation, and how hair and neck follow while the rest stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from emo_cli.chart.geometry import EYE_CORNERS, OVAL

LIMITS = (12.0, 8.0, 8.0)  # degrees of yaw, pitch, roll that a flat photo can bear
_PIVOT_DOWN, _PIVOT_BACK = 0.55, 0.55  # in face heights and widths from the outline's centre
_SIDE_DEPTH = 0.45  # share of the depth behind the eyes' outer corners that is turned
_STEEPEST = 1.5  # depth per width: a head turned by 12 degrees then shows no part narrower than two thirds
_COARSE_STEPS, _STEPS = 5, 2  # of the inversion, first at half the cells; the field contracts by less than 0.65 a step


def smooth_step(x: torch.Tensor, start: float | torch.Tensor, stop: float | torch.Tensor) -> torch.Tensor:
    """0 before `start`, 1 after `stop`, smooth between."""
    t = ((x - start) / (stop - start)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def soft_limited(pose: torch.Tensor, turned: float) -> torch.Tensor:
    """Pose (frames, 3) in degrees bent smoothly under the limits; `turned` is the yaw the photo already has."""
    shrink = 1 - 0.5 * float(smooth_step(torch.tensor(abs(turned)), 8.0, 25.0))
    limit = pose.new_tensor(LIMITS) * pose.new_tensor([shrink, 1.0, 1.0])
    return limit * torch.tanh(pose / limit)


def rotations(pose: torch.Tensor) -> torch.Tensor:
    """Yaw, pitch, roll (frames, 3) in degrees as (frames, 3, 3): roll after yaw after pitch, y up, z forward."""
    cos, sin = torch.cos(torch.deg2rad(pose)), torch.sin(torch.deg2rad(pose))
    (cy, cp, cr), (sy, sp, sr) = cos.unbind(-1), sin.unbind(-1)
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)
    yaw = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).view(-1, 3, 3)
    pitch = torch.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], -1).view(-1, 3, 3)
    roll = torch.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], -1).view(-1, 3, 3)
    return roll @ yaw @ pitch


def turn(points: torch.Tensor, rotation: torch.Tensor, pivot: torch.Tensor) -> torch.Tensor:
    """Points (frames or 1, n, 3), upright, turned about a pivot (3,) -> (frames, n, 3)."""
    return (points - pivot) @ rotation.mT + pivot


def flattened(points: torch.Tensor) -> torch.Tensor:
    """Upright face points (468, 3) whose sides are less deep than they are.

    A photo shows the sides of a face at a grazing angle: turned at their true depth they would fold over hair and ears,
    and the contour would be there twice. So no part is steeper than `_STEEPEST`.
    """
    depth = points[:, 2]
    front = depth[list(EYE_CORNERS)].mean()
    kept = torch.where(depth < front, front + (depth - front) * _SIDE_DEPTH, depth)
    apart = torch.cdist(points[:, :2], points[:, :2])
    return torch.stack([points[:, 0], points[:, 1], (kept - _STEEPEST * apart).amax(1)], 1)


def pivot_of(points: torch.Tensor) -> torch.Tensor:
    """Where a head turns, from its upright face points (468, 3): low in the neck, behind the face."""
    outline = points[list(OVAL)]
    span = outline.amax(0) - outline.amin(0)
    return outline.mean(0) - torch.stack([span[0] * 0, _PIVOT_DOWN * span[1], _PIVOT_BACK * span[0]])


@dataclass(frozen=True)
class HeadField:
    """How every coarse cell around the face follows the head and the face's outline.

    Attributes:
        basis: (39, height, width) how cells move: by a turn of the head per unit of what it adds to x, y and z of their
            places, then by the motion of each of the outline's 36 points.
        coarse: the same on half the cells.
        height, width: the grid; cell: its pitch in pixels.
    """

    basis: torch.Tensor
    coarse: torch.Tensor
    height: int
    width: int
    cell: int

    def inverse(self, outline: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
        """Offsets to where each cell's content was in the photo.

        Args:
            outline: (frames, 36, 2) screen motion of the outline by expression, pixels.
            rotation: (frames, 3, 3).

        Returns:
            (frames, 2, height, width) pixels, by fixed-point inversion of the smooth forward motion.
        """
        half = outline.new_tensor([self.width, self.height])[:, None] * (self.cell / 2)
        turned = (rotation - torch.eye(3))[:, :2] * outline.new_tensor([[1.0], [-1.0]])  # y is down on the screen
        weights = torch.cat([turned, outline.mT], 2) / half  # (frames, 2, 39)
        begin = resized(_inverted(_weighted(weights, self.coarse), _COARSE_STEPS), (self.height, self.width))
        return _inverted(_weighted(weights, self.basis), _STEPS, begin) * -half[..., None]


def _weighted(weights: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Sums (frames, 2, rows, columns) of basis fields (n, rows, columns) with weights (frames, 2, n)."""
    return (weights.flatten(0, 1) @ basis.flatten(1)).view(-1, 2, *basis.shape[1:])


def _inverted(forward: torch.Tensor, steps: int, begin: torch.Tensor | None = None) -> torch.Tensor:
    """How content came to cells: the fixed point of m(x) = forward(x - m(x)), in -1..1 over the picture.

    Args:
        forward: (frames, 2, rows, columns) how far the content of each cell goes.
    """
    y, x = ((torch.arange(side) + 0.5) * 2 / side - 1 for side in forward.shape[2:])
    centre = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))])
    moved = forward if begin is None else begin
    for _ in range(steps):
        grid = (centre - moved).permute(0, 2, 3, 1)
        moved = functional.grid_sample(forward, grid, "bilinear", "border", align_corners=False)
    return moved


def resized(planes: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Planes (batch, channels, rows, columns) at another size, smoothly."""
    if list(planes.shape[2:]) == list(size):
        return planes
    return functional.interpolate(planes, list(size), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class _Around:
    """Places (cells,) around a face's outline: direction, radius (1 is the outline), neighbours on it, height 0..1."""

    angle: torch.Tensor
    radius: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    part: torch.Tensor
    upward: torch.Tensor


def head_field(points: torch.Tensor, height: int, width: int, cell: int) -> HeadField:
    """The field of one portrait: all of the head moves as one, neck and shoulders the less the lower they are.

    Args:
        points: (468, 3) upright pixels.
        height, width: of the grid, in cells of `cell` pixels that cover the picture.
    """
    outline = points[list(OVAL)]
    centre = outline.mean(0)
    x, y = _grid(height, width, float(cell), centre)
    around = _around(outline[:, :2] - centre[:2], x, y)
    radius, left, right, part = around.radius, around.left, around.right, around.part
    free = smooth_step(around.upward, 0.1, 0.8)
    start, stop = 1.0 + 0.5 * around.upward + free, 1.9 + 1.2 * around.upward + 1.5 * free
    rigid = 1 - smooth_step(radius, start, stop)
    express = 1 - smooth_step(radius, 1.0, 1.6)
    behind = (radius - 1).clamp(min=0) * 0.35 * (outline[:, 2].amax() - outline[:, 2].amin())
    depth = torch.lerp(outline[left, 2], outline[right, 2], part) - behind
    place = torch.stack([x + centre[0], y + centre[1], depth]) - pivot_of(points)[:, None]
    own = torch.zeros(len(outline), len(x))
    for neighbour, near in ((left, 1 - part), (right, part)):
        own.scatter_add_(0, neighbour[None], (near * express)[None])
    basis = torch.cat([place * rigid, own]).view(-1, height, width)
    coarse = resized(basis[None], [max(1, side // 2) for side in (height, width)])[0]
    return HeadField(basis, coarse, height, width, cell)


def face_frame(points: torch.Tensor, height: int, width: int, cell: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Where cells (height, width) are beside the face with points as for `head_field`.

    Returns:
        The radius, 1 on the face's outline, and the height, -1 at the chin and 1 at the top of the forehead.
    """
    outline = points[list(OVAL)]
    centre = outline.mean(0)
    spoke = outline[:, :2] - centre[:2]
    x, y = _grid(height, width, cell, centre)
    radius = _around(spoke, x, y).radius
    return radius.view(height, width), (y / spoke[:, 1].abs().amax()).view(height, width)


def _grid(height: int, width: int, cell: float, centre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Upright pixels x and y (cells,) of the cells' middles beside a centre."""
    x = (torch.arange(width) + 0.5) * cell - centre[0]
    y = -(torch.arange(height) + 0.5) * cell - centre[1]
    y, x = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
    return x, y


def _around(spoke: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> _Around:
    """Where places (cells,) are beside an outline (36, 2) around zero."""
    angles, by_angle = torch.atan2(spoke[:, 1], spoke[:, 0]).sort()
    angle = torch.atan2(y, x)
    after = torch.searchsorted(angles, angle)
    right, left = after % len(angles), (after - 1) % len(angles)
    step = (angles[right] - angles[left]) % (2 * torch.pi)
    part = ((angle - angles[left]) % (2 * torch.pi)) / step
    left, right = by_angle[left], by_angle[right]
    # Exact polygon radius: where the ray meets the side between two outline points.
    a, b = spoke[left], spoke[right]
    crossing = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / (
        torch.cos(angle) * (b - a)[:, 1] - torch.sin(angle) * (b - a)[:, 0]
    )
    upward = (y / spoke[:, 1].abs().amax()).clamp(-1, 1) * 0.5 + 0.5
    return _Around(angle, torch.hypot(x, y) / crossing.abs(), left, right, part, upward)
