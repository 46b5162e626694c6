"""Draw frames of a portrait: one smooth map per frame, the photo sampled once, and openings composed over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from emo_cli.chart.canvas import OPENINGS, Canvas
from emo_cli.chart.eyes import margin_offsets
from emo_cli.chart.geometry import OVAL
from emo_cli.chart.head import rotations, smooth_step, turn
from emo_cli.chart.mouth import Interior
from emo_cli.chart.openings import Opening, behind, opening, shares
from emo_cli.chart.raster import rasterise

_BATCH = 8
_FLAP = 5  # map cells that a lip's or lid's skin is continued under the opening's edge
_SOFTNESS = 1.3 / 512  # width of an opening's edge, of the picture's longer side
# Centimetres by which upper and lower edge are taken from further out when they close: mouth, right eye, left eye.
_TUCKS = ((0.06, -0.07), (0.02, -0.08), (0.02, -0.08))


@dataclass(frozen=True)
class Pose:
    """A batch of frames before drawing: moved face points (frames, 468, 3) upright pixels, rotation (frames, 3, 3)."""

    points: torch.Tensor
    rotation: torch.Tensor


@dataclass(frozen=True)
class Box:
    """A rectangle of map cells."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def pixels(self, cell: int, height: int, width: int) -> tuple[range, range]:
        """Rows and columns of the picture under the box without its outermost cells."""
        return (
            range((self.top + 1) * cell, min((self.bottom - 1) * cell, height)),
            range((self.left + 1) * cell, min((self.right - 1) * cell, width)),
        )


def draw(canvas: Canvas, moved: torch.Tensor, pose: torch.Tensor, interior: Interior) -> Iterator[np.ndarray]:
    """Frames (height, width, 3) uint8, a few at a time.

    Args:
        moved: (frames, 468, 3) face points after expression, closing and blinking, upright pixels, not yet turned.
        pose: (frames, 3) degrees of yaw, pitch, roll, already limited.
        interior: what is behind the lips.
    """
    for start in range(0, len(moved), _BATCH):
        piece = slice(start, start + _BATCH)
        batch = _draw_batch(canvas, Pose(moved[piece], rotations(pose[piece])), interior)
        yield from batch


