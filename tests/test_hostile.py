"""A hostile corpus through the whole command: the documented code, one sentence, inputs untouched, nothing left."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from emo_cli.cli.app import main

EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTO = EXAMPLES / "portrait.jpg"
PATIENCE = 20.0  # seconds of this process that one bad file may take

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Call]:
    """`emo animate` in this process: its code and its words; checks that it leaves no temporary file."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def calling(*words: str | Path) -> tuple[int, str]:
        common = ["--model", model, "--size", "128", "--duration", "0.1", "-q"]
        monkeypatch.setattr(sys, "argv", ["emo", "animate", *map(str, common), *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        assert list(scratch.iterdir()) == []
        return code, capsys.readouterr().err

    yield calling
    for number, handler in kept.items():
        signal.signal(number, handler)


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder and its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


LONG = "ü" * 120 + "😀" * 2
STEMS = ["a b", 'q"uo\'te', "new\nline", "-dash", "--help", "%03d", "a?b#c&d", "http:x", "$(touch x)`touch y`", LONG]


@pytest.mark.parametrize("stem", STEMS, ids=range(len(STEMS)))
def test_any_name_of_photo_sound_and_video_is_a_file_s_name(call: Call, tmp_path: Path, stem: str) -> None:
    ending = ".mp4" if stem != LONG else "abc.mp4"
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    photo, sound = tmp_path / "in" / f"{stem}.jpg", tmp_path / "in" / f"{stem}.wav"
    Image.open(PHOTO).resize((256, 256)).save(photo, "JPEG")
    soundfile.write(sound, 0.1 * np.sin(np.arange(4000) / 9), 16_000, format="WAV")
    before = state(tmp_path)
    os.chdir(tmp_path / "in")
    code, said = call("-o", f"../out/{stem}{ending}", "--", photo.name, sound.name)
    assert (code, said) == (0, "")
    after = state(tmp_path)
    assert after.items() >= before.items()
    assert set(after) - set(before) == {f"out/{stem}{ending}"}
    assert stem != LONG or len(os.fsencode(f"{stem}{ending}")) == 255


def _png(width: int, height: int) -> bytes:
    """A PNG that promises many pixels and holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def _picture(mode: str, size: tuple[int, int], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


def _sound(samples: np.ndarray, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype=subtype)
    return file.getvalue()


PHOTOS = {
    "zero.jpg": (b"", 3), "cut.jpg": (PHOTO.read_bytes()[:9000], 3), "text.png": (b"no picture\n" * 50, 3),
    "bomb.png": (_png(60_000, 60_000), 3), "promise.png": (_png(500, 500), 3), "dot.png": (_picture("L", (1, 1)), 3),
    "ribbon.png": (_picture("1", (30_000, 1)), 3), "sound.jpg": (_sound(np.zeros(99)), 3),
    "deep.png": (_picture("I;16", (300, 300)), 4), "ink.tif": (_picture("CMYK", (300, 300), "TIFF"), 4),
    "palette.gif": (_picture("P", (300, 300), "GIF"), 4), "wrong.jpg": (_picture("RGB", (300, 300)), 4),
}  # fmt: skip
SOUNDS = {
    "zero.wav": (b"", 3), "none.wav": (_sound(np.zeros(0)), 3), "text.mp3": (b"la la la\n" * 99, 3),
    "photo.wav": (PHOTO.read_bytes(), 3), "cut.flac": (b"fLaC" + bytes(30), 3), "header.wav": (b"RIFF\xff\xff", 3),
    "one.wav": (_sound(np.full(1, 0.5)), 0), "nan.wav": (_sound(np.full(1600, np.nan)), 0),
    "infinite.wav": (_sound(np.full(1600, np.inf)), 0), "clipped.wav": (_sound(np.full(1600, 9e9)), 0),
    "offset.wav": (_sound(np.full(1600, 0.9), "PCM_16"), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", [*PHOTOS, *SOUNDS])
def test_a_bad_file_gets_its_code_and_one_sentence(call: Call, tmp_path: Path, name: str) -> None:
    content, expected = (PHOTOS | SOUNDS)[name]
    (tmp_path / name).write_bytes(content)
    good = EXAMPLES / "song.wav" if name in PHOTOS else PHOTO
    before, began = state(tmp_path), time.process_time()
    code, said = call(*((name, good) if name in PHOTOS else (good, name)), "-o", "made.mp4")
    assert time.process_time() - began < PATIENCE
    assert code == expected, said
    assert said.count("\n") == (code != 0) and "Traceback" not in said
    after = state(tmp_path)
    assert after.items() >= before.items()
    assert set(after) - set(before) == ({"made.mp4"} if code == 0 else set())


@pytest.mark.parametrize("place", ["nowhere/ffmpeg", "ffmpeg"])
def test_without_ffmpeg_it_is_code_6(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "ffmpeg").write_text("no program")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / place))
    code, said = call(PHOTO, EXAMPLES / "song.wav", "-o", "made.mp4")
    assert code == 6 and said.count("\n") == 1 and "imageio-ffmpeg" in said
    assert not (tmp_path / "made.mp4").exists()
