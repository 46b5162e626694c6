"""Tracked clips of people as mini's teachers: what is read from the mesh is true, and a few steps lower the error."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from emo_cli import video
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import LID_PAIRS, lip_gaps, upright
from emo_cli.dataset.manifest import Track, TrainingClip, track_of, video_of, write_manifest, write_track
from emo_cli.errors import InputError, UsageError
from emo_cli.face.pose import poses, rotation_speed
from emo_cli.networks.codec import Canvas
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.speech import read
from emo_cli.training.looking import fixated
from emo_cli.training.personal import PersonalOptions, parts_of, train_on_people
from emo_cli.training.tracked import act, blink_onsets, canonical_points, closed_gap, draw, gaps_of, lid_closure
from emo_cli.weights import locate

FRAMES, DENSITY = 64, 20.0  # pixels per centimetre
TALK = 0.5 + 0.5 * np.sin(np.arange(FRAMES) / 2.2)  # how far the mouth is open, 0..1
NOD = 4 * np.sin(np.arange(FRAMES) / 9)  # degrees, upwards
BLINK_AT = 30


@pytest.fixture(scope="module")
def codec() -> FlowCodec:
    return FlowCodec.from_pretrained(locate("mini") / "codec")


@pytest.fixture(scope="module")
def track(codec: FlowCodec) -> Track:
    """The mean face that talks, nods and blinks once, as the mesh would see it."""
    points = np.zeros((FRAMES, 478, 3), np.float32)
    for frame in range(FRAMES):
        points[frame, :468] = upright(_turned(_face(codec, frame) + codec.bias, NOD[frame]) * DENSITY) + 300.0
    held = poses(points).astype(np.float32)
    return Track(np.zeros((FRAMES, 4), np.float32), points, held, rotation_speed(held[:, :3]))


def _face(codec: FlowCodec, frame: int) -> torch.Tensor:
    """Centimetres: the mean face with an open mouth, and with closed lids in the frames of the blink."""
    opened = 1.2 * float(TALK[frame])
    lower = codec.lower_spread.sum(1).clamp(0, 1) * torch.tensor([[0.0], [-opened], [0.0]])
    face = codec.mean + lower.T
    shut = max(0.0, 1 - abs(frame - BLINK_AT) / 3)
    spread, lids = codec.lid_spread, face[list(_lids(0))] - face[list(_lids(1))]
    return face - 0.9 * shut * spread[:, :14] @ (lids * torch.tensor([0.0, 1.0, 0.0]))


def _lids(side: int) -> list[int]:
    return [pair[side] for pair in LID_PAIRS]


def _turned(face: torch.Tensor, up: float) -> torch.Tensor:
    angle = math.radians(-up)
    about_x = torch.tensor([[1.0, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    return face @ about_x.T


@pytest.fixture(scope="module")
def data(track: Track, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this one clip; its video is grey, its sound a voice-like buzz that follows the mouth."""
    folder = tmp_path_factory.mktemp("clips")
    clip = TrainingClip("one", "one.mp4", 0, FRAMES, 25, 64, (0, 0, 64), -20, (0, 0, 0), (0.1, 0.1, 0.1))
    time = np.arange(FRAMES * 640) / 16000
    buzz = np.sign(np.sin(2 * np.pi * 120 * time)) * 0.2 * np.interp(time * 25, np.arange(FRAMES), TALK)
    soundfile.write(folder / "buzz.wav", buzz, 16000)
    (folder / "clips").mkdir()
    grey = np.full((64, 64, 3), 128, np.uint8)
    video.write(video_of(folder, clip), [grey] * FRAMES, 25, read(folder / "buzz.wav"))
    write_track(track_of(folder, clip), track)
    write_manifest(folder, [clip])
    return folder


def test_a_turned_face_is_put_upright_again(track: Track, codec: FlowCodec) -> None:
    faces = canonical_points(track.points, codec)
    assert (faces[5, :468] - _face(codec, 5)).abs().max() < 0.02


def test_the_actor_is_told_what_the_person_did(track: Track, codec: FlowCodec) -> None:
    faces = canonical_points(track.points, codec)
    take = act(track, faces, closed_gap(gaps_of(faces[:, :468], codec)), torch.zeros(2 * FRAMES, 160), codec).take
    assert np.corrcoef(take.pose[:, 1], -NOD)[0, 1] > 0.99  # the rig counts pitch downwards
    assert float(take.pose[:, 1].std()) == pytest.approx(NOD.std(), rel=0.1)
    assert torch.nonzero(take.onsets).flatten().tolist() == [BLINK_AT - 2]
    assert float(take.closure[TALK < 0.02].min()) > 0.7 and float(take.closure[TALK > 0.3].max()) == 0


