"""What stays behind a moving head: the person told from the background, and the background continued behind them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from emo_cli.chart.geometry import OVAL
from emo_cli.chart.head import LIMITS, HeadField, face_frame, resized, rotations, smooth_step
from emo_cli.chart.silhouette import told_by_colours
from emo_cli.face.person import PIXELS, person_in

_SURE, _SURE_NOT = 0.95, 0.04  # of the network's belief: person, background; between them lies the edge
_BELIEVED = 0.8  # mean belief inside the face; with less the picture shows no person that the network knows
_HEAD, _UNSURE = 1.6, 0.15  # mean doubt within so many radii of the face from which on the network is not believed
_TRUST = (12.0, 45.0)  # levels of 255 by which person and background differ: colours say nothing .. all about the edge
_GRAIN = 12.0  # levels of 255 by which a background differs from its continuation without anybody in front of it
_SEAM = 0.012  # of the longer side: width in which the true background passes into the continued one
_SIDE = 256  # cells along the longer side on which the nearest background is looked for
_FINEST = 1024  # pixels along the longer side at which the background is continued and edges are found
_MIRRORED = 0.12  # of the longer side: that far behind the edge the background is its mirror image, further in smooth
_BESIDE = 0.016  # of the longer side: how wide the strip along the edge is that tells what a background is like there
_STRANGE = (30.0, 70.0)  # levels of 255 by which a mirror image differs from that strip: none of it counts .. all


@dataclass(frozen=True)
class Backdrop:
    """A photo in two layers that together are exactly the photo.

    Attributes:
        person: (1, 3, height, width) 0..255, what the person adds: the photo less the part of `still` that shows.
            At a soft edge it may be negative.
        cover: (1, 1, height, width) 0..1, how far the person covers what is behind.
        still: (1, 3, height, width) 0..255, the background, continued behind the person.
    """

    person: torch.Tensor
    cover: torch.Tensor
    still: torch.Tensor


def believed(photo: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """How surely the cells (256, 256) of a photo (1, 3, height, width) show the person, 0..1.

    Args:
        points: (468, 3) of the face, upright pixels.
    """
    height, width = photo.shape[2:]
    cells = points * points.new_tensor([PIXELS / width, PIXELS / height, PIXELS / width])
    radius, up = face_frame(cells, PIXELS, PIXELS, 1.0)
    belief = person_in(photo)
    unsure = (belief - belief.round()).abs()[radius < _HEAD].mean()
    if float(belief[radius < 0.85].mean()) < _BELIEVED or float(unsure) > _UNSURE:
        belief = told_by_colours(photo, radius, up)
    return torch.maximum(belief, 1 - smooth_step(radius, 0.8, 0.95))


def parted(photo: torch.Tensor, belief: torch.Tensor) -> Backdrop:
    """Part a photo (1, 3, height, width), 0..255, into person and background by a belief (rows, columns), 0..1."""
    seam = 2 * round(_SEAM * max(belief.shape) / 2) + 1
    person = functional.max_pool2d((belief[None, None] >= _SURE_NOT).float(), seam, 1, seam // 2)
    soft = person
    for _ in range(2):
        soft = functional.avg_pool2d(functional.pad(soft, (seam // 2,) * 4, mode="replicate"), seam, 1)
    factor = min(1.0, _FINEST / max(photo.shape[2:]))  # what is behind a head need not be finer
    size = [max(1, round(side * factor)) for side in photo.shape[2:]]
    small = photo if factor == 1 else functional.interpolate(photo, size, mode="area")
    person, soft, belief = (resized(plane, size) for plane in (person, soft, belief[None, None]))
    continued = continued_behind(small, (person < 0.01).float())
    cover = _matted(small, belief, continued)
    share = smooth_step(soft, 0.0, 0.5)
    continued, cover, share = (resized(plane, photo.shape[2:]) for plane in (continued, cover, share))
    still = torch.lerp(photo, continued, share)
    cover = torch.maximum(cover, _needed(photo, still))
    return Backdrop(photo - (1 - cover) * still, cover, still)


def _needed(photo: torch.Tensor, still: torch.Tensor) -> torch.Tensor:
    """The least cover (1, 1, height, width) of a person who is neither darker than black nor whiter than white.

    With less, what is moved over another part of `still` would glow. Differences of some grain do not count.
    """
    away = photo - still
    room = torch.where(away < 0, still, 255 - still).clamp(min=1)
    return ((away.abs() - _GRAIN).clamp(min=0) / room).amax(1, keepdim=True).clamp(max=1)


def swept(cover: torch.Tensor, field: HeadField) -> torch.Tensor:
    """The cells (rows, columns) of a head's field that a person of this cover may come to, however the head turns."""
    poses = torch.cartesian_prod(*(torch.tensor([-limit, 0.0, limit]) for limit in LIMITS))
    outline = torch.zeros(len(poses), len(OVAL), 2)
    offsets = field.inverse(outline, rotations(poses))
    size = (field.height, field.width)
    coarse = functional.interpolate(cover, size, mode="area")
    coarse = functional.max_pool2d(coarse, 5, 1, 2)
    seen = _seen_at(coarse.expand(len(poses), -1, -1, -1), offsets.permute(0, 2, 3, 1) / field.cell)
    return seen.amax(0)[0] > 0


