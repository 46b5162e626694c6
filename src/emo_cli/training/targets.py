"""What the face should do: turns articulation into mesh displacement for any random face, as training targets."""

from __future__ import annotations

import torch

from emo_cli.chart.codec import FlowCodec
from emo_cli.face.landmarks import LOWER_LIP_INNER_MIDDLE, UPPER_LIP_INNER_MIDDLE
from emo_cli.training.articulation import CURVES
from emo_cli.training.rig import Rig, sides

# One row per muscle action: (expression, what drives it, weight at full drive).
SHAPES = (
    # An open vowel parts the lips by about 12 mm in conversation (Fromkin 1964) and twice as far in shouting
    # (Schulman 1989); lively speech lies between: 20 mm.
    ("jawOpen", "jaw", 0.62),
    ("mouthStretch", "wide", 0.34),  # risorius pulls the corners aside in spread vowels
    ("mouthSmile", "wide", 0.18),  # zygomaticus lifts them a little; stretch alone looks like a grimace
    ("mouthDimple", "wide", 0.10),  # buccinator tucks the corners in against the teeth
    ("cheekSquint", "wide", 0.12),  # raised corners push the cheeks up
    ("mouthPucker", "round", 0.74),  # orbicularis oris narrows the lips and brings them forward
    ("mouthClose", "rounding", 0.04),  # a rounded mouth is a small hole, whatever the jaw does
    ("mouthFunnel", "flare", 0.36),  # lips turn out in sh and open round vowels; less so when puckered
    ("mouthLowerDown", "lower", 0.64),  # depressor labii bares the lower teeth (s, e, i)
    ("mouthUpperUp", "upper", 0.36),  # levator labii bares the upper teeth half as far
    ("mouthPress", "press", 0.40),  # lips are squeezed together while air builds up behind p and b
    ("mouthRollLower", "press", 0.12),  # the squeeze hides part of the red of both lips
    ("mouthRollUpper", "press", 0.12),
    ("mouthRollLower", "labiodental", 0.46),  # in f and v the lower lip goes back under the upper teeth
    ("mouthShrugUpper", "labiodental", 0.15),  # and the upper lip makes room for them
    ("mouthSmile", "smile", 0.50),  # a voice full of energy smiles with mouth and eyes
    ("cheekSquint", "smile", 0.35),
    ("eyeSquint", "smile", 0.15),
    ("browInnerUp", "brows up", 0.60),  # frontalis lifts the inner brow more than the outer one
    ("browOuterUp", "brows up", 0.45),
    ("browDown", "brows down", 0.60),  # corrugator draws them together and down
)

# Rest faces of photos: (expression, how many photos show it, weight at most).
REST = (
    ("mouthSmile", 0.55, 0.90),  # most people smile for a photo
    ("jawOpen", 0.50, 0.40),  # laughing, speaking or singing faces too: lips up to 2 cm apart
    ("mouthUpperUp", 0.40, 0.60),  # smiles with teeth
    ("mouthLowerDown", 0.35, 0.60),
    ("mouthStretch", 0.20, 0.40),
    ("mouthPucker", 0.15, 0.40),
    ("mouthFrown", 0.15, 0.50),
    ("mouthPress", 0.15, 0.60),
    ("browInnerUp", 0.30, 0.60),
    ("browDown", 0.20, 0.50),
    ("eyeSquint", 0.30, 0.80),
    ("eyeWide", 0.15, 0.60),
    ("eyeBlink", 0.15, 0.45),  # half-closed eyes
)

IDENTITY_SPREAD = 0.85
"""Standard deviation of identity modes; below 1 keeps out the caricatures that 40 independent draws produce."""
RELAXED = 0.7
"""How much of the gap that bared lips, not the jaw, leave in a photo relaxes as soon as the face talks."""
MOUTH = (0, 2, 13, 14, 17, 37, 50, 61, 78, 81, 84, 148, 152, 172, 178, 267, 280, 291, 308, 311, 314, 377, 397, 402)
"""Points that tell an open jaw from bared lips: lips, chin, jaw line and cheeks."""


def expression_weights(
    names: tuple[str, ...],
    curves: torch.Tensor,
    brows: torch.Tensor | None = None,
    smile: torch.Tensor | None = None,
) -> torch.Tensor:
    """Turn articulation (..., frames, 10), 0..1, into weights (..., frames, 53) of the expressions `names`.

    `brows` (..., frames) runs from -1 (drawn down) to 1 (raised), `smile` (..., frames) from 0 to 1; without them the
    face rests. Blinks are no expression here: they are a stream of their own (`HeadMotion.lids`).
    """
    drive = _drives(curves, brows, smile)
    weights = curves.new_zeros(*curves.shape[:-1], len(names))
    for expression, name, amount in SHAPES:
        for row in sides(names, expression):
            weights[..., row] += amount * drive[name]
    return weights


