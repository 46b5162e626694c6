"""Real people as mini's teachers: tracked clips become what the rig's actor gives, faces that move, pose and blinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emo_cli import speech
from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import LEFT_EYE, POINTS, RIGHT_EYE, align, lid_gaps, lip_gaps, upright
from emo_cli.chart.glances import gaze_of
from emo_cli.chart.whitening import PROFILE, SPACING
from emo_cli.dataset.manifest import Track, TrainingClip, read_manifest, read_track, track_of, video_of
from emo_cli.errors import InputError
from emo_cli.sound.encoders import MiniHearing
from emo_cli.sound.loudness import levelled
from emo_cli.training.articulation import smooth
from emo_cli.training.bank import FPS, SLOWEST, Clips, Take, cut_out
from emo_cli.training.head import lids, speed
from emo_cli.training.looking import looks

POSE_SMOOTHING = 1.5  # frames: the mesh trembles by a tenth of a degree, as much as a calm head moves
FACE_SMOOTHING = 1.2  # frames, outside of the mouth
CLOSED_GAP = 0.22  # centimetres of inner-lip gap, above the person's closed lips, at which they count as free
CLOSED_SHARE = 0.05  # of the frames: lips that are as near as in these are taken for closed ...
MOST_CLOSED = 0.25  # ... unless they are further apart than this, centimetres
BLINKING, OPEN_EYES = 0.5, 0.25  # lid closure from which on a blink is seen, and below which eyes are a photo's
_SHUT = 0.75  # share of the open eye's height that a blink takes, as the mesh sees it


@dataclass(frozen=True)
class TrackedTake:
    """One clip of a person. take: sound, closure, pose and blinks as the actor's. faces: (frames, 468, 3) centimetres
    in the rig's frame, the head's motion taken out. photos: indices of the frames that could be the photo."""

    take: Take
    faces: Tensor
    photos: Tensor

    def __len__(self) -> int:
        return len(self.faces)


@dataclass(frozen=True)
class TrackedClips:
    """A batch. clips: as of the actor, without expression weights. canonical: (batch, 468, 3) the face in another frame
    of the same take, which stands for the photo. moved: (batch, frames, 468, 3) centimetres from there."""

    clips: Clips
    canonical: Tensor
    moved: Tensor


def load_takes(data: Path, codec: FlowCodec, hearing: MiniHearing) -> list[TrackedTake]:
    """Every clip of a folder of `emo dataset prepare`. Raises InputError if it holds none, or other than 25 fps."""
    clips = read_manifest(data)
    if not clips:
        raise InputError(f"{data} holds no clips. Look at {data / 'dropped.jsonl'} for the reasons.")
    wrong = next((clip for clip in clips if clip.fps != FPS), None)
    if wrong is not None:
        raise InputError(f"{wrong.name} has {wrong.fps:g} frames per second. Prepare the clips with --fps {FPS:g}.")
    tracks = [read_track(track_of(data, clip), clip.frames) for clip in clips]
    points = [canonical_points(track.points, codec) for track in tracks]
    closed = closed_gap(torch.cat([gaps_of(face[:, :POINTS], codec) for face in points]))
    return [
        act(track, face, closed, heard(data, clip, hearing), codec)
        for clip, track, face in zip(clips, tracks, points, strict=True)
    ]


def heard(data: Path, clip: TrainingClip, hearing: MiniHearing) -> Tensor:
    """A clip's sound as the encoder hears it when a video is made: rows (rows, width) at 50 Hz."""
    waveform = levelled(speech.read(video_of(data, clip)).samples)[:]
    return hearing.rows(torch.from_numpy(waveform))


def act(track: Track, points: Tensor, closed: float, features: Tensor, codec: FlowCodec) -> TrackedTake:
    """What a tracked person does, as the rig's actor would tell it.

    Args:
        track: of one clip at 25 fps.
        points: (frames, 478, 3) of `canonical_points`.
        closed: centimetres of inner-lip gap at which this person's lips are closed.
        features: (rows, width) at 50 Hz.
    """
    pose, faces = turned(track.pose[:, :3]), points[:, :POINTS]
    shut = lid_closure(faces)
    onsets = blink_onsets(shut.numpy())
    gaps = gaps_of(faces, codec)
    saccades, fixations = (torch.from_numpy(part) for part in looks(points.numpy(), pose, shut.numpy()))
    take = Take(
        features=features.half(),
        weights=torch.zeros(len(faces), 0),
        closure=(1 - (gaps - closed) / CLOSED_GAP).clamp(0, 1),
        pose=torch.from_numpy(pose),
        lids=torch.from_numpy(lids(onsets, FPS)),
        onsets=torch.from_numpy(onsets),
        saccades=saccades,
        fixations=fixations,
        gaze=gaze_of(fixations),
        speed=torch.from_numpy(speed(pose)).clamp(min=SLOWEST),
    )
    awake = shut <= max(OPEN_EYES, float(shut.median()))
    return TrackedTake(take, steadied(faces, codec), torch.nonzero(awake).flatten())


