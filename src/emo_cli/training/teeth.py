"""Pictures of teeth, gums and tongue, rendered once from the head model for the bundled model's mouth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from emo_cli.chart.geometry import CHIN
from emo_cli.chart.head import smooth_step
from emo_cli.chart.mouth import LOWER_BOX, LOWER_OPENING, PICTURE_DENSITY, UPPER_BOX
from emo_cli.chart.raster import rasterise

if TYPE_CHECKING:
    from emo_cli.training.rig import HeadModel, Rig

_GUMS, _TEETH_END = 14034, 21496  # polygon numbers of the head model: gums and tongue, then teeth
_TEETH = 17006
_FINE = 4  # supersampling
_TOOTH, _FLESH = (232.0, 224.0, 208.0), (205.0, 105.0, 105.0)
_WARMTH = (0.8, 1.2, 1.3)  # exponents of the shade in red, green, blue
_LOWER_TILT = 6.0  # degrees: lower teeth are seen a little from above


def mouth_pictures(head: HeadModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Upper teeth with gum, and lower teeth with gum and tongue.

    Returns:
        Two pictures (height, width, 4) uint8, colour and alpha, of `UPPER_BOX` and `LOWER_BOX` in centimetres.
    """
    inside = (head.face_ids >= _GUMS) & (head.face_ids < _TEETH_END)
    jaw = head.expressions[head.names.index("jawOpen")]
    below = (jaw[head.triangles] ** 2).sum(-1).mean(-1) > 0.3**2
    upper = _picture(head, head.neutral, inside & ~below, UPPER_BOX, 0.0)
    opened = head.neutral + LOWER_OPENING * jaw
    lower = _picture(head, opened, inside & below, LOWER_BOX, _LOWER_TILT)
    return upper, lower


def jaw_travel(head: HeadModel, rig: Rig) -> torch.Tensor:
    """Per unit of jaw opening: y and z of the lower incisors, and how far the chin drops, centimetres (3,)."""
    jaw = head.expressions[head.names.index("jawOpen")]
    below = (jaw**2).sum(-1) > 0.3**2
    teeth = np.unique(head.triangles[(head.face_ids >= _TEETH) & (head.face_ids < _TEETH_END)])
    front = teeth[below[teeth] & (head.neutral[teeth, 2] > 9.8)]
    y, z = jaw[front, 1].mean(), jaw[front, 2].mean()
    drop = -rig.expression("jawOpen")[list(CHIN), 1].mean()
    return torch.tensor([float(y), float(z), float(drop)])


def _picture(
    head: HeadModel, vertices: np.ndarray, chosen: np.ndarray, box: tuple[float, float, float, float], tilt: float
) -> torch.Tensor:
    triangles = head.triangles[chosen].astype(np.int64)
    tooth = head.face_ids[chosen] >= _TEETH
    seen = _tilted(vertices, tilt)
    normal = np.cross(seen[triangles[:, 1]] - seen[triangles[:, 0]], seen[triangles[:, 2]] - seen[triangles[:, 0]])
    smooth = np.zeros_like(seen)
    for corner in range(3):
        np.add.at(smooth, triangles[:, corner], normal)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True) + 1e-9
    front = normal[:, 2] > 0
    triangles, tooth = triangles[front], tooth[front]
    order = seen[triangles, 2].mean(1).argsort().argsort()
    kind = np.repeat(tooth[:, None, None].astype(np.float32), 3, 1)
    values = np.concatenate([smooth[triangles], seen[triangles][..., 2:], kind], -1)  # normal, depth, tooth
    left, right, bottom, top = box
    density = PICTURE_DENSITY * _FINE
    places = np.stack([(seen[..., 0] - left) * density, (top - seen[..., 1]) * density], -1)[triangles]
    drawn, covered = rasterise(
        torch.from_numpy(places).float()[None],
        torch.from_numpy(values).float()[None],
        torch.from_numpy(order)[None],
        round((top - bottom) * density),
        round((right - left) * density),
    )
    colour, alpha = _shaded(drawn[0], covered[0].float())
    return _finished(colour, alpha)


def _tilted(vertices: np.ndarray, degrees: float) -> np.ndarray:
    """Vertices turned about the incisors so that they are seen from above."""
    angle = math.radians(degrees)
    centre = np.array([0.0, -4.7, 9.9])
    turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    turned: np.ndarray = ((vertices - centre) @ turn.T + centre).astype(np.float32)
    return turned


def _shaded(drawn: torch.Tensor, covered: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour (height, width, 3) and alpha from normal, depth and kind (height, width, 5): soft light, dark behind."""
    normal, depth = drawn[..., :3], drawn[..., 3]
    # Teeth stick through the gum with ragged edges: where one ends and the other begins is smoothed.
    tooth = smooth_step(_blurred(drawn[None, None, ..., 4] * covered, 0.06)[0, 0], 0.35, 0.65)
    tooth = torch.maximum(tooth, (_blurred(covered[None, None], 0.06)[0, 0] < 0.97) * drawn[..., 4])
    light = (normal @ normal.new_tensor([0.0, 0.3, 0.95])).clamp(0, 1)
    light = torch.lerp(0.35 + 0.65 * light, 0.72 + 0.28 * light, tooth)
    behind = (10.4 - depth).clamp(min=0)
    fall = (1 - behind / torch.lerp(normal.new_tensor(9.0), normal.new_tensor(6.5), tooth)).clamp(0.05, 1)
    # Light that reaches the back has been reflected by flesh: it is redder.
    warm = (light * fall)[..., None] ** normal.new_tensor(_WARMTH)
    flesh, enamel = normal.new_tensor(_FLESH), normal.new_tensor(_TOOTH)
    colour = torch.lerp(flesh, enamel, tooth[..., None]) * warm
    return colour, covered * torch.maximum(smooth_step(depth, 6.5, 8.5), drawn[..., 4])


def _finished(colour: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """Averaged down, the cracks between teeth filled with soft dark instead of black, edges feathered."""
    layers = torch.cat([colour.permute(2, 0, 1) * covered, covered[None]])[None]
    filled = _blurred(layers, 0.05)
    near = _blurred((covered[None, None] > 0.5).float(), 0.07)[:, 0] > 0.5  # closes cracks, keeps the outline
    crack = filled[:, :3] / filled[:, 3:].clamp(min=1e-3) * 0.62
    solid = layers[:, 3:]
    colour = layers[:, :3] + crack * (1 - solid)
    alpha = torch.maximum(solid, near[:, None].float())
    out = functional.avg_pool2d(torch.cat([colour * alpha, alpha], 1), _FINE)
    kernel = out.new_tensor([0.2, 0.6, 0.2])
    kernel = (kernel[:, None] * kernel).expand(4, 1, 3, 3)
    out = functional.conv2d(functional.pad(out, (1, 1, 1, 1), mode="replicate"), kernel, groups=4)
    plain = torch.cat([out[:, :3] / out[:, 3:].clamp(min=1e-3), out[:, 3:] * 255], 1)
    return plain[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


def _blurred(layers: torch.Tensor, centimetres: float) -> torch.Tensor:
    """Gaussian blur of (1, channels, height, width)."""
    sigma = centimetres * PICTURE_DENSITY * _FINE
    reach = math.ceil(2.5 * sigma)
    x = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(layers.shape[1], 1, -1)
    padded = functional.pad(layers, (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(padded, kernel[:, :, None], groups=layers.shape[1])
    return functional.conv2d(across, kernel[..., None], groups=layers.shape[1])
