"""`--framing full`: the moving head in the untouched photo, no border to be seen, at any size and shape."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emo_cli import footage, portrait, video
from emo_cli.animate import AnimateOptions, animate
from emo_cli.portrait import Portrait

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"
SONG = PHOTO.with_name("song.wav")


def placed(width: int, height: int, side: int, left: int, top: int) -> bytes:
    """The person, `side` pixels large, somewhere in a picture of soft colours."""
    down, across = np.mgrid[0:height, 0:width]
    ramp = np.stack([across * 120 / width + 40, down * 120 / height + 40, np.full((height, width), 90)], -1)
    picture = Image.fromarray(ramp.astype(np.uint8))
    picture.paste(Image.open(PHOTO).resize((side, side)), (left, top))
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()


def moved(framed: Portrait, pixels: int) -> np.ndarray:
    """A frame as models make them: what the mask frees has moved aside, the rest stands still."""
    aside = np.roll(framed.image, pixels, axis=1).astype(np.float32)
    mixed = framed.image + framed.mask[..., None] * (aside - framed.image)
    return np.rint(mixed).astype(np.uint8)


@pytest.mark.parametrize("shape", [(700, 620, 500, 150, 60), (1500, 500, 480, 900, 10), (400, 1300, 380, 10, 500)])
def test_the_border_of_the_pasted_head_adds_no_step(shape: tuple[int, ...]) -> None:
    framed = portrait.read(placed(*shape), framing="full")
    composed = framed.compose(moved(framed, 6)).astype(float)
    assert composed.shape == framed.photo.shape
    black, white = (framed.compose(np.full_like(framed.image, level)).astype(int) for level in (0, 255))
    covered = (white - black).mean(2) > 0
    change = composed - framed.photo
    steps = []
    for axis in (0, 1):
        border = np.diff(covered.astype(int), axis=axis) != 0
        steps.append(np.abs(np.diff(change, axis=axis)).mean(2)[border])
    assert np.concatenate(steps).mean() < 1.5
    assert np.array_equal(composed[~covered], framed.photo[~covered])
    assert np.abs(change).max() > 20, "the head did not move at all"


def test_the_video_has_the_photo_s_shape_and_its_still_parts(model: Path, tmp_path: Path) -> None:
    (tmp_path / "wide.png").write_bytes(placed(900, 401, 380, 500, 10))
    wishes = AnimateOptions(
        tmp_path / "wide.png", SONG, tmp_path / "x.mp4", framing="full", duration=0.2, model=str(model),
    )  # fmt: skip
    made = animate(wishes)
    frames = list(footage.read(made.path))
    photo = portrait.decode_photo(tmp_path / "wide.png")
    assert frames[0].shape == (402, 900, 3)  # an odd side is made even
    assert max(np.abs(frame[:401, :300].astype(int) - photo[:, :300]).mean() for frame in frames) < 2


@pytest.mark.slow
def test_a_photo_of_8k_stays_one(tmp_path: Path) -> None:
    framed = portrait.read(placed(7680, 4320, 1600, 4000, 900), framing="full")
    found = footage.probe(video.write(tmp_path / "x.mp4", [framed.compose(moved(framed, 4))], 25).path)
    assert (found.width, found.height, found.frames) == (7680, 4320, 1)
