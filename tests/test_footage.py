"""Video in: frames in order and by their time, what a file holds, what is no video."""

from __future__ import annotations

import itertools
import subprocess
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from emo_cli import footage, video
from emo_cli.errors import InputError
from test_video import frames, track


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    written = video.write(tmp_path / "grey.mp4", frames(60), 25)
    brightness = [frame.mean() for frame in footage.read(written.path)]
    assert np.abs(np.array(brightness) - (20 + 2 * np.arange(60))).max() < 1.5


def test_frames_come_back_at_another_rate(tmp_path: Path) -> None:
    written = video.write(tmp_path / "grey.mp4", frames(50), 25)
    assert len(list(footage.read(written.path, fps=50))) == 100
    assert len(list(footage.read(written.path, fps=12.5))) == 25


@pytest.mark.parametrize("first", (0, 1, 29, 57))
def test_a_part_in_the_middle_is_found_by_its_time(tmp_path: Path, first: int) -> None:
    written = video.write(tmp_path / "grey.mp4", frames(60), 30000 / 1001)
    start = max(first - 0.5, 0) / (30000 / 1001)
    brightness = [frame.mean() for frame in footage.read(written.path, start=start, count=3)]
    assert np.abs(np.array(brightness) - (20 + 2 * np.arange(first, first + 3))).max() < 1.5


def test_a_sound_that_begins_later_than_the_pictures_is_told(tmp_path: Path) -> None:
    sound = track(tmp_path, 1.0)
    video.write(tmp_path / "together.mkv", frames(25), 25, sound)
    assert footage.probe(tmp_path / "together.mkv").sound_delay == pytest.approx(0, abs=0.03)
    inputs = ["-i", tmp_path / "together.mkv", "-itsoffset", "0.2", "-i", sound.source, "-map", "0:v", "-map", "1:a"]
    codecs = ["-c:v", "copy", "-c:a", "pcm_s16le", tmp_path / "later.mov"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *inputs, *codecs], check=True)
    assert footage.probe(tmp_path / "later.mov").sound_delay == pytest.approx(0.2, abs=0.03)


def test_a_video_without_sound_has_no_sound_track(tmp_path: Path) -> None:
    assert footage.probe(video.write(tmp_path / "mute.mp4", frames(3), 25).path).sound_seconds is None


AWKWARD = 'a=b; # "quotes" \\ back\nnext line [x] ä 你好'


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("keys", [("title", "comment"), ("comment", "digitalsourcetype")])
def test_tags_are_read_back(tmp_path: Path, suffix: str, keys: tuple[str, str]) -> None:
    wanted = {keys[0]: "emo", keys[1]: AWKWARD}
    written = video.write(tmp_path / f"tagged{suffix}", frames(2), 25, tags=wanted)
    assert wanted.items() <= footage.tags(written.path).items()


def test_a_reader_that_stops_early_stops_ffmpeg(tmp_path: Path) -> None:
    written = video.write(tmp_path / "grey.mp4", frames(200, 128, 128), 25)
    reader = footage.read(written.path)
    assert [frame.shape for frame in itertools.islice(reader, 2)] == [(128, 128, 3)] * 2
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("kind", ["text", "missing", "sound"])
def test_what_is_no_video_cannot_be_read_as_one(tmp_path: Path, kind: str) -> None:
    path = track(tmp_path, 0.1).source if kind == "sound" else tmp_path / "talk.mp4"
    if kind == "text":
        path.write_text("no video here")
    for reading in (lambda: footage.probe(path), lambda: list(footage.read(path))):
        with pytest.raises(InputError, match="holds no pictures|cannot be read"):
            reading()