def test_blinks_are_no_part_of_the_faces_motion(track: Track, codec: FlowCodec) -> None:
    faces = canonical_points(track.points, codec)
    assert float(lid_closure(faces[:, :468])[BLINK_AT]) > 0.9
    take = act(track, faces, 0.0, torch.zeros(2 * FRAMES, 160), codec)
    assert float(lid_closure(take.faces).max()) < 0.1
    assert BLINK_AT not in take.photos.tolist()


def test_two_blinks_are_never_nearer_than_the_model_can_tell() -> None:
    shut = np.zeros(60)
    shut[[10, 14, 40]] = 1.0
    assert np.flatnonzero(blink_onsets(shut)).tolist() == [8, 38]


def test_a_look_aside_is_one_saccade_there_and_one_back() -> None:
    gaze = np.zeros((60, 2)) + np.random.default_rng(0).normal(0, 0.4, (60, 2))
    gaze[20:40] += (8.0, 2.0)
    saccades, fixations = fixated(gaze)
    assert np.flatnonzero(saccades).tolist() == [20, 40]
    assert fixations[30] == pytest.approx((8, 2), abs=0.6) and fixations[50] == pytest.approx((0, 0), abs=0.6)


def test_faces_move_from_the_photo_and_lips_close_where_they_were_closed(track: Track, codec: FlowCodec) -> None:
    faces = canonical_points(track.points, codec)
    take = act(track, faces, closed_gap(gaps_of(faces[:, :468], codec)), torch.zeros(2 * FRAMES, 160), codec)
    batch = draw([take], codec, 3, 20, 10, np.random.default_rng(0))
    assert batch.moved.shape == (3, 20, 468, 3) and batch.clips.sound.shape == (3, 20, 10, 160)
    gaps = lip_gaps(batch.canonical[:, None] + batch.moved)[..., 1].mean(-1) - lip_gaps(codec.mean)[..., 1].mean()
    assert gaps[batch.clips.closure > 0.98].abs().max() < 0.03
    assert gaps[batch.clips.closure == 0].min() > 0.1


def test_a_few_steps_lower_the_error_and_the_model_moves(data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    folder = train_on_people(PersonalOptions(locate("mini"), data, tmp_path, steps=5, clips=2), lines.append)
    words = lines[-1].split()
    before, after = float(words[words.index("before,") - 1]), float(words[-2])
    assert after < 0.97 * before
    trained, mini = EmoPipeline.from_pretrained(folder), EmoPipeline.from_pretrained(locate("mini"))
    assert isinstance(trained.codec, FlowCodec) and isinstance(mini.codec, FlowCodec)
    assert torch.equal(trained.codec.mean, mini.codec.mean)
    canvas = Canvas(trained.codec.reference(trained.codec.mean[None]), None)
    sound = torch.randn(16, 10, mini.sound_encoder.width, generator=torch.Generator().manual_seed(0))
    (motion,) = trained.motions(canvas, np.zeros((8, 8), np.float32), sound, Settings(steps=1))
    assert motion.latents.shape == (16, 49, 8, 8) and bool(torch.isfinite(motion.latents).all())
    assert not torch.equal(trained.backbone.conv_out.weight, mini.backbone.conv_out.weight)


def test_clips_at_another_rate_are_refused_with_the_way_out(data: Path, tmp_path: Path, track: Track) -> None:
    clip = TrainingClip("one", "one.mp4", 0, FRAMES, 30, 64, (0, 0, 64), -20, (0, 0, 0), (0.1, 0.1, 0.1))
    write_manifest(tmp_path, [clip])
    with pytest.raises(InputError, match="--fps 25"):
        train_on_people(PersonalOptions(locate("mini"), tmp_path, tmp_path / "run"), lambda line: None)
    write_manifest(tmp_path, [])
    with pytest.raises(InputError, match="no clips"):
        train_on_people(PersonalOptions(locate("mini"), tmp_path, tmp_path / "run"), lambda line: None)


def test_a_model_of_another_kind_is_refused(data: Path, tmp_path: Path) -> None:
    pipeline = replace(EmoPipeline.from_pretrained(locate("mini")), whitening=None)
    with pytest.raises(UsageError, match="--from mini"):
        parts_of(pipeline, "other")