def beyond_the_top(cover: torch.Tensor, around: int, radius: float) -> torch.Tensor:
    """What stays of the cover (1, 1, height, width) in the `around` rows above the picture: (around, width), 0..1.

    A head that the border cuts goes on above it as round as heads are: a circle of `radius` pixels through both ends
    of what touches the border. What is wider than such a circle goes on for ever.
    """
    touching = (cover[0, 0, 0] > 0.5).nonzero()[:, 0].float()
    if len(touching) == 0:
        return cover.new_ones(around, cover.shape[3])
    half = (touching[-1] - touching[0] + 1) / 2
    beside = (torch.arange(cover.shape[3]) + 0.5 - (touching[0] + half)).clamp(-radius, radius)
    if float(half) >= radius:
        return cover.new_ones(around, cover.shape[3])
    height = (radius**2 - beside.square()).clamp(min=0).sqrt() - (radius**2 - half**2).sqrt()
    above = torch.arange(around, 0, -1) - 0.5
    return (height - above[:, None] + 0.5).clamp(0, 1)


def continued_behind(photo: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    """The background of a photo (1, 3, height, width) where it is free (1, 1, height, width; 0 or 1), and behind.

    Just behind the edge it is its own mirror image, so that lines, leaves and grain go on; further in it is smooth.
    Where the mirror shows something else than the edge has, as the frame of a painting, the edge's colour goes on.
    A strip along the edge is all that the smooth part knows.
    """
    height, width = photo.shape[2:]
    reach = round(_BESIDE * max(height, width))
    strip = free * (_sum_around(1 - free, reach) > 0)
    smooth = torch.lerp(filled(photo, strip), photo, free)
    factor = max(1, round(max(height, width) / _SIDE))
    rows, columns = -(-height // factor), -(-width // factor)
    known = functional.interpolate(free, (rows, columns), mode="area") > 0.99
    if not bool(known.any()):
        return smooth
    way = nearest(known[0, 0])  # (2, rows, columns)
    for _ in range(2):
        way = functional.avg_pool2d(functional.pad(way[None], (2,) * 4, mode="replicate"), 5, 1)[0]
    scale = way.new_tensor([width / columns, height / rows])
    way = functional.interpolate(way[None], (height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    way = way * scale
    mirrored, seen = _seen_at(torch.cat([photo, free], 1), 2 * way).split([photo.shape[1], 1], 1)
    beside = _seen_at(_mean_around(photo, free, reach), way)
    strange = _mean_around((mirrored - beside).abs().amax(1, keepdim=True), 1 - free, reach)
    near = torch.lerp(mirrored, beside, smooth_step(strange, *_STRANGE))
    # Where the mirror would show the person it fades out.
    seen = functional.max_pool2d(1 - torch.maximum(seen, free), 3, 1, 1)
    seen = 1 - functional.avg_pool2d(functional.pad(seen, (2,) * 4, mode="replicate"), 5, 1)
    depth = way.norm(dim=-1) / max(height, width)
    share = smooth_step(seen, 0.7, 1.0) * (1 - smooth_step(depth, 0.3 * _MIRRORED, _MIRRORED))
    return torch.lerp(smooth, near, share)


def _seen_at(planes: torch.Tensor, way: torch.Tensor) -> torch.Tensor:
    """Planes (n, c, height, width) as pixels see them that look `way` (n, height, width, 2) to the right and down."""
    height, width = planes.shape[2:]
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    places = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1) + way
    grid = places * 2 / way.new_tensor([width, height]) - 1
    return functional.grid_sample(planes, grid, "bilinear", "border", align_corners=False)


def _mean_around(plane: torch.Tensor, counted: torch.Tensor, reach: int) -> torch.Tensor:
    """The mean of a plane (1, c, height, width) over counted pixels (1, 1, height, width) within `reach` of each."""
    weight = _sum_around(counted, reach)
    return torch.where(weight > 0, _sum_around(plane * counted, reach) / weight.clamp(min=1), plane)


def _sum_around(plane: torch.Tensor, reach: int) -> torch.Tensor:
    """The sum of a plane (1, c, height, width) over the square within `reach` of each pixel, whatever its size at the
    same cost: differences of running sums (Crow 1984)."""
    for axis in (2, 3):
        index = torch.arange(plane.shape[axis])
        running = functional.pad(plane, (1, 0) if axis == 3 else (0, 0, 1, 0)).cumsum(axis)
        last, first = (index + reach + 1).clamp(max=len(index)), (index - reach).clamp(min=0)
        plane = running.index_select(axis, last) - running.index_select(axis, first)
    return plane


def nearest(known: torch.Tensor) -> torch.Tensor:
    """The way (2, rows, columns), in cells right and down, from each cell to the nearest known one (rows, columns).

    By jump flooding (Rong and Tan 2006): each cell asks ever nearer neighbours for the best that they know.
    """
    rows, columns = known.shape
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    here = torch.stack([x, y]).float()
    best = torch.where(known, here, torch.full_like(here, 1e6))
    step = 1 << (max(rows, columns) - 1).bit_length()
    while step >= 1:
        padded = functional.pad(best, (step,) * 4, value=1e6)
        for down in (-step, 0, step):
            for right in (-step, 0, step):
                other = padded[:, step + down : step + down + rows, step + right : step + right + columns]
                closer = (other - here).square().sum(0) < (best - here).square().sum(0)
                best = torch.where(closer, other, best)
        step //= 2
    return best - here


def filled(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The picture (1, c, height, width) where it is known (1, 1, height, width; 0 or 1), smoothly continued elsewhere.

    Averages are taken over ever larger squares, and what is missing comes from the finest that knows anything (pull and
    push, Gortler et al. 1996, section 3.3).
    """
    height, width = picture.shape[2:]
    if min(height, width) < 2 or float(known.min()) > 0:
        return picture
    even = (0, width % 2, 0, height % 2)
    seen, weight = functional.pad(picture * known, even), functional.pad(known, even)
    seen, weight = (functional.avg_pool2d(plane, 2) for plane in (seen, weight))
    coarse = filled(seen / weight.clamp(min=1e-4), (4 * weight).clamp(max=1))
    coarse = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.lerp(coarse[..., :height, :width], picture, known)


def _matted(photo: torch.Tensor, belief: torch.Tensor, still: torch.Tensor) -> torch.Tensor:
    """Cover (1, 1, height, width): between the sure parts, by whose colour each pixel's lies nearer, if they differ."""
    person = filled(photo, (belief > _SURE).float())
    way = person - still
    apart = way.square().sum(1, keepdim=True)
    part = (((photo - still) * way).sum(1, keepdim=True) / apart.clamp(min=1)).clamp(0, 1)
    foreign = (photo - still - part * way).square().sum(1, keepdim=True) / apart.clamp(min=1)
    edge = smooth_step(belief, _SURE_NOT, 0.2) * smooth_step(1 - belief, 1 - _SURE, 0.2)
    trust = smooth_step(apart.sqrt(), *_TRUST) * edge * (1 - smooth_step(foreign, 0.05, 0.3))
    return torch.lerp(smooth_step(belief, _SURE_NOT, _SURE), part, trust)
