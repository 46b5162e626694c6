"""A face of the rig in a made photo: what the drawing's tests look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import LOWER_INNER_LIP, UPPER_INNER_LIP, upright
from emo_cli.networks.codec import Motion, Strength
from emo_cli.portrait import Box, Portrait
from rig_fixture import small_rig

SIZE, DENSITY = 320, 12.0  # pixels, pixels per centimetre
MOUTH = UPPER_INNER_LIP + LOWER_INNER_LIP[-2:0:-1]
BLUE = (0, 0, 255)
ALL = torch.ones(8, 8)


def portrait(face: torch.Tensor | None = None, painted: tuple[int, ...] = (), margin: int = 4) -> Portrait:
    """A face of the rig on a picture whose red grows to the right and green downwards, `painted` loops in blue."""
    rig = small_rig()
    face = rig.mean if face is None else face
    pixels = upright((face + rig.bias) * DENSITY) + torch.tensor([SIZE / 2, SIZE / 2, 0.0])
    ramp = np.linspace(10, 245, SIZE).round().astype(np.uint8)
    image = np.stack(
        [np.tile(ramp, (SIZE, 1)), np.tile(ramp[:, None], (1, SIZE)), np.zeros((SIZE, SIZE), np.uint8)], -1
    )
    if painted:
        image = np.asarray(
            Image.composite(Image.new("RGB", (SIZE, SIZE), BLUE), Image.fromarray(image), area(pixels, painted))
        )
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[margin : SIZE - margin, margin : SIZE - margin] = 1
    landmarks = np.concatenate([pixels.numpy(), np.zeros((10, 3), np.float32)])
    whole = Box(0, 0, SIZE, SIZE)
    return Portrait(image, landmarks, whole, mask, whole, image, 1.0)


def of_skin(
    face: torch.Tensor, painted: dict[tuple[int, ...], tuple[int, ...]], skin: tuple[int, ...] = (215, 168, 136)
) -> Portrait:
    """A face on a picture of one colour, with loops in others."""
    photo = portrait(face)
    image = Image.new("RGB", (SIZE, SIZE), skin)
    for loop, colour in painted.items():
        image.paste(colour, mask=area(torch.from_numpy(photo.landmarks), loop))
    return replace(photo, image=np.asarray(image), photo=np.asarray(image))


def area(pixels: torch.Tensor, loop: tuple[int, ...]) -> Image.Image:
    """A polygon's coverage of each pixel; Pillow's own polygons are a pixel too large."""
    fine = Image.new("L", (8 * SIZE, 8 * SIZE))
    ImageDraw.Draw(fine).polygon([(8 * float(x), 8 * float(y)) for x, y, _ in pixels[list(loop)]], fill=255)
    return fine.resize((SIZE, SIZE), Image.Resampling.BOX)


def motion(
    codec: FlowCodec, displacement: torch.Tensor | None = None, closure: float = 0.35, **head: list[float]
) -> Motion:
    """One frame; `pose` in degrees and `lids` beside the displacement (468, 3)."""
    displacement = torch.zeros(468, 3) if displacement is None else displacement
    latents = codec.pack(displacement[None], torch.tensor([closure]))
    pose = torch.tensor([head["pose"]]) if "pose" in head else None
    return Motion(latents, pose, torch.tensor(head["lids"]) if "lids" in head else None)


def drawn(
    codec: FlowCodec, photo: Portrait, moves: Motion, size: int | None = None, strength: Strength | None = None
) -> np.ndarray:
    """The only frame, as whole numbers that can be subtracted; all of the picture counts as the person's."""
    frames = list(codec.decode(codec.open(photo, size, ALL), moves, strength or Strength()))
    assert len(frames) == 1
    return frames[0].astype(int)


def open_face(amount: float = 0.3) -> torch.Tensor:
    rig = small_rig()
    return rig.mean + amount * rig.expression("jawOpen")
