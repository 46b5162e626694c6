"""A portrait made ready for drawing: everything about it that no frame changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from emo_cli.chart.backdrop import Backdrop, believed, beyond_the_top, parted, swept
from emo_cli.chart.eyes import margin_places, margin_triangles
from emo_cli.chart.geometry import (
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    LOWER_INNER_LIP,
    OVAL,
    POINTS,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
    UPPER_INNER_LIP,
    Similarity,
    align,
    upright,
)
from emo_cli.chart.head import HeadField, flattened, head_field, pivot_of, resized, smooth_step
from emo_cli.chart.openings import Opening, lid_tucks, lip_tucks, opening
from emo_cli.chart.whites import round_the_white

if TYPE_CHECKING:
    from emo_cli.portrait import Portrait

OPENINGS = (
    (UPPER_INNER_LIP, LOWER_INNER_LIP),
    (RIGHT_UPPER_LID, RIGHT_LOWER_LID),
    (LEFT_UPPER_LID, LEFT_LOWER_LID),
)  # the mouth first
_MAP_SIZE = 256  # cells along the longer side of the map; the map is smooth, the photo is sampled at full size
_BAND = 16  # rows of pixels that are looked up together: what they need stays in a processor's cache
_BORDER = 0.12  # of the shorter side: motion fades out there where the photo goes on outside
_AROUND = 0.1  # of the longer side: how far a picture is continued beyond its borders
_ROUND = 1.6  # of the deviation of its outline: how round a head is above the forehead
LARGE = 1100  # pixels along the longer side from which on neighbouring pixels differ too little for finer ones to show


@dataclass(frozen=True)
class Cells:
    """A rectangle of map cells."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def ringed(self) -> Cells:
        """With one cell more on each side, even outside of the map."""
        return Cells(self.top - 1, self.left - 1, self.bottom + 1, self.right + 1)

    def of(self, planes: torch.Tensor) -> torch.Tensor:
        """Their part (..., rows, columns) of a map; beyond its border the border's values go on."""
        rows, columns = (
            torch.arange(start, stop).clamp(0, side - 1)
            for start, stop, side in zip(
                (self.top, self.left), (self.bottom, self.right), planes.shape[-2:], strict=True
            )
        )
        return planes.index_select(-2, rows).index_select(-1, columns)

    def pixels(self, cell: int, height: int, width: int) -> tuple[range, range]:
        """Rows and columns of a picture under them."""
        return (
            range(self.top * cell, min(self.bottom * cell, height)),
            range(self.left * cell, min(self.right * cell, width)),
        )


@dataclass(frozen=True)
class Sheet:
    """One portrait at one size.

    Attributes:
        canonical: (468, 3) the face in the rig's frame, centimetres.
        image: (height, width, 3) uint8; photo: (1, 3, height, width) float 0..255.
        source: (1, 4, rows, columns) the photo's person and cover (see `Backdrop`) continued by `around` pixels on all
            sides, and up to `LARGE` pixels with more pixels between its own; what frames are sampled from.
        still: (1, 3, height, width) what is behind.
        similarity: upright pixels to centimetres; points: (468, 3) upright pixels, sides flattened; pivot: (3,).
        turned: degrees of yaw the photo already has.
        triangles: (n, 3) of face points and lid margins; margins: (1, 28, 2) their screen places in the photo;
            margin_count: how many of the triangles, at the end, belong to the margins.
        field: how the surroundings follow; cell: pixels per map cell.
        fade: (1, 1, rows, columns) share of motion allowed; active: where that is not 0 and the person may
            come to, in bands of few rows.
        openings: mouth, right eye, left eye in the photo, one frame each; tucks: how far outside their upper and lower
            edges the skin of a closed one is taken from, pixels.
        lips: (468,) share of each point that belongs to the mouth's region; outline: (468,) damping of expression.
    """

    canonical: torch.Tensor
    image: np.ndarray
    photo: torch.Tensor
    source: torch.Tensor
    still: torch.Tensor
    around: int
    similarity: Similarity
    points: torch.Tensor
    pivot: torch.Tensor
    turned: float
    triangles: torch.Tensor
    margins: torch.Tensor
    margin_count: int
    field: HeadField
    cell: int
    fade: torch.Tensor
    active: tuple[Cells, ...]
    openings: tuple[Opening, ...]
    tucks: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    lips: torch.Tensor
    outline: torch.Tensor

    @property
    def screen(self) -> torch.Tensor:
        """The face points in the picture (468, 2): x right, y down."""
        return self.points[:, :2] * self.points.new_tensor([1.0, -1.0])


