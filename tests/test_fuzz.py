"""Damaged photos and sounds, five hundred of each: either they are read, or one sentence says why not."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image

from emo_cli import photo, speech
from emo_cli.errors import InputError

PATIENCE = 20_000  # milliseconds that one file may take
FIVE_HUNDRED = settings(
    max_examples=500,
    deadline=PATIENCE,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PICTURES = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "ICO", "TGA", "JPEG2000")
SOUNDS = (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_24"), ("MP3", None))


@cache
def picture(kind: str) -> bytes:
    shades = np.random.default_rng(0).integers(0, 255, (72, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(shades).save(file, format=kind)
    return file.getvalue()


@cache
def sound(kind: tuple[str, str | None]) -> bytes:
    file = io.BytesIO()
    tone = 0.3 * np.sin(np.arange(4800) / 9)
    soundfile.write(file, tone, 16_000, format=kind[0], subtype=kind[1])
    return file.getvalue()


@some.composite
def damage(draw: some.DrawFn) -> list[tuple[str, float, bytes]]:
    """What happens to a file, in order: an action, a place (0..1 of the length, mostly in the header), some bytes."""
    place = some.one_of(some.floats(0, 0.1, allow_subnormal=False), some.floats(0, 1, allow_subnormal=False))
    action = some.sampled_from(["replace", "insert", "remove", "cut", "repeat"])
    return draw(some.lists(some.tuples(action, place, some.binary(min_size=1, max_size=8)), min_size=1, max_size=6))


def harmed(content: bytes, harm: list[tuple[str, float, bytes]]) -> bytes:
    for action, place, new in harm:
        at = int(place * len(content))
        head, tail = content[:at], content[at:]
        content = {
            "replace": head + new + tail[len(new) :],
            "insert": head + new + tail,
            "remove": head + tail[len(new) :],
            "cut": head,
            "repeat": head + tail + tail,
        }[action]
    return content


@FIVE_HUNDRED
@given(kind=some.sampled_from(PICTURES), harm=damage())
def test_a_damaged_photo_is_read_or_refused_in_one_sentence(kind: str, harm: list[tuple[str, float, bytes]]) -> None:
    try:
        pixels = photo.decode(harmed(picture(kind), harm))
    except InputError as refusal:
        assert str(refusal).count("\n") == 0 and str(refusal).startswith("The photo stdin")
    else:
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3


@pytest.mark.slow
@FIVE_HUNDRED
@given(kind=some.sampled_from(SOUNDS), harm=damage())
def test_a_damaged_sound_is_read_or_refused_in_one_sentence(
    tmp_path: Path, kind: tuple[str, str | None], harm: list[tuple[str, float, bytes]]
) -> None:
    path, content = tmp_path / "sound", harmed(sound(kind), harm)
    path.write_bytes(content)
    try:
        heard = speech.read(path)
    except InputError as refusal:
        assert str(refusal).count("\n") == 0 and str(path) in str(refusal)
    else:
        assert np.isfinite(heard.waveform).all() and len(heard.waveform) > 0
    assert path.read_bytes() == content, "the user's file was changed"
