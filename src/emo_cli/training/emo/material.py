"""Clips of real video as batches: only the frames that are wanted are decoded, ahead of time, by seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from emo_cli import footage, landmark_images
from emo_cli.dataset.manifest import Track, TrainingClip, read_manifest, read_track, track_of, video_of
from emo_cli.errors import InputError
from emo_cli.face import Box
from emo_cli.family import SPEED_UNIT, Family
from emo_cli.hallo_masks import HalloRegions, find_regions
from emo_cli.networks.audio import RegionMasks
from emo_cli.regions import face_rectangle
from emo_cli.training.emo.hearing import Hearing
from emo_cli.training.emo.stages import Stage


@dataclass(frozen=True)
class Shots:
    """A batch, on the processor.

    portrait (batch, 3, H, W): another frame of each clip, the reference; earlier (batch, n, 3, H, W) and frames
    (batch, f, 3, H, W): uint8 pictures; face (batch or batch * f, channels, H, W): what the face locator sees; masks:
    Hallo's regions, levels (batch * f, 3, h * w, 1); sound (batch, f, tokens, width); speed (batch, f), in SPEED_UNIT;
    first (batch,): which have no earlier frames.
    """

    portrait: Tensor
    frames: Tensor
    face: Tensor
    earlier: Tensor | None = None
    masks: RegionMasks | None = None
    sound: Tensor | None = None
    speed: Tensor | None = None
    first: Tensor | None = None


@dataclass(frozen=True)
class Look:
    """What a model wants to see: its family, whether it has Hallo's regions, and how often a clip is a first one."""

    family: Family
    regions: bool
    first_clips: float


