"""What the networks make now and then while they learn: some clips of the data beside what really happened."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from emo_cli import sampling, scratch, speech, video
from emo_cli.dataset.manifest import TrainingClip, video_of
from emo_cli.networks.codec import Canvas, Motion, PictureCodec, Strength
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.training.emo.learner import Learner, Task
from emo_cli.training.emo.material import Material, Shots

SHOWN = 3
"""Clips that are shown."""


class Samples:
    """Shows a model in training, in files of `folder` whose names begin with the step.

    Single pictures: one PNG, a row for each clip of reference, truth, and what was made. Clips: for each an MP4 of the
    same three with its sound. Noise is always the same, so that files of different steps can be compared.
    """

    def __init__(
        self, pipeline: EmoPipeline, learner: Learner, material: Material, folder: Path, precision: torch.dtype
    ) -> None:
        """material: of clips twice as long as a window, and without motion frames."""
        self.pipeline, self.learner, self.material = pipeline, learner, material
        self.folder, self.precision = folder, precision
        clips = material.clips
        self.clips = [clips[i * len(clips) // SHOWN] for i in range(min(SHOWN, len(clips)))]

    def __call__(self, step: int) -> None:
        """Show what the networks make after so many steps."""
        scratch.make_folder(self.folder)
        place = self.pipeline.backbone.device
        mixed = torch.autocast(place.type, self.precision) if self.precision != torch.float32 else nullcontext()
        with torch.no_grad(), mixed:
            if self.material.stage.moving:
                for clip in self.clips:
                    self._film(clip, self.folder / f"{step:06d}-{clip.name}.mp4")
            else:
                self._tile(self.folder / f"{step:06d}.png")

    def _tile(self, path: Path) -> None:
        rows = []
        for clip in self.clips:
            shots = self._shots(clip)
            made = still(self.learner, self._codec, shots, self.pipeline.family.steps, self.pipeline.family.guidance)
            rows.append(np.concatenate([_picture(shots.portrait[0]), _picture(shots.frames[0, 0]), made], axis=1))
        with scratch.replaced(path) as part:
            Image.fromarray(np.concatenate(rows)).save(part)

    def _film(self, clip: TrainingClip, path: Path) -> None:
        shots, fps = self._shots(clip), self.pipeline.family.fps
        sound = speech.read(video_of(self.material.data, clip), 0.0, shots.frames.shape[1] / fps)
        portrait = _picture(shots.portrait[0])
        frames = (
            np.concatenate([portrait, _picture(true), made], axis=1)
            for true, made in zip(shots.frames[0], animated(self.pipeline, shots), strict=False)
        )
        video.write(path, frames, fps, sound, overwrite=True)

    def _shots(self, clip: TrainingClip) -> Shots:
        return self.material.at(clip, 0, clip.frames // 2)

    @property
    def _codec(self) -> PictureCodec:
        assert isinstance(self.pipeline.codec, PictureCodec)
        return self.pipeline.codec


def animated(pipeline: EmoPipeline, shots: Shots, settings: Settings | None = None) -> list[np.ndarray]:
    """What the model makes of a clip's portrait and sound (a batch of one), as `emo animate` would: uint8 frames."""
    assert shots.sound is not None and isinstance(pipeline.codec, PictureCodec)
    pixels, faces = shots.portrait.float() / 127.5 - 1, shots.face.numpy()
    canvas = Canvas(pipeline.codec.encode(pixels).float().cpu(), pixels)
    drawn = pipeline.family.face_input == "landmarks"
    motions = pipeline.motions(
        canvas,
        faces[0, 0],
        shots.sound[0],
        settings or Settings(),
        masks=shots.masks,
        drawings=(lambda places: faces[np.clip(places, 0, len(faces) - 1)]) if drawn else None,
    )
    return [frame for motion in motions for frame in pipeline.codec.decode(canvas, motion, Strength())]


def still(learner: Learner, codec: PictureCodec, shots: Shots, steps: int, guidance: float) -> np.ndarray:
    """A picture of the person of one shot, from noise, with the face where the true one is: uint8 (H, W, 3)."""
    place = learner.levels.device
    portrait = codec.encode(shots.portrait.float() / 127.5 - 1).float().to(place)
    noise = torch.randn(portrait[:, None].shape, generator=torch.Generator().manual_seed(0))
    masks = None if shots.masks is None else shots.masks.to(place, torch.float32)
    task = Task(portrait[:, None], portrait, torch.zeros(1), portrait, face=shots.face.to(place), masks=masks)
    full, none = learner.conditions(task), learner.conditions(task.without(everything=True))

    def predict(latents: Tensor, step: sampling.Step) -> Tensor:
        noisy, times = latents.to(place), torch.tensor([step.t], device=place)
        said, silent = (learner.backbone(noisy, times, known).sample.float().cpu() for known in (full, none))
        return sampling.guided(said, silent, guidance)

    made = sampling.ddim(noise, predict, steps, sampling.noise_levels(), lambda step: None)
    return next(iter(codec.decode(Canvas(portrait, None), Motion(made[0]), Strength())))


def _picture(frame: Tensor) -> np.ndarray:
    """uint8 (3, H, W) -> (H, W, 3)"""
    shown: np.ndarray = frame.permute(1, 2, 0).numpy()
    return shown
