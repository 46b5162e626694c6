"""Contact sheets of one face after the other, so that everybody can look at what the bundled model's drawing does.

    python benchmarks/picture_sheet.py PHOTO... --rig rig.npz --out FOLDER [--codec FOLDER] [--size 512] [--tint R G B]

Writes, per photo, NAME-whole.png (all poses), NAME-mouth.png and NAME-eyes.png (close-ups), and prints one JSON line
with milliseconds of processor time per frame and how far anything outside the person's region was moved, in pixels.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from emo_cli import portrait as portraits
from emo_cli import weights
from emo_cli.chart.backdrop import believed
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import POINTS, upright
from emo_cli.chart.head import LIMITS
from emo_cli.networks.codec import Canvas, Motion, Strength
from emo_cli.portrait import Portrait
from emo_cli.training.articulation import CURVES
from emo_cli.training.rig import Rig
from emo_cli.training.targets import displacement, expression_weights

MOUTH, EYES = (61, 291, 0, 17), (33, 263, 159, 386, 145, 374)
TILE, COLUMNS = 384, 6
SLOPE = 4  # levels per pixel of the pattern that tells how far the background moves
BESIDE = 0.015  # of the longer side: what is that near to the person counts as part of it


@dataclass(frozen=True)
class Look:
    """One tile of a sheet: articulation by curve, expressions by name, degrees of pose and gaze, lids 1 closed."""

    name: str
    curves: tuple[tuple[str, float], ...] = ()
    shapes: tuple[tuple[str, float], ...] = ()
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lids: float = 0.0
    gaze: tuple[float, float] | None = None
    still: bool = False


OPEN = (("jaw", 0.85), ("wide", 0.25), ("lower", 0.35), ("upper", 0.25))
SMILE = (("mouthSmile_L", 0.6), ("mouthSmile_R", 0.6), ("mouthStretch_L", 0.2), ("mouthStretch_R", 0.2))
LOOKS = (
    Look("rest", still=True),
    Look("a", OPEN),
    Look("a loud", (*OPEN[1:], ("jaw", 1.4))),
    Look("m", (("jaw", 0.14), ("close", 1.0), ("press", 0.5))),
    Look("pause", (("jaw", 0.28), ("lower", 0.14), ("wide", 0.05))),
    Look("s", (("jaw", 0.18), ("wide", 0.38), ("lower", 0.6), ("upper", 0.3))),
    Look("o", (("jaw", 0.48), ("round", 0.48), ("funnel", 0.6))),
    Look("u", (("jaw", 0.24), ("round", 0.85), ("funnel", 0.45))),
    Look("f", (("jaw", 0.14), ("labiodental", 1.0), ("upper", 0.25))),
    Look("smile", (("close", 0.9),), SMILE),
    Look("smile e", (("jaw", 0.5), ("wide", 0.5), ("lower", 0.4), ("upper", 0.25)), SMILE),
    Look("lids half", lids=0.5, still=True),
    Look("lids shut", lids=1.0, still=True),
    Look("left", pose=(-12.0, 0.0, 0.0), still=True),
    Look("right", pose=(12.0, 0.0, 0.0), still=True),
    Look("up", pose=(0.0, -8.0, 0.0), still=True),
    Look("down", pose=(0.0, 8.0, 0.0), still=True),
    Look("rolled", pose=(0.0, 0.0, 8.0), still=True),
    Look("rolled back", pose=(0.0, 0.0, -8.0), still=True),
    Look("a left, shut", OPEN, pose=(-12.0, 6.0, 0.0), lids=1.0),
    Look("a right, rolled", OPEN, pose=(12.0, -5.0, 6.0)),
    Look("looks left", gaze=(-8.0, 0.0), still=True),
    Look("looks right, up", gaze=(8.0, -5.0), still=True),
    Look("looks down", gaze=(0.0, 6.0), still=True),
    Look("turned, looks here", pose=(-9.0, 3.0, 0.0), gaze=(0.0, 0.0), still=True),
)  # fmt: skip


def motion(codec: FlowCodec, rig: Rig, canvas: Canvas) -> Motion:
    """All looks as frames of one motion, made as the teacher makes its targets."""
    curves = torch.tensor([[dict(look.curves).get(name, 0.0) for name in CURVES] for look in LOOKS])
    chosen = expression_weights(rig.names, curves)
    for row, look in enumerate(LOOKS):
        for name, amount in look.shapes:
            chosen[row, rig.names.index(name)] += amount
    canonical, closure = canvas.sheet.sheet.canonical, curves[:, CURVES.index("close")]
    moved = displacement(rig, codec, canonical[None], chosen[None], closure[None])[0]
    still = torch.tensor([look.still for look in LOOKS])
    moved[still] = 0
    return Motion(
        codec.pack(moved, torch.where(still, torch.tensor(0.35), closure)),
        torch.tensor([look.pose for look in LOOKS]),
        torch.tensor([look.lids for look in LOOKS]),
        torch.tensor([look.pose[:2] if look.gaze is None else look.gaze for look in LOOKS]),  # looks along by default
    )


def tinted(portrait: Portrait, tint: tuple[float, float, float]) -> Portrait:
    """The portrait under coloured light: its sRGB values times `tint`."""
    image = (portrait.image * np.asarray(tint)).round().clip(0, 255).astype(np.uint8)
    return replace(portrait, image=image)


def around(points: np.ndarray, size: int, room: float) -> tuple[int, int, int]:
    """Left, top and side of a square around points (n, 2), with so many times their width."""
    side = min(int(room * np.ptp(points[:, 0])), size)
    x, y = points.mean(0) - side / 2
    return int(np.clip(x, 0, size - side)), int(np.clip(y, 0, size - side)), side


def sheet(frames: list[np.ndarray], window: tuple[int, int, int]) -> Image.Image:
    """All looks side by side, each with its name."""
    left, top, side = window
    rows = -(-len(frames) // COLUMNS)
    out = Image.new("RGB", (COLUMNS * TILE, rows * TILE))
    for index, (frame, look) in enumerate(zip(frames, LOOKS, strict=True)):
        tile = Image.fromarray(frame[top : top + side, left : left + side])
        tile = tile.resize((TILE, TILE), Image.Resampling.BICUBIC if side < TILE else Image.Resampling.LANCZOS)
        ImageDraw.Draw(tile).text((4, 2), look.name, fill=(255, 255, 0), stroke_width=1, stroke_fill=(0, 0, 0))
        out.paste(tile, (index % COLUMNS * TILE, index // COLUMNS * TILE))
    return out


def cost(codec: FlowCodec, canvas: Canvas, moves: Motion, repeats: int = 6) -> float:
    """Milliseconds of processor time per frame."""
    parts = (moves.latents, moves.pose, moves.lids, moves.gaze)
    many = Motion(*(part.repeat(repeats, *[1] * (part.ndim - 1)) for part in parts))
    next(iter(codec.decode(canvas, moves, Strength())))
    began = time.process_time()
    count = sum(1 for _ in codec.decode(canvas, many, Strength()))
    return (time.process_time() - began) / count * 1000


def outside(portrait: Portrait, codec: FlowCodec) -> float:
    """The largest shift in pixels, at half the limits of pose, of what is neither person nor next to it.

    It is read from a pattern that takes the photo's place, while what is person and what background stays the photo's.
    """
    height, width = portrait.image.shape[:2]
    points = upright(torch.from_numpy(portrait.landmarks[:POINTS].astype(np.float32)))
    belief = believed(torch.tensor(portrait.image).permute(2, 0, 1)[None].float(), points)
    person = functional.interpolate(belief[None, None], (height, width), mode="bilinear") > 0.02
    across, down = (np.abs(np.arange(side) * SLOPE % 400 - 200) + 20 for side in (width, height))
    marked = person[0, 0].numpy() * 255
    image = np.stack([*np.broadcast_arrays(across, down[:, None]), marked], -1).astype(np.uint8)
    canvas = codec.open(replace(portrait, image=image), belief=belief)
    half = torch.cat([torch.diag(torch.tensor(LIMITS)), -torch.diag(torch.tensor(LIMITS))]) / 2
    most, beside = 0.0, 2 * round(BESIDE * max(height, width)) + 1
    for frame in codec.decode(canvas, Motion(torch.zeros(len(half), codec.channels, 8, 8), half), Strength()):
        near = torch.from_numpy(np.maximum(frame[..., 2], image[..., 2]) > 5).float()
        far = functional.max_pool2d(near[None], beside, 1, beside // 2)[0].numpy() == 0
        shift = np.abs(frame.astype(int) - image)[far][:, :2] / SLOPE
        most = max(most, float(shift.max(initial=0)))
    return most


def main() -> None:
    """Draw, save and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--rig", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--codec", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--tint", type=float, nargs=3, default=(1.0, 1.0, 1.0))
    parser.add_argument("--suffix", default="")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    codec = FlowCodec.from_pretrained(chosen.codec or weights.locate("mini") / "codec").eval()
    rig = Rig.load(chosen.rig)
    chosen.out.mkdir(parents=True, exist_ok=True)
    for photo in chosen.photos:
        portrait = tinted(portraits.read(photo, size=chosen.size), chosen.tint)
        canvas = codec.open(portrait)
        moves = motion(codec, rig, canvas)
        frames = list(codec.decode(canvas, moves, Strength()))
        name = (photo.parent.name if photo.stem == "ref" else photo.stem) + chosen.suffix
        mouth, eyes = (portrait.landmarks[list(points), :2] for points in (MOUTH, EYES))
        windows = {
            "whole": (0, 0, chosen.size),
            "mouth": around(mouth, chosen.size, 2.0),
            "eyes": around(eyes, chosen.size, 1.35),
        }
        for view, window in windows.items():
            sheet(frames, window).save(chosen.out / f"{name}-{view}.png")
        row = {
            "photo": name,
            "size": chosen.size,
            "turned_degrees": round(canvas.sheet.sheet.turned, 1),
            "milliseconds_per_frame": round(cost(codec, canvas, moves), 2),
            "moved_outside_pixels": round(outside(portrait, codec), 2),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