def _draw_batch(canvas: Canvas, pose: Pose, interior: Interior) -> np.ndarray:
    turned = turn(pose.points, pose.rotation, canvas.pivot)
    screen = turned[..., :2] * turned.new_tensor([1.0, -1.0])
    offsets = _tucked_in(canvas, screen, canvas.screen - screen)
    base = _surroundings(canvas, pose, screen)
    _paint_face(base, canvas, screen, turned[..., 2], offsets)
    base *= canvas.fade
    height, width = canvas.image.shape[:2]
    frames = _sampled(canvas, _dense(base, canvas.cell)[:, :, :height, :width], 0, 0)
    for index in range(len(OPENINGS)):
        _compose(frames, base, canvas, pose, interior, index, screen, offsets)
    pixels = frames.add_(0.5).clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def _tucked_in(canvas: Canvas, screen: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Offsets (frames, 468, 2) whose closing edges show skin from a little further out.

    Landmarks of an open eye or mouth often lie a pixel inside it; a seam would show a line of white or teeth.
    """
    offsets = offsets.clone()
    for lists, rest, reach in zip(OPENINGS, canvas.openings, _TUCKS, strict=True):
        gap = opening(screen, *lists).gap
        closed = ((rest.gap - gap) / rest.gap.clamp(min=4 * canvas.cell)).clamp(0, 1)[:, None, None]
        x, y = rest.axis.unbind(-1)
        outward = torch.stack([y, -x], -1)[:, None] / canvas.similarity.scale
        taper = torch.sin(torch.linspace(0, torch.pi, len(lists[0]), device=offsets.device))[None, :, None]
        for side, distance in zip(lists, reach, strict=True):
            offsets[:, list(side)] += outward * distance * closed * taper
    return offsets


def _surroundings(canvas: Canvas, pose: Pose, screen: torch.Tensor) -> torch.Tensor:
    """Offsets (frames, 2, rows, columns) of hair, neck and background to their places in the photo."""
    still = turn(canvas.points[None, list(OVAL)], pose.rotation, canvas.pivot)
    outline = screen[:, list(OVAL)] - still[..., :2] * still.new_tensor([1.0, -1.0])
    coarse = canvas.field.inverse(outline, pose.rotation, canvas.pivot)
    return functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)


def _paint_face(
    base: torch.Tensor, canvas: Canvas, screen: torch.Tensor, depth: torch.Tensor, offsets: torch.Tensor
) -> None:
    """Write the face's own offsets over the surroundings, nearer triangles last, lid margins on top."""
    box = _box_of(screen, canvas.cell, 1, base.shape[-2:])
    if min(box.size) < 1:
        return
    shift = torch.cat([offsets, margin_offsets(offsets)], 1)
    places = torch.cat([screen, canvas.margins - shift[:, screen.shape[1] :]], 1)
    triangles = canvas.triangles
    skin = len(triangles) - canvas.margin_count
    order = torch.arange(len(triangles)).repeat(len(screen), 1)
    order[:, :skin] = depth[:, triangles[:skin]].mean(2).argsort(1).argsort(1)
    cells = _in_cells(places, canvas.cell, box)
    values, covered = rasterise(cells[:, triangles], shift[:, triangles], order, *box.size)
    _overwrite(base, box, values, covered)


def _compose(
    frames: torch.Tensor,
    base: torch.Tensor,
    canvas: Canvas,
    pose: Pose,
    interior: Interior,
    index: int,
    screen: torch.Tensor,
    offsets: torch.Tensor,
) -> None:
    """Redraw the neighbourhood of one opening: skin above its seam, skin below, and what is inside."""
    lists = OPENINGS[index]
    edge = opening(screen, *lists)
    loop = [*lists[0], *lists[1]]
    box = _box_of(screen[:, loop], canvas.cell, _FLAP + 3, base.shape[-2:])
    height, width = canvas.image.shape[:2]
    rows, columns = box.pixels(canvas.cell, height, width)
    if len(rows) < 1 or len(columns) < 1:
        return
    layers = _layers(base, canvas, box, lists, edge, screen, offsets)  # (2 * frames, 2, rows, columns)
    top, left = rows.start - box.top * canvas.cell, columns.start - box.left * canvas.cell
    dense = _dense(layers, canvas.cell)[:, :, top : top + len(rows), left : left + len(columns)]
    over, under = _sampled(canvas, dense, rows.start, columns.start).chunk(2)

    pixels = _grid(rows, columns).view(1, -1, 2).expand(len(screen), -1, -1)
    softness = _SOFTNESS * max(height, width)
    share = shares(edge, pixels, softness)
    depth = canvas.points[loop, 2].mean()
    rigid = _unturned(pixels, pose.rotation, canvas.pivot, depth)
    source = behind(canvas.openings[index], edge, share, rigid, 1.5 * softness)
    shape = (len(screen), 1, len(rows), len(columns))
    own = _looked_up(canvas.photo, source.view(len(screen), len(rows), len(columns), 2))
    inside = interior.paint(canvas, pose.points, pose.rotation, edge, share, pixels, own) if index == 0 else own
    weight, upper = share.inside.view(shape), share.over.view(shape)
    skin = under + (over - under) * upper
    frames[:, :, rows.start : rows.stop, columns.start : columns.stop] = skin + (inside - skin) * weight


def _layers(
    base: torch.Tensor,
    canvas: Canvas,
    box: Box,
    lists: tuple[tuple[int, ...], tuple[int, ...]],
    edge: Opening,
    screen: torch.Tensor,
    offsets: torch.Tensor,
) -> torch.Tensor:
    """Offsets with the upper edge's skin continued downwards, then with the lower edge's continued upwards."""
    x, y = edge.axis.unbind(-1)
    down = torch.stack([-y, x], -1)[:, None] * (_FLAP * canvas.cell)
    places, shifts = [], []
    for side, sign in zip(lists, (1.0, -1.0), strict=True):
        row = screen[:, list(side)]
        places.append(torch.cat([row, row + sign * down], 1))
        shifts.append(offsets[:, list(side)].repeat(1, 2, 1))
    triangles = _strip(len(lists[0]))
    order = torch.arange(len(triangles)).repeat(2 * len(screen), 1)
    cells = _in_cells(torch.cat(places), canvas.cell, box)
    values, covered = rasterise(cells[:, triangles], torch.cat(shifts)[:, triangles], order, *box.size)
    layers = base[:, :, box.top : box.bottom, box.left : box.right].repeat(2, 1, 1, 1)
    fade = canvas.fade[:, :, box.top : box.bottom, box.left : box.right]
    return torch.where(covered[:, None], values.permute(0, 3, 1, 2) * fade, layers)


def _strip(count: int) -> torch.Tensor:
    """Triangles (n, 3) between two rows of `count` vertices, the second row numbered after the first."""
    a = torch.arange(count - 1)
    return torch.cat([torch.stack([a, a + 1, a + count], 1), torch.stack([a + 1, a + count + 1, a + count], 1)])


def _box_of(places: torch.Tensor, cell: int, margin: int, grid: torch.Size | tuple[int, int]) -> Box:
    """The cells around screen places (frames, n, 2) of all frames, inside the grid (rows, columns)."""
    low = (places.amin((0, 1)) / cell).floor().long() - margin
    high = (places.amax((0, 1)) / cell).ceil().long() + margin
    rows, columns = grid
    return Box(
        max(0, int(low[1])), max(0, int(low[0])), min(rows, int(high[1])), min(columns, int(high[0]))
    )


def _in_cells(places: torch.Tensor, cell: int, box: Box) -> torch.Tensor:
    return places / cell - places.new_tensor([box.left, box.top])


def _overwrite(base: torch.Tensor, box: Box, values: torch.Tensor, covered: torch.Tensor) -> None:
    part = base[:, :, box.top : box.bottom, box.left : box.right]
    part.copy_(torch.where(covered[:, None], values.permute(0, 3, 1, 2), part))


def _dense(offsets: torch.Tensor, cell: int) -> torch.Tensor:
    """A map per cell as a map per pixel."""
    if cell == 1:
        return offsets
    return functional.interpolate(offsets, scale_factor=cell, mode="bilinear", align_corners=False)


def _grid(rows: range, columns: range) -> torch.Tensor:
    """Pixel centres (rows, columns, 2)."""
    y, x = torch.arange(rows.start, rows.stop) + 0.5, torch.arange(columns.start, columns.stop) + 0.5
    return torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)


