"""`emo dataset prepare`: a made video becomes clips, and what cannot be used is told with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import pytest

from emo_cli import animate, footage, portrait, speech, video
from emo_cli.animate import AnimateOptions
from emo_cli.dataset import preparing
from emo_cli.dataset.camera import STILL
from emo_cli.dataset.choosing import choose
from emo_cli.dataset.limits import REASONS, Limits
from emo_cli.dataset.manifest import DroppedClip, read_dropped, read_manifest, read_track, track_of, video_of
from emo_cli.dataset.preparing import prepare
from emo_cli.dataset.report import write_report
from emo_cli.dataset.sources import find_sources
from emo_cli.dataset.survey import Stretch
from emo_cli.errors import InputError, UsageError
from emo_cli.sound.encoders import MiniHearing

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 1.6
LIMITS = Limits(fps=25, size=128, shortest=1.0, longest=2.0, agreement=0.0, lag=0.4)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made person who sings for 1.6 s, then, behind a cut, a wall of noise."""
    folder = tmp_path_factory.mktemp("talk")
    options = AnimateOptions(EXAMPLES / "portrait.jpg", EXAMPLES / "song.wav", folder / "sung.mp4")
    animate.animate(replace(options, duration=SECONDS, size=256, seed=1, steps=2))
    sound = speech.read(EXAMPLES / "song.wav", duration=SECONDS + 0.4)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    frames: Iterator[np.ndarray] = chain(footage.read(folder / "sung.mp4"), repeat(noise))
    video.write(folder / "talk.mp4", islice(frames, round((SECONDS + 0.4) * 25)), 25, sound)
    return folder / "talk.mp4"


@pytest.fixture(scope="module")
def data(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    broken = talk.with_name("broken.mp4")
    broken.write_bytes(b"no video")
    prepare([talk, broken], folder, LIMITS, workers=0)
    return folder


def test_the_person_becomes_a_clip_with_sound_and_track(data: Path) -> None:
    (clip,) = read_manifest(data)
    assert clip.start == 0 and clip.frames == 40
    probe = footage.probe(video_of(data, clip))
    assert (probe.frames, probe.width, probe.height) == (40, 128, 128)
    assert probe.sound_seconds == pytest.approx(SECONDS, abs=0.05)
    track = read_track(track_of(data, clip), clip.frames)
    face = portrait.find_faces(next(footage.read(video_of(data, clip))))[0]
    assert track.points[0] == pytest.approx(face.landmarks, abs=3)
    assert track.pose[:, :3].mean(0) == pytest.approx(clip.pose, abs=0.01)
    assert clip.agreement > 0.3 and clip.background < 0.01


def test_the_rest_is_told_with_its_reason(data: Path) -> None:
    told = {row.reason: row for row in read_dropped(data)}
    assert told.keys() == {"no face", "unreadable"} <= REASONS.keys()
    assert (told["no face"].start, told["no face"].stop) == (1.6, 2.0)
    assert "broken.mp4" in told["unreadable"].detail


def test_a_second_run_does_nothing_again(data: Path, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in (data / "clips").iterdir()}
    monkeypatch.setattr(preparing, "prepare_source", lambda *_: pytest.fail("was prepared again"))
    assert len(prepare([talk], data, LIMITS, workers=0).clips) == 1
    assert {path: path.stat().st_mtime_ns for path in (data / "clips").iterdir()} == before
    assert {row.reason for row in read_dropped(data)} == {"no face", "unreadable"}  # of the video that is not named now


def test_a_killed_run_leaves_nothing_that_counts_and_is_gone_on_with(
    data: Path, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clip,) = read_manifest(data)
    x, y, side = clip.crop
    points = read_track(track_of(data, clip)).points * (side / clip.size) + np.array([x, y, 0])
    seen = [Stretch(0, points, [STILL] * clip.frames, 256, 256)]
    monkeypatch.setattr(preparing, "survey", lambda *_: iter(seen))  # looking again would only take time
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparing, "cut", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare([talk], tmp_path, LIMITS, workers=0)
    with pytest.raises(InputError):
        read_manifest(tmp_path)
    stray = tmp_path / "clips" / f"{find_sources([talk])[0].name}-0099.npz"
    stray.write_bytes(b"half")
    assert len(prepare([talk], tmp_path, LIMITS, workers=0).clips) == 1
    assert not stray.exists() and not (tmp_path / ".work").exists()


def test_other_settings_do_not_mix_with_what_is_there(data: Path, talk: Path) -> None:
    with pytest.raises(UsageError, match="other settings"):
        prepare([talk], data, replace(LIMITS, size=64), workers=0)


def test_a_video_that_is_not_there_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.mp4"):
        prepare([tmp_path / "absent.mp4"], tmp_path / "data", LIMITS, workers=0)
    assert not (tmp_path / "data").exists()


def test_the_report_is_one_page_with_histograms_and_pictures(data: Path, tmp_path: Path) -> None:
    assert write_report(data, tmp_path / "page.html") == 1
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 10 and page.count("data:image/jpeg") == 1
    assert "1 clips" in page and "no face" in page
    assert "http" not in page and "src=\"data:" in page


def _stretch(points: np.ndarray, frames: int = 50, size: int = 400) -> Stretch:
    return Stretch(0, np.tile(points, (frames, 1, 1)), [STILL] * frames, size, size)


def _reason(stretch: Stretch, sound: np.ndarray | None) -> str:
    found = choose(stretch, "a", "a.mp4", LIMITS, lambda start, seconds: sound, MiniHearing())
    assert isinstance(found, DroppedClip)
    json.dumps(found.detail)
    return found.reason


def test_each_reason_is_told_by_its_name() -> None:
    face = np.random.default_rng(0).uniform(100, 200, (478, 3)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    assert _reason(_stretch(face, frames=10), noise) == "short"
    assert _reason(_stretch(face / 10), noise) == "small"
    assert _reason(_stretch(face - 150), noise) == "cut off"
    assert _reason(_stretch(face), None) == "silent"
    assert _reason(_stretch(face), np.zeros(32000, np.float32)) == "silent"
    pan = replace(STILL, shifts=np.full((3, 2), 0.01))
    assert _reason(replace(_stretch(face), drifts=[pan] * 50), noise) == "camera"
    assert _reason(replace(_stretch(face), drifts=[replace(STILL, change=0.2)] * 50), noise) == "background"
