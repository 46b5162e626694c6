"""What is behind the lips: the photo's own inside while it fits, else drawn teeth, tongue and dark."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from emo_cli.chart.geometry import CHIN, LOWER_INNER_LIP, UPPER_INNER_LIP, lip_gaps
from emo_cli.chart.head import smooth_step
from emo_cli.chart.light import colourfulness, white
from emo_cli.chart.lookup import seen_at
from emo_cli.chart.openings import Opening, Shares
from emo_cli.chart.sheet import Sheet

PICTURE_DENSITY = 60  # pixels per centimetre of the teeth pictures
UPPER_BOX = (-3.2, 3.2, -3.7, -1.7)  # left, right, bottom, top in the rig's centimetres
LOWER_BOX = (-3.2, 3.2, -6.2, -3.8)
LOWER_OPENING = 0.4  # how far the jaw is open in the lower picture
_UPPER_DROP, _LOWER_RAISE = 0.25, 0.15  # centimetres: open lips uncover more of the teeth than the rig's do
_ARCH = 0.4  # 1 / cm: how the row of teeth bends back to the sides
_INCISORS = -3.53  # the rig's height of the upper incisors' edge, centimetres
_EDGE_TRUST = 0.5  # centimetres by which the photo's own teeth may correct it
_ENAMEL = (228.0, 220.0, 204.0)  # white in the teeth pictures
_TOOTH_WHITE = 0.45  # of white: what is darker inside an open mouth is no tooth
_LOWER_LIGHT = 0.85  # the lower teeth stand in the lips' shadow
_BEHIND = 0.25  # centimetres by which the drawn tongue and teeth lie lower where the photo has its own lower teeth
_GROWN = 1.4  # how much longer the photo's own teeth may get
_BACK = 0.25  # how much darker the teeth at the sides are, which lie deep in the mouth
_CORNER, _CHEEK = 0.14, 0.45  # of the way between the corners: there the cheek's inside shows, between deep and floor
_DARK = 0.38  # how much darker the throat is far from both lips
_COLUMNS = 13
_TONGUE = 1.4  # how much lighter than dark teeth of the photo the drawn tongue may be
_SEAM_POINTS, _NOSE = [13, 14], 2  # middle of the inner lips; under the nose
_CORNERS = (78, 308)
_HANGING = 0.35  # share of an open mouth's gap by which its middle lies under where the closed lips meet
_NOSE_TRUST, _GAPING = 0.6, 0.8  # how much more the nose says of an open mouth's place; centimetres of the widest
_SIZES = (0.88, 1.12)  # of the rig's teeth: a face's differ less than its lips
_TEETH_BEHIND = 0.3  # centimetres behind the lips' middle
_OPEN = 0.25  # centimetres of a gap from which on a photo shows what is inside
_JAW_GAP = 3.27  # centimetres between the lips of the rig's jaw at its widest
_LIPS = UPPER_INNER_LIP + LOWER_INNER_LIP[1:-1]
_DEEP = (88.0, 35.0, 35.0)  # sRGB of the throat
_FLOOR = (170.0, 80.0, 80.0)  # sRGB of tongue and gums
_FLOOR_SEEN = 0.85  # how much of it there is at the lower lip
_FLOOR_REACH, _FLOOR_GROWS = 0.8, 0.4  # how far up it is seen: centimetres, and of a wide mouth that share more
_COLUMN_TOOTH = (0.55, 0.8)  # of the brightest teeth: columns of the own inside darker than this are lip, not teeth
_WARMTH = (0.8, 1.15, 1.2)  # exponents of the shade in red, green, blue: light inside a mouth is redder


@dataclass(frozen=True)
class Own:
    """What the photo shows inside its own open mouth.

    The part above `split` belongs to the skull (upper teeth), the part below it to the lower lip. They part and slide
    over each other as jaws do; what appears between them is drawn.

    Attributes:
        split: share of the opening's height, from its upper edge.
        kept: 0..1 how far it is kept in a wider mouth; a mere dark line says nothing.
        upper_teeth, lower_teeth: 1 if it shows teeth, so that none are drawn in front of them, else 0.
        columns: (13,) 0..1 how much of that holds at equal steps from corner to corner: beside its teeth a photo shows
            the edges of lips.
    """

    split: float
    kept: float
    upper_teeth: float
    lower_teeth: float
    columns: torch.Tensor

    def across(self, along: torch.Tensor) -> torch.Tensor:
        """How much of it is teeth (frames, n) at parts of the way from corner to corner."""
        place = along.clamp(0, 1) * (len(self.columns) - 1)
        left = place.floor().clamp(max=len(self.columns) - 2)
        index = left.long()
        return torch.lerp(self.columns[index], self.columns[index + 1], place - left)


@dataclass(frozen=True)
class Interior:
    """Teeth and tongue fitted to one portrait.

    Attributes:
        upper, lower: (1, 4, height, width) pictures, colour 0..255 premultiplied by alpha 0..1 (the fourth channel).
        shift: (3,) centimetres from the rig's teeth to this face's; scale: size relative to the rig's.
        jaw: (3,) how far the lower teeth move (y, z) and the chin drops per unit of jaw opening.
        resting: how far the jaw is open in the photo.
        light: (3,) what the scene's light does to white.
        deep, floor: (3,) colours of throat and floor of the mouth; warmth: (3,) exponents of the shade in red,
            green, blue; own: the photo's own inside.
    """

    upper: torch.Tensor
    lower: torch.Tensor
    shift: torch.Tensor
    scale: float
    jaw: torch.Tensor
    resting: float
    light: torch.Tensor
    deep: torch.Tensor
    floor: torch.Tensor
    warmth: torch.Tensor
    own: Own

    def paint(
        self, sheet: Sheet, points: torch.Tensor, rotation: torch.Tensor, edge: Opening, share: Shares,
        pixels: torch.Tensor, rigid: torch.Tensor, softness: float,
    ) -> torch.Tensor:  # fmt: skip
        """Colours inside the lips.

        Args:
            points: (frames, 468, 3) moved but not turned, upright pixels; rotation: (frames, 3, 3).
            pixels: (frames, n, 2); rigid: (frames, n, 2) photo places under the skull's motion.
            softness: width of an edge, pixels.

        Returns:
            (frames, 3, n).
        """
        centimetre = 1 / sheet.similarity.scale  # in pixels
        rest, gap = float(sheet.openings[0].gap), edge.gap
        wider = smooth_step(gap, 1.15 * rest + 0.02 * centimetre, 1.6 * rest + 0.14 * centimetre)
        layers = self._own_layers(sheet, edge, share, rigid, softness)
        shown = torch.maximum(1 - wider, wider.new_tensor(self.own.kept))[:, None]
        narrowed = self._narrowed(sheet, share, centimetre)[:, None]
        colour = self._drawn(sheet, points, rotation, share, pixels, rigid, centimetre)
        for source, cover in layers:
            picture = seen_at(sheet, source[:, None])[:, :, 0] * narrowed
            colour = torch.lerp(colour, picture, (cover * shown)[:, None])
        return colour

    def _own_layers(
        self, sheet: Sheet, edge: Opening, share: Shares, rigid: torch.Tensor, softness: float
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The photo's own inside in two layers, the nearer last: photo places (frames, n, 2) and cover (frames, n)."""
        rest = sheet.openings[0]
        along, height = rest.local(rigid)
        upper, lower = rest.edges(along)
        ends = (torch.minimum(along, 1 - along) * rest.length / softness + 1).clamp(0, 1)
        wider = smooth_step(edge.gap / rest.gap.clamp(min=1e-3), 1.0, 1.2)[:, None]
        ends = ends * (1 - wider * (1 - self.own.across(along)))
        bottom = lower + 1.5 * softness * (1 - wider)
        split = upper + self.own.split * (lower - upper) if self.own.split < 1 else bottom
        raised = lower - share.below  # heights that the lower lip's motion alone brings to each pixel
        under = (rest.pixels(along, torch.minimum(raised, lower + 1.5 * softness)), raised - split)
        # An upper lip that is raised shows more of the teeth: they grow a little, then they follow it.
        tooth = (split - upper).clamp(min=1e-3)
        lift = (upper - height + share.above).clamp(min=0)
        shown = torch.minimum(tooth + lift, _GROWN * tooth)
        height = upper + (height - upper + lift) * tooth / shown
        over = (rest.pixels(along, height.clamp(min=upper - 1.5 * softness)), split - height)
        layers = [under, over] if self.own.split < 1 else [over]
        return [(places, (depth / softness + 1).clamp(0, 1) * ends) for places, depth in layers]

    def _drawn(
        self, sheet: Sheet, points: torch.Tensor, rotation: torch.Tensor, share: Shares, pixels: torch.Tensor,
        rigid: torch.Tensor, centimetre: float,
    ) -> torch.Tensor:  # fmt: skip
        """Throat, tongue and teeth (frames, 3, n), lit like the photo."""
        frames = len(pixels)
        height = (share.above + share.below).clamp(min=0) / centimetre
        low = 1 - smooth_step(share.below / centimetre / (_FLOOR_REACH + _FLOOR_GROWS * height), 0.0, 1.0)
        low = (_FLOOR_SEEN * low)[:, None]
        colour = torch.lerp(self.deep[:, None], self.floor[:, None], low)
        far = smooth_step(share.above / centimetre, 0.1, 1.0) * smooth_step(share.below / centimetre, 0.3, 1.2)
        colour = colour * (1 - _DARK * far)[:, None]
        opened = self._opened(sheet, points)
        along = sheet.openings[0].local(rigid)[0]
        upper, lower = sheet.openings[0].edges(along)
        own = self.own.upper_teeth * self.own.across(along)
        hidden = 1 - own * smooth_step((lower - upper) / centimetre, 0.05, 0.2)
        hidden = hidden[:, None]
        rows = (
            (self.lower, LOWER_BOX, opened, 1.0, _LOWER_LIGHT),
            (self.upper, UPPER_BOX, None, hidden, 1.0),
        )
        for picture, box, drop, shown, bright in rows:
            places = self._places(sheet, rotation, pixels, drop)
            layer = functional.grid_sample(
                picture.expand(frames, -1, -1, -1), _normalised(places, box)[:, None],
                "bilinear", "zeros", align_corners=False,
            )[:, :, 0]  # fmt: skip
            back = (1 - _BACK * smooth_step(places[..., 0].abs(), 1.0, 2.6))[:, None]
            back = bright * back ** self.warmth[:, None]
            colour = layer[:, :3] * shown * back * self.light[:, None] + colour * (1 - layer[:, 3:] * shown)
        cheek = torch.lerp(self.deep, self.floor, _CHEEK)[:, None]
        corner = smooth_step(torch.minimum(share.along, 1 - share.along), 0.0, _CORNER)[:, None]
        colour = torch.lerp(cheek, colour, corner)
        shade = _shade(share, centimetre)[:, None]
        return colour * shade ** self.warmth[:, None]

    @staticmethod
    def _narrowed(sheet: Sheet, share: Shares, centimetre: float) -> torch.Tensor:
        """Light (frames, n) on the photo's own teeth: lips that nearly meet leave a dark line, not a white one."""
        upper, lower = sheet.openings[0].edges(share.along)
        room = torch.minimum(0.8 * (lower - upper), share.above.new_tensor(0.2 * centimetre)).clamp(min=1e-3)
        return 0.3 + 0.7 * ((share.above + share.below) / room).clamp(0, 1)

    def _opened(self, sheet: Sheet, points: torch.Tensor) -> torch.Tensor:
        """How far the jaw is open (frames,), 0 closed, 1 the rig's widest."""
        moved = (points - sheet.points)[:, list(CHIN)].mean(1)
        drop = -(moved @ sheet.similarity.rotation.T)[:, 1] * sheet.similarity.scale
        return (self.resting + drop / self.jaw[2].clamp(min=0.1)).clamp(min=0)

    def _places(
        self, sheet: Sheet, rotation: torch.Tensor, pixels: torch.Tensor, opened: torch.Tensor | None
    ) -> torch.Tensor:
        """Places (frames, n, 2) in the rig's frontal teeth picture that show at pixels, on the bent row of teeth."""
        similarity = sheet.similarity
        onto = rotation @ similarity.rotation.T / similarity.scale  # (frames, 3, 3) centimetres to turned pixels
        base = (similarity.source_centre - sheet.pivot) @ rotation.mT + sheet.pivot
        drop = rotation.new_zeros(len(rotation), 3)
        drop[:, 1] = -_UPPER_DROP
        if opened is not None:
            drop[:, 1:] = (opened - LOWER_OPENING)[:, None] * self.jaw[:2]
            drop[:, 1] += _LOWER_RAISE - _BEHIND * self.own.lower_teeth
        home = self.shift + drop * self.scale - similarity.target_centre
        flat = pixels * pixels.new_tensor([1.0, -1.0]) - base[:, None, :2]
        flat = flat - (home[:, None] @ onto.mT)[..., :2]
        across = torch.linalg.inv(onto[:, :2, :2]).mT
        places = flat @ across
        for _ in range(3):
            depth = -_ARCH * places[..., :1].square().clamp(max=9.0) / self.scale
            places = (flat - depth * onto[:, None, :2, 2]) @ across
        return places / self.scale