def _sampled(canvas: Canvas, offsets: torch.Tensor, top: int, left: int) -> torch.Tensor:
    """The photo through offsets (frames, 2, height, width) whose first pixel is at (top, left)."""
    height, width = offsets.shape[-2:]
    places = _grid(range(top, top + height), range(left, left + width)) + offsets.permute(0, 2, 3, 1)
    return _looked_up(canvas.photo, places)


def _looked_up(photo: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Bicubic colours (frames, 3, height, width) of a photo (1, 3, h, w) at places (frames, height, width, 2)."""
    frames, height, width, _ = places.shape
    size = places.new_tensor([photo.shape[3], photo.shape[2]])
    # All frames read one photo: they are stacked along the grid's height instead of copying it.
    grid = (places * 2 / size - 1).view(1, frames * height, width, 2)
    colours = functional.grid_sample(photo, grid, "bicubic", "border", align_corners=False)
    return colours.view(photo.shape[1], frames, height, width).transpose(0, 1)


def _unturned(pixels: torch.Tensor, rotation: torch.Tensor, pivot: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Photo places (frames, n, 2) of what the turned skull shows at pixels (frames, n, 2), at one depth."""
    flip = pixels.new_tensor([1.0, -1.0])
    away = rotation[:, None, :2, 2] * (depth - pivot[2])
    flat = pixels * flip - pivot[:2] - away
    return (flat @ torch.linalg.inv(rotation[:, :2, :2]).mT + pivot[:2]) * flip