class Material:
    """The clips of a folder made by `emo dataset prepare`, for one stage.

    Memory does not grow with the data: a clip's track and features are read when it is drawn. Raises InputError when
    there is no clip long enough, or one has another frame rate than the model.
    """

    def __init__(self, data: Path, clips: Sequence[TrainingClip], look: Look, stage: Stage, hearing: Hearing) -> None:
        self.data, self.look, self.stage, self.hearing = data, look, stage, hearing
        family = look.family
        self.earlier = family.motion_frames if stage.moving else 0
        self.new = family.window if stage.moving else 1
        self.clips = [clip for clip in clips if clip.frames >= self.earlier + self.new]
        if not self.clips:
            raise InputError(f"No clip in {data} has {self.earlier + self.new} frames. Prepare longer videos.")
        for clip in self.clips:
            if abs(clip.fps - family.fps) > 0.01:
                raise InputError(
                    f"The clip {clip.name} has {clip.fps:g} frames per second, the model {family.fps:g}. "
                    f"Prepare the videos with --fps {family.fps:g}."
                )
        lengths = np.array([clip.frames for clip in self.clips], float)
        self.shares = lengths / lengths.sum()  # every frame is as likely as every other

    def draw(self, seed: int, count: int) -> Shots:
        """`count` random places of random clips; the same seed gives the same batch."""
        random = np.random.default_rng(seed)
        chosen = [self.clips[i] for i in random.choice(len(self.clips), count, p=self.shares)]
        seeds = random.integers(0, 2**63, count)
        return joined([self.shot(clip, np.random.default_rng(s)) for clip, s in zip(chosen, seeds, strict=True)])

    def shot(self, clip: TrainingClip, random: np.random.Generator) -> Shots:
        """One random place of a clip, as a batch of one."""
        begin = int(random.integers(0, clip.frames - self.earlier - self.new + 1))
        return self.at(clip, begin, int(random.integers(clip.frames)), bool(random.random() < self.look.first_clips))

    def at(self, clip: TrainingClip, begin: int, portrait: int, first: bool = False) -> Shots:
        """The frames of a clip from `begin` on, motion frames first, with frame `portrait` as the reference."""
        track = read_track(track_of(self.data, clip), clip.frames)
        start, stop = begin + self.earlier, begin + self.earlier + self.new
        seen = self._pictures(clip, begin, self.earlier + self.new)
        regions = self._regions(clip, track, portrait) if self.look.regions else None
        return Shots(
            portrait=self._pictures(clip, portrait, 1)[0][None],
            frames=seen[None, self.earlier :],
            earlier=seen[None, : self.earlier] if self.earlier else None,
            face=self._face(clip, track, range(start, stop)) if regions is None else _batch_of_one(regions.face),
            masks=None if regions is None else _for_frames(regions.masks, self.new),
            sound=self.hearing.features(clip, start, self.new)[None] if self.stage.hears else None,
            speed=torch.from_numpy(head_speed(track))[None, start:stop] if self.stage.paced else None,
            first=torch.tensor([first]) if self.earlier else None,
        )

    def _pictures(self, clip: TrainingClip, first: int, count: int) -> Tensor:
        """Frames first..first + count of a clip, uint8 (count, 3, size, size)."""
        size = self.look.family.size
        path, start = video_of(self.data, clip), max(first - 0.5, 0) / clip.fps
        frames = [_resized(frame, size) for frame in footage.read(path, start=start, count=count)]
        if len(frames) != count:
            raise InputError(f"{path} has fewer than {clip.frames} frames. Prepare the clips again.")
        return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)

    def _face(self, clip: TrainingClip, track: Track, places: range) -> Tensor:
        """EMO's mask M: the rectangle around all boxes of the clip, float32 (1, 1, size, size); or drawn landmarks."""
        size = self.look.family.size
        if self.look.family.face_input == "landmarks":
            points = track.points[list(places), :, :2] * (size / clip.size)
            return torch.from_numpy(landmark_images.pictures(points, size, range(len(places))))
        low, high = track.boxes[:, :2].min(0), track.boxes[:, 2:].max(0)
        face = Box(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
        return _batch_of_one(face_rectangle(face, Box(0, 0, clip.size, clip.size), size))

    def _regions(self, clip: TrainingClip, track: Track, portrait: int) -> HalloRegions:
        return find_regions(track.points[portrait], (clip.size, clip.size), self.look.family.size)


def _batch_of_one(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(mask)[None, None]


def _for_frames(masks: RegionMasks, frames: int) -> RegionMasks:
    return RegionMasks(tuple(level.repeat_interleave(frames, dim=0) for level in masks.levels))


def head_speed(track: Track) -> np.ndarray:
    """How fast the head turns around all axes together (frames,), in SPEED_UNIT."""
    speed: np.ndarray = np.linalg.norm(track.speed, axis=1).astype(np.float32) / SPEED_UNIT
    return speed


def usual_speed(clips: Sequence[TrainingClip]) -> float:
    """The mean head speed of clips, every frame counted alike, in SPEED_UNIT."""
    speeds = np.linalg.norm(np.array([clip.speed for clip in clips]), axis=1)
    return float(np.average(speeds, weights=[clip.frames for clip in clips]) / SPEED_UNIT)


def clips_of(data: Path) -> list[TrainingClip]:
    """The clips of a folder, all at one frame rate. Raises InputError."""
    clips = read_manifest(data)
    if not clips:
        raise InputError(f"{data} holds no clip; `emo dataset report` tells why. Prepare other videos.")
    rates = sorted({clip.fps for clip in clips})
    if rates[-1] - rates[0] > 0.01:
        raise InputError(f"Clips in {data} have {rates[0]:g} to {rates[-1]:g} frames per second. Prepare them alike.")
    return clips


def joined(shots: Sequence[Shots]) -> Shots:
    """One batch of several."""
    masks = [shot.masks for shot in shots if shot.masks is not None]
    levels = zip(*(mask.levels for mask in masks), strict=True)
    return Shots(
        portrait=torch.cat([shot.portrait for shot in shots]),
        frames=torch.cat([shot.frames for shot in shots]),
        face=torch.cat([shot.face for shot in shots]),
        earlier=_together([shot.earlier for shot in shots]),
        masks=RegionMasks(tuple(torch.cat(level) for level in levels)) if masks else None,
        sound=_together([shot.sound for shot in shots]),
        speed=_together([shot.speed for shot in shots]),
        first=_together([shot.first for shot in shots]),
    )


def _together(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    if frame.shape[:2] == (size, size):
        return frame
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.LANCZOS))


class Ahead:
    """Batches that are made in other threads before they are wanted.

    Which batch comes next is told by the run's own chance, and what is made ahead takes nothing from it: a run that
    goes on after a stop sees the same batches.
    """

    def __init__(self, make: Callable[[int], Shots], workers: int) -> None:
        self.make, self.workers = make, workers
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="clips") if workers else None
        self.coming: dict[int, Future[Shots]] = {}

    def next(self, choice: np.random.Generator) -> Shots:
        """The batch that `choice` draws."""
        seed = _drawn(choice)
        if self.pool is None:
            return self.make(seed)
        future = self.coming.pop(seed, None) or self.pool.submit(self.make, seed)
        later = deepcopy(choice)
        for _ in range(self.workers + 1):
            following = _drawn(later)
            if following not in self.coming:
                self.coming[following] = self.pool.submit(self.make, following)
        return future.result()

    def close(self) -> None:
        """Forget what was made ahead."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


def _drawn(choice: np.random.Generator) -> int:
    return int(choice.integers(0, 2**63))