def picture_shapes() -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Heights, widths and channels of the upper and the lower picture."""
    sizes = []
    for left, right, bottom, top in (UPPER_BOX, LOWER_BOX):
        sizes.append((round((top - bottom) * PICTURE_DENSITY), round((right - left) * PICTURE_DENSITY), 4))
    return sizes[0], sizes[1]


def fit_interior(
    sheet: Sheet, mean: torch.Tensor, jaw: torch.Tensor, upper: torch.Tensor, lower: torch.Tensor
) -> Interior:
    """Place and light the rig's teeth in a portrait's mouth.

    Args:
        mean: (468, 3) the rig's face; jaw: (3,) see `Interior`.
        upper, lower: (height, width, 4) uint8 pictures.
    """
    face = sheet.similarity.apply(sheet.points)  # where the landmarks are, not the rig's points
    lips = list(_LIPS)
    shift = face[lips].mean(0) - mean[lips].mean(0)
    opening = float((lip_gaps(face)[4, 1] - lip_gaps(mean)[4, 1]).clamp(min=0))
    # An open mouth says little about where the closed lips met; the nose does not move.
    seam = face[_SEAM_POINTS, 1].mean() + _HANGING * opening - mean[_SEAM_POINTS, 1].mean()
    nose = face[_NOSE, 1] - mean[_NOSE, 1]
    shift[1] = torch.lerp(seam, nose, min(opening / _GAPING, 1.0) * _NOSE_TRUST)
    width, usual = ((points[_CORNERS[0]] - points[_CORNERS[1]]).norm() for points in (face, mean))
    scale = float((width / usual).clamp(*_SIZES))
    # Scaling is about the rig's origin: keep the seam where it is.
    anchor = mean[_SEAM_POINTS].mean(0)
    front = torch.stack([mean.new_tensor(0.0), mean.new_tensor(0.0), mean[_SEAM_POINTS[0], 2] - _TEETH_BEHIND])
    shift = shift + (1 - scale) * anchor * mean.new_tensor([1.0, 1.0, 0.0]) + front
    colourful = colourfulness(sheet)
    light, edge = _coloured(white(sheet)[:, None], colourful)[:, 0], None
    scene = light.mean()
    own = Own(split=0.5, kept=0.0, upper_teeth=0.0, lower_teeth=0.0, columns=torch.ones(_COLUMNS))
    if opening > _OPEN:
        own, light, edge = _own_inside(sheet, light)
    if edge is not None:
        shift[1] += (edge - scale * (_INCISORS - _UPPER_DROP) - shift[1]).clamp(-_EDGE_TRUST, _EDGE_TRUST)
    return Interior(
        upper=_premultiplied(upper, colourful, 1.0),
        lower=_premultiplied(lower, colourful, float((scene / light.mean()).clamp(1.0, _TONGUE))),
        shift=shift,
        scale=scale,
        jaw=jaw,
        resting=opening / _JAW_GAP,
        light=light,
        deep=_coloured(mean.new_tensor(_DEEP)[:, None], colourful)[:, 0] * scene,
        floor=_coloured(mean.new_tensor(_FLOOR)[:, None], colourful)[:, 0] * scene,
        warmth=1 + colourful * (mean.new_tensor(_WARMTH) - 1),
        own=own,
    )


def _own_inside(sheet: Sheet, light: torch.Tensor) -> tuple[Own, torch.Tensor, torch.Tensor | None]:
    """What the photo's open mouth shows, judged by its middle columns from the upper lip down.

    Returns:
        The photo's own inside, the light (3,) on its teeth, and the canonical height of the upper teeth's edge or None
        when there are no bright teeth to see.
    """
    rest = sheet.openings[0]
    along, part = torch.linspace(0.38, 0.62, 13), torch.linspace(0.04, 0.96, 47)
    upper, lower = rest.edges(along[None])
    height = torch.lerp(upper[0][None], lower[0][None], part[:, None])  # (47, 13)
    places = rest.pixels(along.expand(47, -1).reshape(1, -1), height.reshape(1, -1))
    colours = seen_at(sheet, places.view(1, 47, 13, 2))[0].median(2).values  # (3, 47) down the middle
    whiteness = colours.amin(0)  # flesh is poor in blue and green
    peak, at = whiteness[: 47 * 3 // 4].max(0)
    if float(peak) < _TOOTH_WHITE * 255 * float(light.mean()):
        kept = float(smooth_step(rest.gap * sheet.similarity.scale, 0.12, 0.3))
        return Own(0.5, kept, upper_teeth=0.0, lower_teeth=0.0, columns=torch.ones(_COLUMNS)), light, None
    ends = (whiteness[int(at) :] < 0.72 * peak).nonzero()
    row = int(at) + int(ends[0, 0]) if len(ends) else 46
    under = whiteness[row:]
    lower_teeth = len(ends) > 0 and float(under[int(under.argmin()) :].amax()) > 0.7 * float(peak)
    # The lower layer begins where the dark between the rows of teeth does, or not at all.
    split = float(part[row]) if len(ends) else 1.0
    own = colours[:, max(0, int(at) - 4) : int(at) + 5].mean(1) / colours.new_tensor(_ENAMEL)
    place = places.view(47, 13, 2)[row, 6]
    upright = torch.cat([place * place.new_tensor([1.0, -1.0]), sheet.points[13, 2:]])
    edge = sheet.similarity.apply(upright[None])[0, 1]
    inside = Own(split, 1.0, upper_teeth=1.0, lower_teeth=float(lower_teeth), columns=_columns(sheet, float(peak)))
    return inside, torch.maximum(own, 0.6 * light).clamp(max=1.1), edge


def _columns(sheet: Sheet, peak: float) -> torch.Tensor:
    """Where along the photo's open mouth (columns,) its inside is as white as teeth, whose brightest is `peak`."""
    rest = sheet.openings[0]
    along, part = torch.linspace(0, 1, 4 * _COLUMNS - 3), torch.linspace(0.1, 0.9, 15)
    upper, lower = rest.edges(along[None])
    height = torch.lerp(upper[0][None], lower[0][None], part[:, None])
    places = rest.pixels(along.expand(15, -1).reshape(1, -1), height.reshape(1, -1)).view(1, 15, -1, 2)
    whitest = seen_at(sheet, places)[0].amin(0).amax(0)  # (4 * columns - 3,)
    teeth = smooth_step(whitest / peak, *_COLUMN_TOOTH)
    smooth = functional.avg_pool1d(functional.pad(teeth[None], (3, 3), mode="replicate"), 7, 1)[0]
    ends = smooth_step(torch.minimum(along, 1 - along), 0.02, 0.15)
    return (smooth * ends)[::4]