def _drives(
    curves: torch.Tensor, brows: torch.Tensor | None, smile: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    curve = {name: curves[..., row] for row, name in enumerate(CURVES)}
    apart = 1 - curve["close"]
    brows = torch.zeros_like(apart) if brows is None else brows
    return {
        # The jaw is heavy: it rises only part of the way when the lips meet, the lips do the rest.
        "jaw": curve["jaw"] * (1 - 0.35 * curve["close"]),
        "wide": curve["wide"],
        "round": curve["round"],
        "rounding": curve["round"] * apart,
        "flare": curve["funnel"] * (1 - 0.4 * curve["round"]) * apart,
        # Lips cannot be bared and shut at once.
        "lower": curve["lower"] * apart,
        "upper": curve["upper"] * apart,
        "press": curve["press"] * curve["close"],
        "labiodental": curve["labiodental"] * apart,
        # Rounded lips cannot be drawn aside.
        "smile": torch.zeros_like(apart) if smile is None else smile * (1 - 0.7 * curve["round"]),
        "brows up": brows.clamp(min=0),
        "brows down": (-brows).clamp(min=0),
    }


def random_reference(rig: Rig, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw the geometry (count, 468, 3), cm, of `count` photos of different people with some rest expression.

    On top of the rig's own variety: a slightly asymmetric rest face, 6 % of stretch per axis, dents of 0.12 cm,
    and 0.02 cm of noise per point, because painted faces and landmark finders are not ICT heads.
    """
    modes = IDENTITY_SPREAD * torch.randn(count, 40, generator=generator)
    faces = rig.mean + _combine(modes, rig.identities[:40]) + _combine(_rest(rig, count, generator), rig.expressions)
    centre = rig.mean.mean(0)
    faces = centre + (faces - centre) * (1 + 0.06 * torch.randn(count, 1, 3, generator=generator))
    return faces + _dents(rig, count, generator) + 0.02 * torch.randn(faces.shape, generator=generator)


def _rest(rig: Rig, count: int, generator: torch.Generator) -> torch.Tensor:
    weights = torch.zeros(count, len(rig.names))
    for expression, share, most in REST:
        shown = (torch.rand(count, generator=generator) < share) * torch.rand(count, generator=generator) * most
        for row in sides(rig.names, expression):
            weights[:, row] = shown * (0.85 + 0.3 * torch.rand(count, generator=generator))
    return weights


def _dents(rig: Rig, count: int, generator: torch.Generator, dents: int = 16) -> torch.Tensor:
    centres = rig.mean[torch.randint(len(rig.mean), (count, dents), generator=generator)]
    width = 1.2 + 1.8 * torch.rand(count, dents, 1, generator=generator)
    bump = torch.exp(-0.5 * (torch.cdist(centres, rig.mean) / width) ** 2)  # (count, dents, 468)
    return bump.transpose(1, 2) @ (0.13 * torch.randn(count, dents, 3, generator=generator))


def displacement(
    rig: Rig, codec: FlowCodec, canonical: torch.Tensor, weights: torch.Tensor, closure: torch.Tensor
) -> torch.Tensor:
    """Move faces: displacement (batch, frames, 468, 3), cm, from the photo's geometry.

    The photo's smile stays while it talks, its opening goes: the jaw closes by what `rest_jaw` reads, and what
    bared lips leave open relaxes by `RELAXED`. Lips meet exactly where `closure` is 1, and never cross further
    than in the photo.

    Args:
        canonical: (batch, 468, 3), cm.
        weights: (batch, frames, 53).
        closure: (batch, frames), 0..1, how far the lips must be shut whatever the weights say.
    """
    closed_jaw = -rest_jaw(rig, canonical)[:, None, None] * rig.expression("jawOpen")
    relaxed = canonical.new_full((len(canonical), 1), RELAXED)
    rest = codec.close_lips(canonical[:, None], closed_jaw[:, None], relaxed)  # (batch, 1, 468, 3)
    return codec.close_lips(canonical[:, None], rest + _combine(weights, rig.expressions), closure)


def rest_jaw(rig: Rig, canonical: torch.Tensor) -> torch.Tensor:
    """Read how far a photo's jaw is open: (batch,) weights of jawOpen, 0 or more, from (batch, 468, 3).

    The lip gap alone would take every smile with teeth for an open jaw. This is the linear estimate of least
    mean square error, given how faces differ (identities), which rest faces photos show (`REST`) and 0.1 cm of
    anything else; where the lips touch the jaw is closed.
    """
    points = torch.tensor(MOUTH)
    jaw = rig.expression("jawOpen")[points].flatten()
    rest = torch.stack([(share / 3) ** 0.5 * most * rig.expression(name)[points] for name, share, most in REST])
    stretch = 0.06 * torch.diag_embed((rig.mean - rig.mean.mean(0))[points]).transpose(0, 1)  # (3, points, 3)
    ways = torch.cat([rest, IDENTITY_SPREAD * rig.identities[:, points], stretch]).flatten(1)
    covariance = ways.T @ ways + 0.1**2 * torch.eye(len(jaw))
    share, most = next((share, most) for name, share, most in REST if name == "jawOpen")
    reader = share / 3 * most**2 * torch.linalg.solve(covariance, jaw)
    open_jaw = ((canonical - rig.mean)[:, points].flatten(1) @ reader).clamp(min=0)
    gap = canonical[:, UPPER_LIP_INNER_MIDDLE, 1] - canonical[:, LOWER_LIP_INNER_MIDDLE, 1]
    closed_gap = rig.mean[UPPER_LIP_INNER_MIDDLE, 1] - rig.mean[LOWER_LIP_INNER_MIDDLE, 1]
    full = rig.expression("jawOpen")[UPPER_LIP_INNER_MIDDLE, 1] - rig.expression("jawOpen")[LOWER_LIP_INNER_MIDDLE, 1]
    return torch.minimum(open_jaw, (gap - closed_gap).clamp(min=0) / full)


def _combine(weights: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
    """Sum `shapes` (n, 468, 3) with weights (..., n) into (..., 468, 3)."""
    total = weights @ shapes.flatten(1)
    return total.reshape(*weights.shape[:-1], *shapes.shape[1:])
