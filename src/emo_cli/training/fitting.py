"""Fit the bundled model's codec from a face rig: chart layout, lip and lid spreads, latent scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import LEFT_EYE, LID_PAIRS, LIP_PAIRS, RIGHT_EYE
from emo_cli.training.teeth import jaw_travel, mouth_pictures

if TYPE_CHECKING:
    from emo_cli.training.rig import HeadModel, Rig

_MARGIN = 0.8  # cells between the face and the chart's border
_UPPER_LIP_REACH, _LOWER_LIP_REACH = 0.42, 0.5  # centimetres
_LID_REACH = 0.18  # further, and rims of glasses would bend when eyes close


def fit_codec(rig: Rig, triangles: torch.Tensor, grid: int = 32, head: HeadModel | None = None) -> FlowCodec:
    """A codec whose buffers describe this rig; `scale` is 1 until `fit_scale` has seen motion.

    Args:
        rig: the 468-point tables in centimetres.
        triangles: (n, 3) the mesh; three-cliques that are no faces of it are dropped.
        grid: cells per side of the chart, divisible by 4.
        head: the head model that the teeth are rendered from; without it an open mouth is dark and empty.
    """
    faces = orient(drop_inner_cliques(triangles.long()), rig.mean)
    codec = FlowCodec(grid=grid, triangle_count=len(faces))
    codec.mean.copy_(rig.mean)
    codec.bias.copy_(rig.bias)
    codec.uv.copy_(chart_layout(rig, grid))
    codec.scale.fill_(1.0)
    codec.triangles.copy_(faces)
    upper, lower = lip_spreads(rig)
    codec.upper_spread.copy_(upper)
    codec.lower_spread.copy_(lower)
    codec.lid_spread.copy_(lid_spreads(rig.mean))
    codec.jaw.copy_(torch.tensor([-3.2, -2.2, 2.8]) if head is None else jaw_travel(head, rig))
    if head is not None:
        for buffer, picture in zip((codec.upper_teeth, codec.lower_teeth), mouth_pictures(head), strict=True):
            buffer.copy_(picture)
    return codec


def fit_scale(codec: FlowCodec, displacements: torch.Tensor) -> None:
    """Set the latent scale from displacements (..., 468, 3) of typical speech, in place.

    Root mean square per cell with a floor of 12 % of the channel's largest, so that still cells are not blown up.
    """
    field = codec.field(displacements.float().reshape(-1, *displacements.shape[-2:]))
    size = field.square().mean(0).sqrt()
    largest = size.amax((-1, -2), keepdim=True)
    codec.scale.copy_((size.square() + (0.12 * largest).square()).sqrt())


def chart_layout(rig: Rig, grid: int) -> torch.Tensor:
    """Chart positions (468, 2) in cells: the slightly open face from the front, mouth and eyes magnified."""
    face = rig.mean + 0.32 * rig.expression("jawOpen") + 0.4 * rig.expression("eyeWide")
    flat = _magnified(face[:, :2].double(), face[[13, 14], :2].mean(0).double(), 0.75, 2.6)
    for eye in (RIGHT_EYE, LEFT_EYE):
        flat = _magnified(flat, flat[list(eye)].mean(0), 0.35, 1.6)
    low, high = flat.amin(0), flat.amax(0)
    unit = (flat - low) / (high - low)
    unit[:, 1] = 1 - unit[:, 1]
    return (_MARGIN + unit * (grid - 1 - 2 * _MARGIN)).float()


def _magnified(flat: torch.Tensor, centre: torch.Tensor, gain: float, reach: float) -> torch.Tensor:
    offset = flat - centre
    return flat + gain * offset * torch.exp(-offset.square().sum(1, keepdim=True) / (2 * reach**2))


def lip_spreads(rig: Rig) -> tuple[torch.Tensor, torch.Tensor]:
    """How the skin of the upper and of the lower lip's side follows the nine inner-lip points, each (468, 9)."""
    drop = -rig.expression("jawOpen")[:, 1]
    upper_side = ((drop < 1.2) & (rig.mean[:, 1] < -1.3)).double()
    lower_side = (drop >= 1.2).double()
    upper_side[[78, 308]] = lower_side[[78, 308]] = 0  # the corners stay
    upper, lower = zip(*LIP_PAIRS, strict=True)
    stretch = torch.tensor([1.0, 0.7])
    return (
        spread(rig.mean, upper, upper_side, _UPPER_LIP_REACH, stretch),
        spread(rig.mean, lower, lower_side, _LOWER_LIP_REACH, stretch),
    )


def lid_spreads(mean: torch.Tensor) -> torch.Tensor:
    """How the skin around the eyes follows the lids (468, 28): fourteen upper lid points, then fourteen lower ones."""
    columns = []
    for side, sign in ((0, 1.0), (1, -1.0)):
        lids = [pair[side] for pair in LID_PAIRS]
        for eye in (lids[:7], lids[7:]):
            height = _line_height(mean, eye)
            mask = (sign * (mean[:, 1] - height) > -0.02).double()
            for loop in (RIGHT_EYE, LEFT_EYE):
                mask[[p for p in loop if p not in eye]] = 0
            columns.append(spread(mean, tuple(eye), mask, _LID_REACH, torch.tensor([1.0, 1.0])))
    return torch.cat(columns, 1)


def _line_height(mean: torch.Tensor, lid: list[int]) -> torch.Tensor:
    """The y (468,) of a lid's curve at every point's x, level beyond its ends."""
    order = mean[lid, 0].argsort()
    x, y = mean[lid, 0][order].contiguous(), mean[lid, 1][order]
    right = torch.searchsorted(x, mean[:, 0].contiguous()).clamp(1, len(lid) - 1)
    part = ((mean[:, 0] - x[right - 1]) / (x[right] - x[right - 1])).clamp(0, 1)
    return torch.lerp(y[right - 1], y[right], part)


def spread(
    mean: torch.Tensor, anchors: tuple[int, ...], mask: torch.Tensor, reach: float, stretch: torch.Tensor
) -> torch.Tensor:
    """Gaussian weights (468, anchors) inside a mask (468,), normalised to be exact at the anchors themselves."""
    flat = mean[:, :2].double() * stretch
    picked = list(anchors)
    distance = torch.cdist(flat, flat[picked])
    weights = torch.exp(-distance.square() / (2 * reach**2)) * mask[:, None]
    own = weights[picked] + 1e-3 * torch.eye(len(picked), dtype=weights.dtype)
    return (weights @ torch.linalg.inv(own)).float()


def drop_inner_cliques(triangles: torch.Tensor) -> torch.Tensor:
    """Triangles (n, 3) without those whose three edges all belong to three: they only surround a vertex."""
    edges = triangles[:, [[0, 1], [1, 2], [2, 0]]].sort(-1).values  # (n, 3, 2)
    _, inverse, counts = edges.reshape(-1, 2).unique(dim=0, return_inverse=True, return_counts=True)
    return triangles[~(counts[inverse].reshape(-1, 3) > 2).all(1)]


def orient(triangles: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Triangles (n, 3) turned the same way round where the mesh is seen from the front."""
    a, b, c = (mean[triangles[:, corner], :2] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return torch.where((area < 0)[:, None], triangles[:, [0, 2, 1]], triangles)