def _premultiplied(picture: torch.Tensor, colourful: float, flesh: float) -> torch.Tensor:
    """A picture of teeth and tongue (height, width, 4) for drawing; what is red in it is lit `flesh` times as much."""
    values = picture.permute(2, 0, 1).float()
    alpha, colours = values[3:] / 255, values[:3]
    white = smooth_step(colours.amin(0) / colours.amax(0).clamp(min=1), 0.55, 0.8)
    lit = (colours * torch.lerp(white.new_tensor(flesh), white.new_tensor(1.0), white)).clamp(max=255)
    return torch.cat([_coloured(lit, colourful) * alpha, alpha])[None]


def _coloured(colours: torch.Tensor, colourful: float) -> torch.Tensor:
    """Colours (3, ...) with so much of their colour, 0 grey .. 1 all."""
    return torch.lerp(colours.mean(0, keepdim=True).expand_as(colours), colours, colourful)


def _normalised(places: torch.Tensor, box: tuple[float, float, float, float]) -> torch.Tensor:
    """Centimetres (frames, n, 2) as grid_sample coordinates of a picture of `box`."""
    left, right, bottom, top = box
    x = (places[..., 0] - left) / (right - left) * 2 - 1
    y = (top - places[..., 1]) / (top - bottom) * 2 - 1
    return torch.stack([x, y], -1)


def _shade(share: Shares, centimetre: float) -> torch.Tensor:
    """Light (frames, n) inside the lips: less under the upper lip and towards the corners."""
    under = 0.72 + 0.28 * smooth_step(share.above / centimetre, -0.05, 0.35)
    over = 0.82 + 0.18 * smooth_step(share.below / centimetre, -0.05, 0.25)
    side = 1 - 0.25 * (2 * share.along.clamp(0, 1) - 1).abs() ** 3
    return under * over * side