def open_sheet(
    portrait: Portrait, size: int, mean: torch.Tensor, bias: torch.Tensor, triangles: torch.Tensor,
    belief: torch.Tensor | None = None,
) -> Sheet:  # fmt: skip
    """Prepare a portrait at `size` pixels along its longer side.

    Args:
        mean, bias: (468, 3) of the rig, centimetres; triangles: (n, 3) its mesh.
        belief: (rows, columns) 0..1, how surely cells show the person; told from the picture if not given.
    """
    image, factor = _resized(portrait.image, size)
    height, width = image.shape[:2]
    margin = margin_triangles(POINTS)
    landmarks = torch.from_numpy(np.asarray(portrait.landmarks[:POINTS], dtype=np.float32)) * factor
    photo = torch.tensor(image).permute(2, 0, 1)[None].float().contiguous()
    landmarks = round_the_white(landmarks, photo)
    similarity, canonical = align(landmarks, mean, bias)
    points = flattened(upright(landmarks))
    cell = max(1, round(max(height, width) / _MAP_SIZE))
    rows, columns = -(-height // (2 * cell)), -(-width // (2 * cell))
    screen = landmarks[None, :, :2]
    openings = tuple(opening(screen, upper, lower) for upper, lower in OPENINGS)
    edges = (screen[0, list(UPPER_INNER_LIP)], screen[0, list(LOWER_INNER_LIP)])
    lips = lip_tucks(openings[0], photo, 1 / similarity.scale, edges)
    around = round(_AROUND * max(height, width))
    backdrop = parted(photo, believed(photo, points) if belief is None else belief)
    source = _layers(backdrop, around, _ROUND * float(landmarks[list(OVAL), 0].std()))
    pivot = pivot_of(points)
    field = head_field(points, rows, columns, 2 * cell)
    fade = _fade(portrait, (2 * rows, 2 * columns), cell, (height, width), landmarks)
    coming = swept(backdrop.cover, field).repeat_interleave(2, 0).repeat_interleave(2, 1)
    return Sheet(
        canonical=canonical,
        image=image,
        photo=photo,
        source=source,
        still=backdrop.still,
        around=around,
        similarity=similarity,
        points=points,
        pivot=pivot,
        turned=float(torch.rad2deg(torch.asin(similarity.rotation[0, 2].clamp(-1, 1)))),
        triangles=torch.cat([triangles, margin]),
        margins=margin_places(screen),
        margin_count=len(margin),
        field=field,
        cell=cell,
        fade=fade,
        active=_active((fade[0, 0] > 0) & coming, max(1, _BAND // cell)),
        openings=openings,
        tucks=(lips, *(lid_tucks(eye, 1 / similarity.scale, len(RIGHT_UPPER_LID)) for eye in openings[1:])),
        lips=1 - smooth_step(mean[:, 1], -3.0, 1.5),
        outline=_outline_damping(mean),
    )


def _resized(image: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    factor = size / max(image.shape[:2])
    if factor == 1:
        return np.ascontiguousarray(image), 1.0
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    resample = Image.Resampling.LANCZOS if factor > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((width, height), resample, reducing_gap=None)), factor


def continued(photo: torch.Tensor, around: int) -> torch.Tensor:
    """A picture (1, 3, height, width) continued by `around` pixels on all sides.

    A head that moves away from the border uncovers what no photo shows: the border's colours, the softer the further
    out, so that they make no stripes.
    """
    out = functional.pad(photo, (around,) * 4, mode="replicate")
    y, x = (torch.arange(length) for length in out.shape[2:])
    beyond = torch.maximum(
        torch.maximum(around - y, y - (len(y) - 1 - around)).clamp(min=0)[:, None],
        torch.maximum(around - x, x - (len(x) - 1 - around)).clamp(min=0)[None],
    ).float()
    factor = max(photo.shape[2:]) / LARGE
    if factor <= 1:
        return _softened(out, beyond)
    # What is out there is soft: a large picture needs it no finer, but for the first pixels beyond the border.
    size = [round(length / factor) for length in out.shape[2:]]
    coarse = functional.interpolate(out, size, mode="area")
    further = functional.interpolate(beyond[None, None], size, mode="area")[0, 0] / factor
    coarse = resized(_softened(coarse, further), out.shape[2:])
    return out.lerp_(coarse, (beyond / (2 * factor)).clamp_(0, 1))


def _softened(picture: torch.Tensor, beyond: torch.Tensor) -> torch.Tensor:
    """A picture (1, 3, rows, columns), the softer the more pixels (rows, columns) it is beyond the border."""
    size = picture.shape[2:]
    for level in range(1, 6):
        smaller = [max(1, side >> level) for side in size]
        soft = functional.interpolate(picture, smaller, mode="bilinear", align_corners=False, antialias=True)
        soft = resized(soft, size)
        share = (beyond / 2.0**level - 0.5).clamp(0, 1)
        picture = picture + (soft - picture) * share
    return picture


def _layers(backdrop: Backdrop, around: int, radius: float) -> torch.Tensor:
    """Person and cover (1, 4, rows, columns) continued beyond the borders; `radius` of the head, pixels."""
    person, cover = continued(backdrop.person, around), functional.pad(backdrop.cover, (around,) * 4, mode="replicate")
    kept = beyond_the_top(backdrop.cover, around, radius)
    inside = slice(around, around + backdrop.cover.shape[3])
    for layer in (person, cover):
        layer[:, :, :around, inside] *= kept
    height, width = cover.shape[2:]
    if max(height, width) <= LARGE * (1 + 2 * _AROUND):
        # With pixels between the photo's own, a quick bilinear look-up is nearly as sharp as a bicubic one.
        size = (2 * height - 1, 2 * width - 1)
        person = functional.interpolate(person, size, mode="bicubic", align_corners=True)
        cover = functional.interpolate(cover, size, mode="bilinear", align_corners=True)
    return torch.cat([person, cover], 1)


def _fade(
    portrait: Portrait, grid: tuple[int, int], cell: int, picture: tuple[int, int], landmarks: torch.Tensor
) -> torch.Tensor:
    """Share of motion per map cell (1, 1, rows, columns): the portrait's mask, and nothing where more photo adjoins."""
    height, width = picture
    y = (torch.arange(grid[0]) + 0.5) * cell
    x = (torch.arange(grid[1]) + 0.5) * cell
    left, top, right, bottom = _adjoining(portrait)
    down = torch.minimum(y + height * (not top), height - y + height * (not bottom))
    across = torch.minimum(x + width * (not left), width - x + width * (not right))
    distance = torch.minimum(down[:, None], across[None, :])
    border = smooth_step(distance, 1.5 * cell, 1.5 * cell + _BORDER * min(height, width))
    allowed = torch.from_numpy(np.asarray(portrait.mask, dtype=np.float32))[None, None]
    allowed = functional.interpolate(allowed, size=grid, mode="bilinear", align_corners=False, antialias=True)
    outline = landmarks[list(OVAL), :2]
    centre, half = outline.mean(0), (outline.amax(0) - outline.amin(0)) / 2
    radius = torch.hypot((x[None, :] - centre[0]) / half[0], (y[:, None] - centre[1]) / half[1])
    return torch.maximum(allowed, 1 - smooth_step(radius, 1.0, 1.3)) * border


def _adjoining(portrait: Portrait) -> tuple[bool, bool, bool, bool]:
    """At which borders of the portrait (left, top, right, bottom) the photo goes on."""
    crop, (height, width) = portrait.crop, portrait.photo.shape[:2]
    right, bottom = crop.x + crop.width, crop.y + crop.height
    return crop.x >= 1, crop.y >= 1, right <= width - 1, bottom <= height - 1


def _active(moving: torch.Tensor, step: int) -> tuple[Cells, ...]:
    """Bands of `step` rows that hold all cells (rows, columns) that may move, and one cell more where there is one."""
    wide = functional.max_pool2d(moving[None].float(), 3, 1, 1)[0] > 0
    bands = []
    for top in range(0, len(wide), step):
        rows, columns = (wide[top : top + step].any(axis).nonzero()[:, 0] for axis in (1, 0))
        if len(rows):
            bands.append(Cells(top + int(rows[0]), int(columns[0]), top + int(rows[-1]) + 1, int(columns[-1]) + 1))
    return tuple(bands)


def _outline_damping(mean: torch.Tensor) -> torch.Tensor:
    """1 inside the face; on its outline 1 at the jaw and 0 above the eyes, where skin meets hair."""
    damping = torch.ones(POINTS)
    outline = list(OVAL)
    damping[outline] = 1 - smooth_step(mean[outline, 1], -4.0, 1.0)
    return damping
