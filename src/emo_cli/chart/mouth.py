"""What is behind the lips: the photo's own inside while it fits, else drawn teeth, tongue and dark."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from emo_cli.chart.geometry import CHIN, LOWER_INNER_LIP, UPPER_INNER_LIP, lip_gaps
from emo_cli.chart.head import smooth_step
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
_SKIN_BLUE = 0.63  # blue relative to red in skin under white light
_LIPS = UPPER_INNER_LIP + LOWER_INNER_LIP[1:-1]
_DEEP = (46.0, 15.0, 16.0)  # sRGB of the throat
_WARMTH = (0.8, 1.15, 1.2)  # exponents of the shade in red, green, blue: light inside a mouth is redder


@dataclass(frozen=True)
class Interior:
    """Teeth and tongue fitted to one portrait.

    Attributes:
        upper, lower: (1, 4, height, width) pictures, colour 0..255 premultiplied by alpha 0..1 (the fourth channel).
        shift: (3,) centimetres from the rig's teeth to this face's; scale: size relative to the rig's.
        jaw: (3,) how far the lower teeth move (y, z) and the chin drops per unit of jaw opening.
        resting: how far the jaw is open in the photo.
        light: (3,) what the scene's light does to white.
    """

    upper: torch.Tensor
    lower: torch.Tensor
    shift: torch.Tensor
    scale: float
    jaw: torch.Tensor
    resting: float
    light: torch.Tensor

    def paint(
        self, sheet: Sheet, points: torch.Tensor, rotation: torch.Tensor, edge: Opening, share: Shares,
        pixels: torch.Tensor, own: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Colours inside the lips.

        Args:
            points: (frames, 468, 3) moved but not turned, upright pixels; rotation: (frames, 3, 3).
            pixels: (frames, n, 2) in a box; own: (frames, 3, height, width) the photo's own inside there.

        Returns:
            (frames, 3, height, width).
        """
        centimetre = 1 / sheet.similarity.scale  # in pixels
        rest, gap = float(sheet.openings[0].gap), edge.gap
        own = own * self._narrowed(sheet, share, centimetre).view(len(own), 1, *own.shape[-2:])
        drawn = smooth_step(gap, 1.15 * rest + 0.02 * centimetre, 1.6 * rest + 0.14 * centimetre)[:, None, None, None]
        if not bool((drawn > 0).any()):
            return own
        size = own.shape[-2:]
        opened = self._opened(sheet, points)
        colour = own.new_tensor(_DEEP)[None, :, None, None] * self.light.mean()
        for picture, box, drop in ((self.lower, LOWER_BOX, opened), (self.upper, UPPER_BOX, None)):
            places = self._places(sheet, rotation, pixels, drop)
            layer = functional.grid_sample(
                picture.expand(len(places), -1, -1, -1), _normalised(places, box).view(len(places), *size, 2),
                "bilinear", "zeros", align_corners=False,
            )  # fmt: skip
            colour = layer[:, :3] * self.light[:, None, None] + colour * (1 - layer[:, 3:])
        shade = _shade(share, centimetre).view(len(own), 1, *size)
        colour = colour * shade ** own.new_tensor(_WARMTH)[:, None, None]
        return own + (colour - own) * drawn

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
            drop[:, 1] += _LOWER_RAISE
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
    seam = face[[13, 14], 1].mean() + 0.35 * opening - mean[[13, 14], 1].mean()
    nose = face[2, 1] - mean[2, 1]
    shift[1] = torch.lerp(seam, nose, min(opening / 0.8, 1.0) * 0.6)
    width = (face[78] - face[308]).norm() / (mean[78] - mean[308]).norm()
    scale = float(width.clamp(0.88, 1.12))
    # Scaling is about the rig's origin: keep the seam where it is.
    anchor = mean[[13, 14]].mean(0)
    front = torch.stack([mean.new_tensor(0.0), mean.new_tensor(0.0), mean[13, 2] - 0.3])
    shift = shift + (1 - scale) * anchor * mean.new_tensor([1.0, 1.0, 0.0]) + front
    light, edge = _light(sheet), None
    if opening > 0.25:
        light, edge = _own_teeth(sheet, light)
    if edge is not None:
        shift[1] += (edge - scale * (_INCISORS - _UPPER_DROP) - shift[1]).clamp(-_EDGE_TRUST, _EDGE_TRUST)
    return Interior(
        upper=_premultiplied(upper),
        lower=_premultiplied(lower),
        shift=shift,
        scale=scale,
        jaw=jaw,
        resting=opening / 3.27,
        light=light,
    )


