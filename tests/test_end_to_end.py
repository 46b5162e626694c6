"""The whole way with the bundled model: `emo animate photo song`, as a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile
import torch

import emo_cli
from emo_cli import footage, portrait, speech
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import lip_gaps
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.weights import locate

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PHOTO, SONG = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "song.wav"
SURROUNDINGS = {**os.environ, "PYTHONPATH": str(Path(emo_cli.__file__).parents[1]), "COLUMNS": "100"}
ANIMATE = [sys.executable, "-m", "emo_cli", "animate", str(PHOTO), str(SONG)]
SHORT = ["--duration", "0.5", "--size", "128", "--seed", "7"]


def _animate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ANIMATE, *arguments],
        cwd=folder, env=SURROUNDINGS, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip


def _pictures(path: Path) -> str:
    digest = hashlib.sha256()
    for frame in footage.read(path):
        digest.update(frame.tobytes())
    return digest.hexdigest()


def test_a_photo_and_a_song_become_a_video(tmp_path: Path) -> None:
    done = _animate(tmp_path, "--duration", "1.5", "--seed", "7")
    assert done.returncode == 0, done.stderr
    sentence = r"portrait-song\.mp4: 1\.52 s of video \(38 frames\) made in [\d.]+ s, model mini, seed 7\n"
    assert re.fullmatch(sentence, done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["portrait-song.mp4"]
    probed = footage.probe(tmp_path / "portrait-song.mp4")
    assert (probed.frames, probed.fps, probed.width, probed.height) == (38, 25.0, 512, 512)
    assert probed.sound_seconds is not None and abs(probed.sound_seconds - probed.seconds) < 1 / 25
    record = json.loads(footage.tags(tmp_path / "portrait-song.mp4")["comment"])
    assert (record["model"], record["seed"]) == ("mini", 7)


def test_the_person_moves_and_the_background_does_not(tmp_path: Path) -> None:
    assert _animate(tmp_path, "--duration", "1", "--size", "256", "--motion", "0").returncode == 0
    frames = [frame.astype(int) for frame in footage.read(tmp_path / "portrait-song.mp4")]
    change = sum(abs(later - earlier).mean(axis=2) for earlier, later in pairwise(frames))
    change /= len(frames) - 1
    mouth, corner = change[140:200, 90:170].mean(), change[:24, :24].mean()
    assert mouth > 4 * corner


@dataclass(frozen=True)
class Takes:
    """Three short videos: two of the same seed, the first with --json, and one of another."""

    folder: Path
    as_json: subprocess.CompletedProcess[str]
    quiet: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Takes:
    folder = tmp_path_factory.mktemp("takes")
    as_json = _animate(folder, *SHORT, "-o", "a.mp4", "--quiet", "--json")
    quiet = _animate(folder, *SHORT, "-o", "b.mp4", "--quiet")
    _animate(folder, *SHORT, "-o", "c.mp4", "--quiet", "--seed", "8")
    return Takes(folder, as_json, quiet)


def test_json_is_one_object_on_stdout_and_nothing_else_is_said(takes: Takes) -> None:
    assert (takes.as_json.returncode, takes.as_json.stderr) == (0, "")
    made = json.loads(takes.as_json.stdout)
    assert (made["file"], made["frames"], made["fps"], made["model"], made["seed"]) == ("a.mp4", 13, 25, "mini", 7)
    assert made["warnings"] == [] and made["timings"]["generating"] > 0


def test_quiet_says_nothing(takes: Takes) -> None:
    assert (takes.quiet.returncode, takes.quiet.stdout, takes.quiet.stderr) == (0, "", "")


def test_the_same_seed_makes_the_same_pictures_and_another_makes_others(takes: Takes) -> None:
    first, second, other = (_pictures(takes.folder / name) for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert first == second != other


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle_nothing_is_left(tmp_path: Path, number: signal.Signals, code: int) -> None:
    running = subprocess.Popen(
        [*ANIMATE, "--fps", "50"], cwd=tmp_path, env=SURROUNDINGS, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("making frames"):
            break
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)  # until ffmpeg has begun its file
    assert list(tmp_path.iterdir()), "no partial file ever appeared"
    os.killpg(running.pid, number)
    told = running.stderr.read()
    assert running.wait(60) == code
    assert told.endswith("emo: Stopped; no half-made file is left.\n")
    assert list(tmp_path.iterdir()) == []


def test_the_readme_s_python_works_as_it_stands(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert example is not None
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    shutil.copy(SONG, tmp_path / "song.wav")
    subprocess.run([sys.executable, "-c", example[1]], cwd=tmp_path, env=SURROUNDINGS, check=True, timeout=300)
    assert footage.probe(tmp_path / "out.mp4").frames == 183


def test_silence_keeps_the_mouth_shut_and_a_song_opens_it(tmp_path: Path) -> None:
    pipeline = EmoPipeline.from_pretrained(locate("mini"))
    face = portrait.read(PHOTO)
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 16_000)
    opened = []
    for path in (tmp_path / "silence.wav", SONG):
        heard = speech.encode(speech.read(path, duration=2), pipeline.sound_encoder, pipeline.family.fps)
        motions = pipeline.motions(pipeline.codec.open(face), face.mask, heard.features, Settings(seed=1))
        codec = cast(FlowCodec, pipeline.codec)
        moved, closure = codec.unpack(torch.cat([motion.latents for motion in motions]))
        drawn = codec.close_lips(codec.mean, moved, codec.drawn_together(closure))
        gaps = lip_gaps(codec.mean + drawn) - lip_gaps(codec.mean[None])
        opened.append(float(gaps.max()))
    assert opened[0] < 0.05 < 0.3 < opened[1]  # centimetres between the lips, beyond a closed mouth's
