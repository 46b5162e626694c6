"""One step of a stage: a batch of clips becomes latents, noise is added, conditions are left out now and then."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emo_cli.family import Family
from emo_cli.networks.codec import PictureCodec
from emo_cli.training.emo.learner import Task
from emo_cli.training.emo.material import Ahead, Shots
from emo_cli.training.loop import Randomness


@dataclass(frozen=True)
class Drops:
    """Shares of batches without any condition, without sound, and without speed."""

    everything: float
    sound: float
    speed: float


class Objective:
    """Makes the steps of one stage; all chance comes from the run's own.

    precision: what the networks compute in, where it is not float32; their weights stay as they are.
    """

    def __init__(
        self, learner: nn.Module, codec: PictureCodec, family: Family, batches: Ahead, drops: Drops,
        place: torch.device, precision: torch.dtype,
    ) -> None:  # fmt: skip
        self.learner, self.codec, self.family, self.batches = learner, codec, family, batches
        self.drops, self.place, self.precision = drops, place, precision

    def step(self, randomness: Randomness) -> dict[str, Tensor]:
        """The losses of one batch."""
        task = self.task(self.batches.next(randomness.choice), randomness.noise)
        mixed = torch.autocast(self.place.type, self.precision) if self.precision != torch.float32 else nullcontext()
        with mixed:
            losses: dict[str, Tensor] = self.learner(self._with_gaps(task, randomness.noise))
        return losses

    def task(self, shots: Shots, noise: torch.Generator) -> Task:
        """A batch as the networks see it, with noise of a random level."""
        clean = self._latents(shots.frames)
        portrait = self._latents(shots.portrait[:, None])[:, 0]
        t = torch.randint(0, 1000, (len(clean),), generator=noise)
        drawn = torch.randn(clean.shape, generator=noise)
        return Task(
            clean=clean,
            noise=drawn.to(self.place),
            t=t.to(self.place),
            portrait=portrait,
            earlier=self._earlier(shots, portrait),
            face=shots.face.to(self.place),
            masks=None if shots.masks is None else shots.masks.to(self.place, torch.float32),
            sound=None if shots.sound is None else shots.sound.to(self.place),
            speed=None if shots.speed is None else shots.speed.to(self.place),
        )

    def _earlier(self, shots: Shots, portrait: Tensor) -> Tensor | None:
        """Motion frames; a first clip has zeros (EMO section 3.2), or the portrait (Hallo), in their place."""
        if shots.earlier is None or shots.first is None:
            return None
        earlier = self._latents(shots.earlier)
        none = portrait[:, None] if self.family.carried == "pictures" else torch.zeros_like(portrait[:, None])
        return torch.where(shots.first.to(self.place)[:, None, None, None, None], none, earlier)

    def _latents(self, frames: Tensor) -> Tensor:
        """uint8 (batch, frames, 3, H, W) -> latents (batch, frames, channels, h, w)."""
        pixels = frames.flatten(0, 1).to(self.place).float() / 127.5 - 1
        return self.codec.encode(pixels).float().unflatten(0, frames.shape[:2])

    def _with_gaps(self, task: Task, noise: torch.Generator) -> Task:
        """Conditions left out for a whole batch at a time, since guidance leaves them out in whole too."""
        everything, sound, speed = torch.rand(3, generator=noise).tolist()
        drops = self.drops
        return task.without(everything < drops.everything, sound < drops.sound, speed < drops.speed)
