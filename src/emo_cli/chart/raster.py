"""Draw many triangles of many frames at once as a map: which place of the photo shows at every cell."""

from __future__ import annotations

import torch

_SLACK = 1e-3  # of a triangle's side: neighbours overlap a hair, so no cracks


def rasterise(
    target: torch.Tensor, offset: torch.Tensor, order: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate values over triangles, later triangles over earlier ones.

    All cells of all bounding boxes are tested in one go, without a loop over frames or triangles.

    Args:
        target: (frames, triangles, 3, 2) corners in cells; the centre of the first cell is (0.5, 0.5).
        offset: (frames, triangles, 3, values) at the corners.
        order: (frames, triangles) whole numbers, different within a frame; the largest wins a cell.

    Returns:
        Values (frames, height, width, values), and which cells are covered (frames, height, width).
    """
    frames, count = target.shape[:2]
    size = target.new_tensor([width, height]).long()
    first = (target.amin(2) - 0.5).ceil().long().clamp(min=0)  # (frames, triangles, 2) first and past-last cell
    last = (target.amax(2) - 0.5).floor().long() + 1
    span = (torch.minimum(last, size) - first).clamp(min=0)
    across, inverse = _barycentric(target)
    cells = span.prod(-1) * (inverse.abs() < 1e6)
    cells = cells.flatten()
    owner = torch.repeat_interleave(cells)  # one row per cell of every bounding box
    place = torch.arange(len(owner), device=target.device) - (cells.cumsum(0) - cells)[owner]
    # Whole numbers as floats from here: an integer division costs more than all the rest.
    columns, left, above = torch.cat([span[..., :1], first], -1).reshape(-1, 3).float()[owner].unbind(1)
    row = ((place + 0.5) / columns).floor()
    x, y = place - row * columns + left, row + above
    plane = across.reshape(-1, 6)[owner]
    centre_x, centre_y = x + 0.5, y + 0.5
    second = plane[:, 0] * centre_x + plane[:, 1] * centre_y + plane[:, 2]
    third = plane[:, 3] * centre_x + plane[:, 4] * centre_y + plane[:, 5]
    inside = ((second >= -_SLACK) & (third >= -_SLACK) & (second + third <= 1 + _SLACK)).nonzero()[:, 0]
    owner = owner[inside]
    cell = (owner // count * height + y[inside].long()) * width + x[inside].long()
    top = torch.full((frames * height * width,), -1, dtype=torch.int64, device=target.device)
    top.scatter_reduce_(0, cell, order.flatten()[owner] * count + owner % count, "amax")
    return _fill(top.view(frames, height, width), across, offset, count)


def _barycentric(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes (frames, triangles, 6) of the second and third barycentric coordinate, and 1 / twice the area."""
    a, b, c = target.unbind(2)
    ab, ac = b - a, c - a
    inverse = 1 / (ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0])
    second = torch.stack([ac[..., 1], -ac[..., 0], a[..., 1] * ac[..., 0] - a[..., 0] * ac[..., 1]], -1)
    third = torch.stack([-ab[..., 1], ab[..., 0], a[..., 0] * ab[..., 1] - a[..., 1] * ab[..., 0]], -1)
    return torch.cat([second, third], -1) * inverse[..., None], inverse


def _fill(
    top: torch.Tensor, across: torch.Tensor, offset: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values at the cells whose winning triangle is known; `top` is order * count + triangle, or -1."""
    frames, height, width = top.shape
    values = top.new_zeros(frames, height, width, offset.shape[-1], dtype=offset.dtype)
    frame, y, x = (top >= 0).nonzero(as_tuple=True)
    triangle = top[frame, y, x] % count
    first = offset[:, :, 0]
    # Per triangle, what each value is at the origin, and how it rises to the right and down.
    a, b, c = first, offset[:, :, 1] - first, offset[:, :, 2] - first
    planes = b[..., None] * across[:, :, None, :3] + c[..., None] * across[:, :, None, 3:]  # (..., values, 3)
    planes[..., 2] += a
    right, down, origin = planes[frame, triangle].unbind(-1)
    values[frame, y, x] = right * (x + 0.5)[:, None] + down * (y + 0.5)[:, None] + origin
    return values, top >= 0
