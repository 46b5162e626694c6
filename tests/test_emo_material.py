"""Clips of real video as batches: the right frames, the right conditions, the same after a stop."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_cli import footage
from emo_cli.dataset.manifest import read_manifest, read_track, track_of, video_of, write_manifest
from emo_cli.errors import InputError
from emo_cli.tape import Waveform
from emo_cli.training.emo.hearing import Hearing
from emo_cli.training.emo.material import Ahead, Look, Material, clips_of, usual_speed
from emo_cli.training.emo.presets import TINY
from emo_cli.training.emo.stages import STAGES
from made_clips import write_clips
from tiny_pipeline import StillEncoder

IMAGE, VIDEO, SPEED = STAGES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, count=2, frames=20)
    return folder


class Counting(StillEncoder):
    """A sound encoder whose features are the number of the frame."""

    def hear(self, waveform: Waveform, frames: int, fps: float) -> torch.Tensor:
        return torch.arange(frames).float()[:, None, None].expand(-1, self.tokens, self.width)


def material(data: Path, folder: Path, stage=SPEED, first: float = 0.0) -> Material:  # type: ignore[no-untyped-def]
    hearing = Hearing(data, Counting(), folder)
    hearing.listen(clips_of(data), None)
    return Material(data, clips_of(data), Look(TINY, False, first), stage, hearing)


def test_a_clip_has_the_frames_and_what_belongs_to_them(data: Path, tmp_path: Path) -> None:
    made = material(data, tmp_path)
    clip = made.clips[1]
    shots = made.at(clip, 3, 17)
    true = np.stack(list(footage.read(video_of(data, clip)))).transpose(0, 3, 1, 2)
    assert np.array_equal(shots.earlier[0], true[3:7]) and np.array_equal(shots.frames[0], true[7:19])
    assert np.array_equal(shots.portrait[0], true[17])
    assert shots.sound[0, :, 0, 0].tolist() == list(range(7, 19))
    track = read_track(track_of(data, clip))
    assert np.allclose(shots.speed[0], np.linalg.norm(track.speed[7:19], axis=1) / 0.3)


def test_the_face_locator_sees_all_places_of_the_face_in_the_clip(data: Path, tmp_path: Path) -> None:
    made = material(data, tmp_path)
    boxes = read_track(track_of(data, made.clips[0])).boxes
    mask = made.at(made.clips[0], 0, 0).face[0, 0].numpy()
    columns = np.flatnonzero(mask.max(0) > 0.5)
    room = 0.1 * (boxes[:, 2].max() - boxes[:, 0].min())
    assert abs(columns[0] - (boxes[:, 0].min() - room)) <= 1.5
    assert abs(columns[-1] + 1 - (boxes[:, 2].max() + room)) <= 1.5


def test_single_pictures_come_without_sound_and_earlier_frames(data: Path, tmp_path: Path) -> None:
    shots = material(data, tmp_path, IMAGE).draw(3, 4)
    assert shots.frames.shape == (4, 1, 3, 64, 64)
    assert shots.earlier is None and shots.sound is None and shots.speed is None


def test_the_same_seed_gives_the_same_batch_and_another_one_another(data: Path, tmp_path: Path) -> None:
    made = material(data, tmp_path, VIDEO, first=0.5)
    one, again, other = (made.draw(seed, 3) for seed in (5, 5, 6))
    assert torch.equal(one.frames, again.frames) and torch.equal(one.first, again.first)
    assert not torch.equal(one.frames, other.frames)


def test_what_is_made_ahead_is_what_a_run_after_a_stop_makes_too() -> None:
    choice = np.random.default_rng(0)
    threads, alone = Ahead(lambda seed: seed, 3), Ahead(lambda seed: seed, 0)
    before = [threads.next(choice) for _ in range(5)]
    kept = deepcopy(choice)
    after = [threads.next(choice) for _ in range(5)]
    threads.close()
    assert after == [alone.next(kept) for _ in range(5)]
    assert len(set(before + after)) == 10


def test_a_clip_is_heard_only_once(data: Path, tmp_path: Path) -> None:
    material(data, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    material(data, tmp_path)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} and len(files) == 2


def test_clips_of_another_rate_are_refused_with_the_command_that_helps(data: Path, tmp_path: Path) -> None:
    hearing = Hearing(data, Counting(), tmp_path)
    family = TINY.with_changes(fps=24.0)
    with pytest.raises(InputError, match="--fps 24"):
        Material(data, clips_of(data), Look(family, False, 0.0), VIDEO, hearing)
    with pytest.raises(InputError, match="No clip"):
        Material(data, clips_of(data), Look(TINY.with_changes(window=60), False, 0.0), VIDEO, hearing)


def test_clips_of_several_rates_or_none_are_refused(data: Path, tmp_path: Path) -> None:
    clips = read_manifest(data)
    write_manifest(tmp_path, [clips[0], replace(clips[1], fps=30.0)])
    with pytest.raises(InputError, match="25 to 30"):
        clips_of(tmp_path)
    write_manifest(tmp_path, [])
    with pytest.raises(InputError, match="holds no clip"):
        clips_of(tmp_path)


def test_the_usual_speed_is_the_mean_of_the_data(data: Path) -> None:
    assert usual_speed(clips_of(data)) == pytest.approx((0.1 + 0.2) / 2 / 0.3)
