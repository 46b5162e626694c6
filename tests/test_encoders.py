"""Which encoder makes H.264: tried with stand-ins for ffmpeg that refuse or accept a card's encoder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli import encoders, ffmpeg, footage, video

FRAMES = [np.full((64, 160, 3), level, np.uint8) for level in range(0, 100, 20)]
STAND_IN = """#!{python}
import os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(" ".join(words) + "\\n")
if "h264_nvenc" in words:
    if {refuses}:
        sys.exit("Cannot load libcuda.so.1")
    for pair in (("-tune", "hq"), ("-rc", "vbr"), ("-cq", "19")):
        place = words.index(pair[0])
        assert words[place + 1] == pair[1]
        del words[place : place + 2]
    words[words.index("h264_nvenc")], words[words.index("p5")] = "libx264", "veryfast"
os.execv({real!r}, [{real!r}, *words])
"""


@pytest.fixture
def calls(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one line per call of an ffmpeg that refuses (or accepts) the card's encoder."""
    log, script = tmp_path / "calls.txt", tmp_path / "ffmpeg"
    real = ffmpeg.program()
    script.write_text(STAND_IN.format(python=sys.executable, log=str(log), refuses=request.param, real=real))
    script.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
    return log


def used(calls: Path) -> list[str]:
    """The encoder of every call, in order."""
    words = [line.split() for line in calls.read_text().splitlines()]
    return [line[line.index("-c:v") + 1] for line in words]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
@pytest.mark.parametrize("calls", [True], indirect=True)
def test_a_card_that_refuses_to_encode_leaves_it_to_the_processor(calls: Path, tmp_path: Path) -> None:
    video.write(tmp_path / "made.mp4", iter(FRAMES), 25, card=True)
    assert used(calls) == ["h264_nvenc", "libx264"]
    assert footage.probe(tmp_path / "made.mp4").frames == len(FRAMES)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
@pytest.mark.parametrize("calls", [False], indirect=True)
def test_a_card_that_encodes_is_tried_with_a_few_pictures_and_used(calls: Path, tmp_path: Path) -> None:
    video.write(tmp_path / "made.mp4", iter(FRAMES), 25, card=True)
    assert used(calls) == ["h264_nvenc", "h264_nvenc"]
    trial = calls.read_text().splitlines()[0]
    assert "size=160x64" in trial and "-frames:v 5" in trial and trial.endswith("-f null -")
    assert footage.probe(tmp_path / "made.mp4").frames == len(FRAMES)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
@pytest.mark.parametrize("calls", [False], indirect=True)
def test_no_card_is_asked_about_frames_of_a_processor_or_for_webm(calls: Path, tmp_path: Path) -> None:
    video.write(tmp_path / "made.mp4", iter(FRAMES), 25)
    video.write(tmp_path / "made.webm", iter(FRAMES), 25, card=True)
    assert used(calls) == ["libx264", "libvpx-vp9"]


def test_an_encoder_that_does_not_exist_does_not_work() -> None:
    assert not encoders.works(("-c:v", "no_such_encoder"), 160, 64)
    assert encoders.works(encoders.PROCESSORS, 160, 64)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")
def test_a_real_card_is_asked_and_a_video_comes_out_either_way(tmp_path: Path) -> None:
    video.write(tmp_path / "made.mp4", iter(FRAMES), 25, card=True)
    assert footage.probe(tmp_path / "made.mp4").frames == len(FRAMES)
