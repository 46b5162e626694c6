"""Draw many triangles of many frames at once as a map: which place of the photo shows at every cell."""

from __future__ import annotations

import torch

_SLACK = 1e-3  # of a triangle's side: neighbours overlap a hair, so no cracks
_THIN = 1e6  # a triangle of less than one millionth of a cell is none


def rasterise(
    target: torch.Tensor, offset: torch.Tensor, order: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate values over triangles, later triangles over earlier ones.

    All rows of all triangles are cut out in one go, without a loop over frames or triangles.

    Args:
        target: (frames, triangles, 3, 2) corners in cells; the centre of the first cell is (0.5, 0.5).
        offset: (frames, triangles, 3, values) at the corners.
        order: (frames, triangles) different within a frame; the largest wins a cell.

    Returns:
        Values (frames, height, width, values), and which cells are covered (frames, height, width).
    """
    frames = len(target)
    later = order.argsort(1)
    target, offset = (torch.take_along_dim(corners, later[..., None, None], 1) for corners in (target, offset))
    across, inverse = _barycentric(target)
    top = torch.full((frames * height * width,), -1, dtype=torch.int64, device=target.device)
    cell, triangle = _cut_out(target[..., 1], across, inverse.abs() < _THIN, height, width)
    top.scatter_reduce_(0, cell, triangle, "amax")  # triangles of one frame are numbered in their order
    return _filled(top.view(frames, height, width), across, offset)


def _barycentric(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes (frames, triangles, 6) of the second and third barycentric coordinate, and 1 / twice the area."""
    a, b, c = target.unbind(2)
    ab, ac = b - a, c - a
    inverse = 1 / (ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0])
    second = torch.stack([ac[..., 1], -ac[..., 0], a[..., 1] * ac[..., 0] - a[..., 0] * ac[..., 1]], -1)
    third = torch.stack([-ab[..., 1], ab[..., 0], a[..., 0] * ab[..., 1] - a[..., 1] * ab[..., 0]], -1)
    return torch.cat([second, third], -1) * inverse[..., None], inverse


def _cut_out(
    y: torch.Tensor, across: torch.Tensor, real: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cells that lie in triangles, numbered through all frames, and the number of each one's triangle.

    Args:
        y: (frames, triangles, 3) heights of the corners; across: see `_barycentric`; real: (frames, triangles).
    """
    first = (y.amin(2) - 0.5).ceil().long().clamp(min=0)
    last = (y.amax(2) - 0.5).floor().long().clamp(max=height - 1)
    triangle, row = _spread((last - first + 1).clamp(min=0) * real)
    row = row + first.flatten()[triangle]
    planes = across.reshape(-1, 6)[triangle].view(-1, 2, 3)
    planes = torch.cat([planes, planes.new_tensor([0.0, 0.0, 1.0]) - planes.sum(1, keepdim=True)], 1)
    slope = planes[..., 0] + (planes[..., 0] == 0) * 1e-12
    # Each coordinate is at least 0 to one side of where it vanishes on the row.
    border = -(planes[..., 1] * (row + 0.5)[:, None] + planes[..., 2] + _SLACK) / slope - 0.5
    low = torch.where(slope > 0, border, -1.0).amax(1).ceil().clamp(0, width).long()
    high = torch.where(slope < 0, border, float(width)).amin(1).floor().clamp(-1, width - 1).long()
    stretch, column = _spread((high - low + 1).clamp(min=0))
    frame = torch.arange(len(y), device=y.device).repeat_interleave(y.shape[1])
    start = (frame[triangle] * height + row) * width + low
    return start[stretch] + column, triangle[stretch]


def _spread(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of so many things, by whom it is counted, and its number there from 0 on."""
    counts = counts.flatten()
    owner = torch.repeat_interleave(counts)
    return owner, torch.arange(len(owner), device=counts.device) - (counts.cumsum(0) - counts)[owner]


def _filled(top: torch.Tensor, across: torch.Tensor, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values at the cells whose winning triangle, numbered through all frames, is known; -1 where there is none."""
    _, height, width = top.shape
    first = offset[:, :, 0]
    # Per triangle, how each value rises to the right and down, and what it is at the origin.
    b, c = offset[:, :, 1] - first, offset[:, :, 2] - first
    planes = b[..., None] * across[:, :, None, :3] + c[..., None] * across[:, :, None, 3:]  # (..., values, 3)
    planes[..., 2] += first
    found = planes.flatten(0, 1).flatten(1).T.contiguous().index_select(1, top.flatten().clamp(min=0))
    right, down, origin = found.view(-1, 3, *top.shape).unbind(1)
    x, y = torch.arange(width, device=top.device) + 0.5, torch.arange(height, device=top.device)[:, None] + 0.5
    values = torch.addcmul(origin, right, x).addcmul_(down, y)  # (values, frames, height, width)
    return values.permute(1, 2, 3, 0), top >= 0
