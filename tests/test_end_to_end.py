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

from emo_cli import footage, portrait, speech
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import lip_gaps
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.weights import locate
from emo_process import EMO, Said, emo, fresh, surroundings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PHOTO, SONG = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "song.wav"
ANIMATE = ["animate", str(PHOTO), str(SONG)]
SHORT = ["--duration", "0.5", "--size", "128", "--seed", "7"]


def _pictures(path: Path) -> str:
    digest = hashlib.sha256()
    for frame in footage.read(path):
        digest.update(frame.tobytes())
    return digest.hexdigest()


def test_a_photo_and_a_song_become_a_video(tmp_path: Path) -> None:
    said = fresh(*ANIMATE, "--duration", "1", "--seed", "7", folder=tmp_path)
    assert said.code == 0, said.err
    sentence = r"portrait-song\.mp4: 1\.00 s of video \(25 frames\) made in [\d.]+ s, model mini, seed 7\n"
    assert re.fullmatch(sentence, said.out)
    assert [path.name for path in tmp_path.iterdir()] == ["portrait-song.mp4"]
    probed = footage.probe(tmp_path / "portrait-song.mp4")
    assert (probed.frames, probed.fps, probed.width, probed.height) == (25, 25.0, 512, 512)
    assert probed.sound_seconds is not None and abs(probed.sound_seconds - probed.seconds) < 1 / 25
    record = json.loads(footage.tags(tmp_path / "portrait-song.mp4")["comment"])
    assert (record["model"], record["seed"]) == ("mini", 7)


def test_the_person_moves_and_the_background_does_not(tmp_path: Path) -> None:
    assert emo(*ANIMATE, "--duration", "1", "--size", "256", "--motion", "0", folder=tmp_path).code == 0
    frames = [frame.astype(int) for frame in footage.read(tmp_path / "portrait-song.mp4")]
    change = sum(abs(later - earlier).mean(axis=2) for earlier, later in pairwise(frames))
    change /= len(frames) - 1
    mouth, corner = change[140:200, 90:170].mean(), change[:24, :24].mean()
    assert mouth > 4 * corner


@dataclass(frozen=True)
class Takes:
    """Three short videos: two of the same seed, the first with --json, and one of another."""

    folder: Path
    as_json: Said
    quiet: Said


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Takes:
    folder = tmp_path_factory.mktemp("takes")
    as_json = emo(*ANIMATE, *SHORT, "-o", "a.mp4", "--quiet", "--json", folder=folder)
    quiet = emo(*ANIMATE, *SHORT, "-o", "b.mp4", "--quiet", folder=folder)
    emo(*ANIMATE, *SHORT, "-o", "c.mp4", "--quiet", "--seed", "8", folder=folder)
    return Takes(folder, as_json, quiet)


def test_json_is_one_object_on_stdout_and_nothing_else_is_said(takes: Takes) -> None:
    assert (takes.as_json.code, takes.as_json.err) == (0, "")
    made = json.loads(takes.as_json.out)
    assert (made["file"], made["frames"], made["fps"], made["model"], made["seed"]) == ("a.mp4", 13, 25, "mini", 7)
    assert made["warnings"] == [] and made["timings"]["generating"] > 0


def test_quiet_says_nothing(takes: Takes) -> None:
    assert takes.quiet == Said(0, "", "")


def test_the_same_seed_makes_the_same_pictures_and_another_makes_others(takes: Takes) -> None:
    first, second, other = (_pictures(takes.folder / name) for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert first == second != other


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
def test_stopped_by_ctrl_c_as_a_terminal_sends_it_nothing_is_left(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [*EMO, *ANIMATE, "--fps", "50"], cwd=tmp_path, env=surroundings(), stderr=subprocess.PIPE, text=True,
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
    os.killpg(running.pid, signal.SIGINT)
    told = running.stderr.read()
    assert running.wait(60) == 130
    assert told.endswith("emo: Stopped; no half-made file is left.\n")
    assert list(tmp_path.iterdir()) == []


def test_the_readme_s_python_works_as_it_stands(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert example is not None
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    samples, rate = soundfile.read(SONG, stop=16_000)
    soundfile.write(tmp_path / "song.wav", samples, rate)
    subprocess.run([sys.executable, "-c", example[1]], cwd=tmp_path, env=surroundings(), check=True, timeout=300)
    assert footage.probe(tmp_path / "out.mp4").frames == 25


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
