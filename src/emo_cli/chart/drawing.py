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
from emo_cli.chart.openings import Opening, Shares, behind, opening, shares
from emo_cli.chart.raster import rasterise
from emo_cli.chart.sheet import OPENINGS, Cells, Sheet

_FLAP = 5  # map cells that a lip's or lid's skin is continued under the opening's edge
_NEAR, _LIDS = 3, 7  # map cells around an opening that are drawn anew, without and with drawn lids
_SOFTNESS = 1.3 / 512  # width of an opening's edge, of the picture's longer side
_PIXELS = 8 * 512 * 512  # drawn together; more would not be faster


@dataclass(frozen=True)
class Easel:
    """A portrait ready for drawing: its sheet, what is behind its lips, its right and left lids and eyeballs."""

    sheet: Sheet
    interior: Interior
    lids: tuple[Lids, Lids]
    eyeballs: tuple[Eyeball, Eyeball]

    @property
    def looks(self) -> bool:
        """Whether the eyes are where the face points say, so that they may blink and look about."""
        return all(lids.fits for lids in self.lids)


@dataclass(frozen=True)
class Moved:
    """Some frames before drawing.

    Attributes:
        points: (frames, 468, 3) face points after expression, upright pixels; rotation: (frames, 3, 3) of the head.
        screen: (frames, 468, 2) where they are in the picture then; depth: (frames, 468).
        offsets: (frames, 468, 2) from there to their places in the photo.
        edges: of mouth, right eye and left eye.
        gaze: (frames, 2) degrees of yaw and pitch of the eyes in the head, or None.
    """

    points: torch.Tensor
    rotation: torch.Tensor
    screen: torch.Tensor
    depth: torch.Tensor
    offsets: torch.Tensor
    edges: tuple[Opening, ...]
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
    frames = np.repeat(sheet.image[None], len(points), 0)
    for band in sheet.active:
        _put(frames, sheet, band, seen_through(sheet, band.ringed().of(base), band))
    for index in range(len(OPENINGS)):
        _compose(frames, base, easel, moved, index)
    yield from frames


def _put(frames: np.ndarray, sheet: Sheet, cells: Cells, colours: torch.Tensor) -> None:
    """Write colours (frames, 3, height, width), which become useless, over the pixels of `cells` in frames."""
    rows, columns = cells.pixels(sheet.cell, *sheet.image.shape[:2])
    drawn = colours.add_(0.5).clamp_(0, 255).to(torch.uint8).numpy()
    for channel in range(3):  # much faster than a transposed copy
        frames[:, rows.start : rows.stop, columns.start : columns.stop, channel] = drawn[:, channel]


def _moved(sheet: Sheet, points: torch.Tensor, rotation: torch.Tensor, gaze: torch.Tensor | None) -> Moved:
    turned = turn(points, rotation, sheet.pivot)
    screen = turned[..., :2] * turned.new_tensor([1.0, -1.0])
    mouth, *eyes = OPENINGS
    edges = opening(screen, *mouth, sheet.openings[0]), *(opening(screen, *lists) for lists in eyes)
    return Moved(points, rotation, screen, turned[..., 2], _tucked_in(sheet, edges, sheet.screen - screen), edges, gaze)


def _tucked_in(sheet: Sheet, edges: tuple[Opening, ...], offsets: torch.Tensor) -> torch.Tensor:
    """Offsets (frames, 468, 2) whose closing edges show skin from a little further out.

    Landmarks of an open eye or mouth often lie a pixel inside it; a seam would show a line of white or teeth.
    """
    offsets = offsets.clone()
    for lists, rest, edge, tuck in zip(OPENINGS, sheet.openings, edges, sheet.tucks, strict=True):
        closed = ((rest.gap - edge.gap) / rest.gap.clamp(min=sheet.cell)).clamp(0, 1)[:, None, None]
        for side, way in zip(lists, tuck, strict=True):
            offsets[:, list(side)] += way * closed
    return offsets


def _surroundings(sheet: Sheet, moved: Moved) -> torch.Tensor:
    """Offsets (frames, 2, rows, columns) of hair, neck and background to their places in the photo."""
    still = turn(sheet.points[None, list(OVAL)], moved.rotation, sheet.pivot)
    outline = moved.screen[:, list(OVAL)] - still[..., :2] * still.new_tensor([1.0, -1.0])
    coarse = sheet.field.inverse(outline, moved.rotation)
    return functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)


def _paint_face(base: torch.Tensor, sheet: Sheet, moved: Moved) -> None:
    """Write the face's own offsets over the surroundings, nearer triangles last, lid margins on top."""
    box = _cells_of(moved.screen, sheet.cell, 1, base.shape[-2:])
    if min(box.size) < 1:
        return
    shift = torch.cat([moved.offsets, margin_offsets(moved.offsets)], 1)
    places = torch.cat([moved.screen, sheet.margins - shift[:, moved.screen.shape[1] :]], 1)
    triangles = sheet.triangles
    skin = len(triangles) - sheet.margin_count
    nearness = moved.depth[:, triangles[:skin]].mean(2)
    last = nearness.amax(1, keepdim=True) + 1 + torch.arange(sheet.margin_count)
    order = torch.cat([nearness, last], 1)
    cells = _in_cells(places, sheet.cell, box)
    values, covered = rasterise(cells[:, triangles], shift[:, triangles], order, *box.size)
    part = base[:, :, box.top : box.bottom, box.left : box.right]
    part.copy_(torch.where(covered[:, None], values.permute(0, 3, 1, 2), part))


