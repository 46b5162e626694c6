"""Draw frames of a portrait: one smooth map per frame, the photo sampled once, and openings composed over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from emo_cli.chart.eyeballs import Eyeball
from emo_cli.chart.eyes import margin_offsets
from emo_cli.chart.geometry import OVAL
from emo_cli.chart.head import rotations, turn
from emo_cli.chart.lids import Lids, closing
from emo_cli.chart.lookup import pixel_centres, seen_at, seen_through
from emo_cli.chart.mouth import Interior
from emo_cli.chart.openings import Opening, behind, opening, shares
from emo_cli.chart.raster import rasterise
from emo_cli.chart.sheet import OPENINGS, Box, Sheet

_FLAP = 5  # map cells that a lip's or lid's skin is continued under the opening's edge
_SOFTNESS = 1.3 / 512  # width of an opening's edge, of the picture's longer side
_PIXELS = 8 * 512 * 512  # drawn together; more would not be faster


@dataclass(frozen=True)
class Easel:
    """A portrait ready for drawing: its sheet, what is behind its lips, its right and left lids and eyeballs."""

    sheet: Sheet
    interior: Interior
    lids: tuple[Lids, Lids]
    eyeballs: tuple[Eyeball, Eyeball]


@dataclass(frozen=True)
class Moved:
    """Some frames before drawing.

    Attributes:
        points: (frames, 468, 3) face points after expression, upright pixels; rotation: (frames, 3, 3) of the head.
        screen: (frames, 468, 2) where they are in the picture then; depth: (frames, 468).
        offsets: (frames, 468, 2) from there to their places in the photo.
        gaze: (frames, 2) degrees of yaw and pitch of the eyes in the head, or None.
    """

    points: torch.Tensor
    rotation: torch.Tensor
    screen: torch.Tensor
    depth: torch.Tensor
    offsets: torch.Tensor
    gaze: torch.Tensor | None


def frames_at_once(sheet: Sheet) -> int:
    """How many frames of this size are drawn together."""
    height, width = sheet.image.shape[:2]
    return max(1, _PIXELS // (height * width))


def draw(
    easel: Easel, points: torch.Tensor, pose: torch.Tensor, gaze: torch.Tensor | None = None
) -> Iterator[np.ndarray]:
    """Frames (height, width, 3) uint8, all drawn together: `frames_at_once` is a good number.

    Args:
        points: (frames, 468, 3) after expression, closing and blinking, upright pixels, not yet turned.
        pose: (frames, 3) degrees of yaw, pitch, roll, already limited.
        gaze: (frames, 2) degrees of yaw and pitch of the eyes in the head, already limited; None leaves them alone.
    """
    sheet = easel.sheet
    moved = _moved(sheet, points, rotations(pose), gaze)
    base = _surroundings(sheet, moved)
    _paint_face(base, sheet, moved)
    base *= sheet.fade
    height, width = sheet.image.shape[:2]
    rows, columns = sheet.active.pixels(sheet.cell, height, width)
    part = base[:, :, sheet.active.top : sheet.active.bottom, sheet.active.left : sheet.active.right]
    colours = seen_through(sheet, part, sheet.active, rows, columns)
    for index in range(len(OPENINGS)):
        _compose(colours, (rows, columns), base, easel, moved, index)
    for drawn in colours.add_(0.5).clamp_(0, 255).to(torch.uint8).numpy():
        frame = sheet.image.copy()
        for channel, plane in enumerate(drawn):  # much faster than a transposed copy
            frame[rows.start : rows.stop, columns.start : columns.stop, channel] = plane
        yield frame


def _moved(sheet: Sheet, points: torch.Tensor, rotation: torch.Tensor, gaze: torch.Tensor | None) -> Moved:
    turned = turn(points, rotation, sheet.pivot)
    screen = turned[..., :2] * turned.new_tensor([1.0, -1.0])
    offsets = _tucked_in(sheet, screen, sheet.screen - screen)
    return Moved(points, rotation, screen, turned[..., 2], offsets, gaze)


def _tucked_in(sheet: Sheet, screen: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Offsets (frames, 468, 2) whose closing edges show skin from a little further out.

    Landmarks of an open eye or mouth often lie a pixel inside it; a seam would show a line of white or teeth.
    """
    offsets = offsets.clone()
    for lists, rest, tuck in zip(OPENINGS, sheet.openings, sheet.tucks, strict=True):
        gap = opening(screen, *lists).gap
        closed = ((rest.gap - gap) / rest.gap.clamp(min=sheet.cell)).clamp(0, 1)[:, None, None]
        for side, way in zip(lists, tuck, strict=True):
            offsets[:, list(side)] += way * closed
    return offsets


def _surroundings(sheet: Sheet, moved: Moved) -> torch.Tensor:
    """Offsets (frames, 2, rows, columns) of hair, neck and background to their places in the photo."""
    still = turn(sheet.points[None, list(OVAL)], moved.rotation, sheet.pivot)
    outline = moved.screen[:, list(OVAL)] - still[..., :2] * still.new_tensor([1.0, -1.0])
    coarse = sheet.field.inverse(outline, moved.rotation, sheet.pivot)
    return functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)