def _own_teeth(sheet: Sheet, light: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Colour of white and height of the upper teeth's edge, centimetres, where the photo shows its own teeth.

    Looks down the middle columns of the opening for the first bright band and where it ends.

    Returns:
        The light (3,), and the canonical height of the edge or None when there are no bright teeth to see.
    """
    rest = sheet.openings[0]
    along, part = torch.linspace(0.38, 0.62, 13), torch.linspace(0.04, 0.96, 47)
    upper, lower = rest.edges(along[None])
    height = torch.lerp(upper[0][None], lower[0][None], part[:, None])  # (47, 13)
    places = rest.pixels(along.expand(47, -1).reshape(1, -1), height.reshape(1, -1))
    size = places.new_tensor([sheet.photo.shape[3], sheet.photo.shape[2]])
    seen = functional.grid_sample(sheet.photo, (places * 2 / size - 1)[None], "bilinear", align_corners=False)
    colours = seen.view(3, 47, 13).median(2).values  # (3, 47) down the middle
    whiteness = colours.amin(0)  # flesh is poor in blue and green
    peak, at = whiteness[: 47 * 3 // 4].max(0)
    if float(peak) < 0.45 * 255 * float(light.mean()):
        return light, None
    ends = (whiteness[int(at) :] < 0.72 * peak).nonzero()
    row = int(at) + int(ends[0, 0]) if len(ends) else 46
    own = colours[:, max(0, int(at) - 4) : int(at) + 5].mean(1) / colours.new_tensor(_ENAMEL)
    place = places.view(47, 13, 2)[row, 6]
    upright = torch.cat([place * place.new_tensor([1.0, -1.0]), sheet.points[13, 2:]])
    edge = sheet.similarity.apply(upright[None])[0, 1]
    return torch.maximum(own, 0.6 * light).clamp(max=1.1), edge


def _premultiplied(picture: torch.Tensor) -> torch.Tensor:
    values = picture.permute(2, 0, 1)[None].float()
    alpha = values[:, 3:] / 255
    return torch.cat([values[:, :3] * alpha, alpha], 1)


def _normalised(places: torch.Tensor, box: tuple[float, float, float, float]) -> torch.Tensor:
    """Centimetres (frames, n, 2) as grid_sample coordinates of a picture of `box`."""
    left, right, bottom, top = box
    x = (places[..., 0] - left) / (right - left) * 2 - 1
    y = (top - places[..., 1]) / (top - bottom) * 2 - 1
    return torch.stack([x, y], -1)


def _shade(share: Shares, centimetre: float) -> torch.Tensor:
    """Light (frames, n) inside the lips: less under the upper lip and towards the corners."""
    under = 0.6 + 0.4 * smooth_step(share.above / centimetre, -0.05, 0.35)
    over = 0.75 + 0.25 * smooth_step(share.below / centimetre, -0.05, 0.25)
    side = 1 - 0.6 * (2 * share.along.clamp(0, 1) - 1).abs() ** 3
    return under * over * side


def _light(sheet: Sheet) -> torch.Tensor:
    """What the light of the scene makes of white, judged by the skin of cheeks and nose."""
    x, y = sheet.screen[[50, 280, 101, 330, 4, 205, 425]].round().long().unbind(1)
    height, width = sheet.photo.shape[2:]
    skin = sheet.photo[0, :, y.clamp(0, height - 1), x.clamp(0, width - 1)].median(1).values.clamp(min=1)
    brightness = float((skin.mean() / 175).clamp(0.35, 1.0)) ** 0.7
    # Skin redder than usual means warm light; never bluer than white: pale skin says little, and grey teeth look dead.
    warm = (skin[2] / skin[0] / _SKIN_BLUE).clamp(0.4, 1.0)
    return brightness * warm ** skin.new_tensor([0.0, 0.2, 0.45])