def _compose(frames: np.ndarray, base: torch.Tensor, easel: Easel, moved: Moved, index: int) -> None:
    """Redraw the neighbourhood of one opening in frames.

    Each pixel shows the skin above the opening's seam, the skin below it, or what is inside.
    """
    sheet, edge = easel.sheet, moved.edges[index]
    loop = [*OPENINGS[index][0], *OPENINGS[index][1]]
    lids, closed = easel.lids[index - 1] if index else None, closing(sheet.openings[index], edge)
    if lids is not None and not lids.drawn(closed):
        lids = None
    near = _cells_of(moved.screen[:, loop], sheet.cell, _NEAR if lids is None else _LIDS, base.shape[-2:])
    rows, columns = near.pixels(sheet.cell, *sheet.image.shape[:2])
    if len(rows) < 1 or len(columns) < 1:
        return
    over, under = seen_through(sheet, _layers(base, sheet, near, OPENINGS[index], edge, moved), near).chunk(2)
    pixels = pixel_centres(rows, columns).view(1, -1, 2)
    softness = _SOFTNESS * max(sheet.image.shape[:2])
    share = shares(edge, pixels, softness)
    size = (len(over), 1, len(rows), len(columns))
    skin = torch.lerp(under, over, share.over.view(size))
    if lids is not None:
        skin = lids.paint(skin, edge, share, closed)
    colours = skin.flatten(2)
    shown = (share.inside > 0).any(0).nonzero()[:, 0]
    if len(shown):
        part, pixels = share.at(shown), pixels[:, shown].expand(len(over), -1, -1)
        inside = _inside(easel, moved, index, part, pixels, softness)
        colours[:, :, shown] = torch.lerp(colours[:, :, shown], inside, part.inside[:, None])
    colours = colours.view(skin.shape)
    _put(frames, sheet, near, colours if lids is None else lids.line(colours, edge, share, closed))


def _inside(
    easel: Easel, moved: Moved, index: int, share: Shares, pixels: torch.Tensor, softness: float
) -> torch.Tensor:
    """Colours (frames, 3, n) inside an opening at pixels (frames, n, 2)."""
    sheet, edge = easel.sheet, moved.edges[index]
    loop = [*OPENINGS[index][0], *OPENINGS[index][1]]
    rigid = _unturned(pixels, moved.rotation, sheet.pivot, sheet.points[loop, 2].mean())
    if index == 0:
        return easel.interior.paint(sheet, moved.points, moved.rotation, edge, share, pixels, rigid, softness)
    source = behind(sheet.openings[index], share, rigid, 1.5 * softness)
    if moved.gaze is not None:
        source = easel.eyeballs[index - 1].looked(sheet.openings[index], source, moved.gaze)
    return seen_at(sheet, source[:, None])[:, :, 0]


def _layers(
    base: torch.Tensor,
    sheet: Sheet,
    near: Cells,
    lists: tuple[tuple[int, ...], tuple[int, ...]],
    edge: Opening,
    moved: Moved,
) -> torch.Tensor:
    """Offsets with the upper edge's skin continued downwards, then with the lower edge's continued upwards.

    Returns:
        (2 * frames, 2, rows + 2, columns + 2) of the cells and the ring around them.
    """
    ring = near.ringed()
    x, y = edge.axis.unbind(-1)
    down = torch.stack([-y, x], -1)[:, None] * (_FLAP * sheet.cell)
    places, shifts = [], []
    for side, sign in zip(lists, (1.0, -1.0), strict=True):
        row = moved.screen[:, list(side)]
        places.append(torch.cat([row, row + sign * down], 1))
        shifts.append(moved.offsets[:, list(side)].repeat(1, 2, 1))
    triangles = _strip(len(lists[0]))
    order = torch.arange(len(triangles)).repeat(2 * len(edge.length), 1)
    cells = _in_cells(torch.cat(places), sheet.cell, ring)
    values, covered = rasterise(cells[:, triangles], torch.cat(shifts)[:, triangles], order, *ring.size)
    layers = ring.of(base).repeat(2, 1, 1, 1)
    return torch.where(covered[:, None], values.permute(0, 3, 1, 2) * ring.of(sheet.fade), layers)


def _strip(count: int) -> torch.Tensor:
    """Triangles (n, 3) between two rows of `count` vertices, the second row numbered after the first."""
    a = torch.arange(count - 1)
    return torch.cat([torch.stack([a, a + 1, a + count], 1), torch.stack([a + 1, a + count + 1, a + count], 1)])


def _cells_of(places: torch.Tensor, cell: int, margin: int, grid: torch.Size | tuple[int, int]) -> Cells:
    """The cells around screen places (frames, n, 2) of all frames, inside the grid (rows, columns)."""
    low = (places.amin((0, 1)) / cell).floor().long() - margin
    high = (places.amax((0, 1)) / cell).ceil().long() + margin
    rows, columns = grid
    return Cells(max(0, int(low[1])), max(0, int(low[0])), min(rows, int(high[1])), min(columns, int(high[0])))


def _in_cells(places: torch.Tensor, cell: int, box: Cells) -> torch.Tensor:
    return places / cell - places.new_tensor([box.left, box.top])


def _unturned(pixels: torch.Tensor, rotation: torch.Tensor, pivot: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Photo places (frames, n, 2) of what the turned skull shows at pixels (frames, n, 2), at one depth."""
    flip = pixels.new_tensor([1.0, -1.0])
    away = rotation[:, None, :2, 2] * (depth - pivot[2])
    flat = pixels * flip - pivot[:2] - away
    return (flat @ torch.linalg.inv(rotation[:, :2, :2]).mT + pivot[:2]) * flip