def _paint_face(base: torch.Tensor, sheet: Sheet, moved: Moved) -> None:
    """Write the face's own offsets over the surroundings, nearer triangles last, lid margins on top."""
    box = _box_of(moved.screen, sheet.cell, 1, base.shape[-2:])
    if min(box.size) < 1:
        return
    shift = torch.cat([moved.offsets, margin_offsets(moved.offsets)], 1)
    places = torch.cat([moved.screen, sheet.margins - shift[:, moved.screen.shape[1] :]], 1)
    triangles = sheet.triangles
    skin = len(triangles) - sheet.margin_count
    order = torch.arange(len(triangles)).repeat(len(shift), 1)
    order[:, :skin] = moved.depth[:, triangles[:skin]].mean(2).argsort(1).argsort(1)
    cells = _in_cells(places, sheet.cell, box)
    values, covered = rasterise(cells[:, triangles], shift[:, triangles], order, *box.size)
    part = base[:, :, box.top : box.bottom, box.left : box.right]
    part.copy_(torch.where(covered[:, None], values.permute(0, 3, 1, 2), part))


def _compose(
    colours: torch.Tensor,
    region: tuple[range, range],
    base: torch.Tensor,
    easel: Easel,
    moved: Moved,
    index: int,
) -> None:
    """Redraw the neighbourhood of one opening in `colours` (frames, 3, rows, columns of the region).

    Each pixel shows the skin above the opening's seam, the skin below it, or what is inside.
    """
    sheet, lists = easel.sheet, OPENINGS[index]
    edge = opening(moved.screen, lists[0], lists[1], sheet.openings[0] if index == 0 else None)
    loop = [*lists[0], *lists[1]]
    box = _box_of(moved.screen[:, loop], sheet.cell, _FLAP + 3, base.shape[-2:])
    rows, columns = box.inner().pixels(sheet.cell, *sheet.image.shape[:2])
    rows, columns = _common(rows, region[0]), _common(columns, region[1])
    if len(rows) < 1 or len(columns) < 1:
        return
    layers = _layers(base, sheet, box, lists, edge, moved)  # (2 * frames, 2, rows, columns) of the box
    over, under = seen_through(sheet, layers, box, rows, columns).chunk(2)
    frames, size = len(over), (len(rows), len(columns))
    pixels = pixel_centres(rows, columns).view(1, -1, 2).expand(frames, -1, -1)
    softness = _SOFTNESS * max(sheet.image.shape[:2])
    share = shares(edge, pixels, softness)
    rigid = _unturned(pixels, moved.rotation, sheet.pivot, sheet.points[loop, 2].mean())
    skin = under + (over - under) * share.over.view(frames, 1, *size)
    whole = share.inside.view(frames, 1, *size)
    if index == 0:
        inside = easel.interior.paint(sheet, moved.points, moved.rotation, edge, share, pixels, rigid, softness, size)
        result = skin + (inside - skin) * whole
    else:
        source = behind(sheet.openings[index], edge, share, rigid, 1.5 * softness)
        if moved.gaze is not None:
            source = easel.eyeballs[index - 1].looked(sheet.openings[index], source, moved.gaze)
        inside = seen_at(sheet, source.view(frames, *size, 2))
        lids, closed = easel.lids[index - 1], closing(sheet.openings[index], edge)
        skin = lids.paint(skin, edge, share, closed)
        result = lids.line(skin + (inside - skin) * whole, edge, share, closed)
    place = colours[:, :, rows.start - region[0].start :, columns.start - region[1].start :]
    place[:, :, : size[0], : size[1]] = result


def _layers(
    base: torch.Tensor,
    sheet: Sheet,
    box: Box,
    lists: tuple[tuple[int, ...], tuple[int, ...]],
    edge: Opening,
    moved: Moved,
) -> torch.Tensor:
    """Offsets with the upper edge's skin continued downwards, then with the lower edge's continued upwards."""
    x, y = edge.axis.unbind(-1)
    down = torch.stack([-y, x], -1)[:, None] * (_FLAP * sheet.cell)
    places, shifts = [], []
    for side, sign in zip(lists, (1.0, -1.0), strict=True):
        row = moved.screen[:, list(side)]
        places.append(torch.cat([row, row + sign * down], 1))
        shifts.append(moved.offsets[:, list(side)].repeat(1, 2, 1))
    triangles = _strip(len(lists[0]))
    order = torch.arange(len(triangles)).repeat(2 * len(edge.length), 1)
    cells = _in_cells(torch.cat(places), sheet.cell, box)
    values, covered = rasterise(cells[:, triangles], torch.cat(shifts)[:, triangles], order, *box.size)
    layers = base[:, :, box.top : box.bottom, box.left : box.right].repeat(2, 1, 1, 1)
    fade = sheet.fade[:, :, box.top : box.bottom, box.left : box.right]
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
    return Box(max(0, int(low[1])), max(0, int(low[0])), min(rows, int(high[1])), min(columns, int(high[0])))


def _in_cells(places: torch.Tensor, cell: int, box: Box) -> torch.Tensor:
    return places / cell - places.new_tensor([box.left, box.top])


def _common(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))


def _unturned(pixels: torch.Tensor, rotation: torch.Tensor, pivot: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Photo places (frames, n, 2) of what the turned skull shows at pixels (frames, n, 2), at one depth."""
    flip = pixels.new_tensor([1.0, -1.0])
    away = rotation[:, None, :2, 2] * (depth - pivot[2])
    flat = pixels * flip - pivot[:2] - away
    return (flat @ torch.linalg.inv(rotation[:, :2, :2]).mT + pivot[:2]) * flip