def canonical_points(points: np.ndarray, codec: FlowCodec) -> Tensor:
    """Landmarks (frames, 478, 3) in pixels -> (frames, 478, 3) centimetres in the rig's frame, each put upright."""
    return torch.stack([_canonical(row, codec) for row in torch.from_numpy(points.astype(np.float32))])


def _canonical(row: Tensor, codec: FlowCodec) -> Tensor:
    similarity, face = align(row[:POINTS], codec.mean, codec.bias)
    return torch.cat([face, similarity.apply(upright(row[POINTS:]))])


def gaps_of(faces: Tensor, codec: FlowCodec) -> Tensor:
    """Mean inner-lip gap (frames,) in centimetres above that of the rig's closed mouth."""
    return (lip_gaps(faces) - lip_gaps(codec.mean))[..., 1].mean(-1)


def closed_gap(gaps: Tensor) -> float:
    """The gap (centimetres) at which a person's lips count as closed, from that of all frames (frames,)."""
    return min(float(gaps.quantile(CLOSED_SHARE)), MOST_CLOSED)


def turned(angles: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll (frames, 3) as tracked -> around their middle, without tremor, in the rig's signs, float32."""
    steady = smooth(angles.astype(np.float64), POSE_SMOOTHING)
    around = (steady - np.median(steady, axis=0)) * np.array([1.0, -1.0, -1.0])
    return around.astype(np.float32)


def lid_closure(faces: Tensor) -> Tensor:
    """How far the lids are closed (frames,), 0 as usual in this clip .. 1 shut, from faces (frames, 468, 3)."""
    height = lid_gaps(faces)[..., 1].mean(-1)
    usual = height.quantile(0.8).clamp(min=1e-3)
    return ((1 - height / usual) / _SHUT).clamp(0, 1)


def blink_onsets(shut: np.ndarray) -> np.ndarray:
    """Bool (frames,): where blinks begin, so that `PROFILE` is fully closed where the tracked lids are."""
    found = np.zeros(len(shut), bool)
    peak, last = int(np.argmax(PROFILE)), -SPACING
    for frame in range(1, len(shut) - 1):
        top = shut[frame] >= BLINKING and shut[frame] >= shut[frame - 1] and shut[frame] > shut[frame + 1]
        onset = frame - peak
        if top and onset >= 0 and onset - last >= SPACING:
            found[onset], last = True, onset
    return found


def steadied(faces: Tensor, codec: FlowCodec) -> Tensor:
    """Faces (frames, 468, 3) without the mesh's tremor and without blinks, which are told apart; lips stay as quick."""
    calm = torch.from_numpy(smooth(faces.numpy().astype(np.float64), FACE_SMOOTHING)).float()
    quick = (codec.upper_spread + codec.lower_spread).abs().sum(1).clamp(0, 1)[:, None]
    mixed = torch.lerp(calm, faces, quick)
    eyes = codec.lid_spread.abs().sum(1).clamp(0, 1)
    eyes[list(RIGHT_EYE + LEFT_EYE)] = 1.0
    return torch.lerp(mixed, mixed.median(0).values, eyes[:, None])


def draw(
    takes: Sequence[TrackedTake], codec: FlowCodec, count: int, frames: int, tokens: int, random: np.random.Generator
) -> TrackedClips:
    """`count` clips of `frames` frames from random takes, long ones more often, each with a photo of its own."""
    usable = [take for take in takes if len(take) >= frames]
    if not usable:
        raise InputError(f"Every clip is shorter than {frames} frames. Prepare longer ones.")
    lengths = np.array([len(take) - frames + 1 for take in usable], float)
    places = [usable[int(index)] for index in random.choice(len(usable), count, p=lengths / lengths.sum())]
    chosen = [(take, int(random.integers(0, len(take) - frames + 1))) for take in places]
    clips = cut_out([(take.take, first) for take, first in chosen], frames, tokens)
    photos = [int(take.photos[int(random.integers(len(take.photos)))]) for take, _ in chosen]
    canonical = torch.stack([take.faces[photo] for (take, _), photo in zip(chosen, photos, strict=True)])
    faces = torch.stack([take.faces[first : first + frames] for take, first in chosen])
    moved = codec.close_lips(canonical[:, None], faces - canonical[:, None], clips.closure)
    return TrackedClips(clips, canonical, moved)
