"""What mini's networks are asked to do with a batch of clips, and how wrong they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import lip_gaps
from emo_cli.chart.whitening import HeadWhitening, Looks
from emo_cli.networks.attention import KeysValues
from emo_cli.networks.conditions import SoundProjection
from emo_cli.networks.unet import Conditions, UNet
from emo_cli.sampling import SHIFT, FlowClip, frame_noise, head_input, shifted
from emo_cli.training.bank import Clips
from emo_cli.training.rig import Rig
from emo_cli.training.targets import displacement, random_reference

FIRST_CLIPS = 0.25
"""Share of clips that have no earlier frames."""
DROPPED_SOUND = 0.1
"""Share of clips without sound, for guidance."""
KNOWN_NOISE = 0.05
"""Most noise added to earlier frames, so that small errors of the last clip do not add up."""
GAP_UNIT = 0.25
"""Centimetres of inner-lip gap that count as error 1."""


class MotionNetworks(nn.Module):
    """The three networks that learn motion together."""

    def __init__(self, reference_net: UNet, backbone: UNet, sound_projection: SoundProjection) -> None:
        super().__init__()
        self.reference_net, self.backbone, self.sound_projection = reference_net, backbone, sound_projection


@dataclass(frozen=True)
class Lesson:
    """Clips, and all that the networks are told of them but for the noise.

    canonical: faces (batch, 468, 3), cm; latents: how they move (batch, frames, 49, 8, 8); earlier: their known frames,
    as they are shown; first: (batch,) whether there are none yet; sound: (batch, frames, tokens, width); heard: (batch,
    1, 1, 1) whether it is; speed: (batch, 3); pose (batch, known, 3) in units of its size, lids (batch, known) and gaze
    (batch, known, 2) of the known frames; numbers: the head's, white (batch, numbers).
    """

    canonical: Tensor
    latents: Tensor
    earlier: Tensor
    first: Tensor
    sound: Tensor
    heard: Tensor
    speed: Tensor
    pose: Tensor
    lids: Tensor
    gaze: Tensor
    numbers: Tensor


@dataclass(frozen=True)
class Told:
    """What a network has made of portrait and sound, once per lesson."""

    reference: tuple[KeysValues, ...]
    audio: tuple[tuple[KeysValues, ...], ...]
    tokens: Tensor


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts."""

    gap: float = 0.5
    velocity: float = 0.5
    head: float = 0.05
    mouth_cells: float = 2.5
    closure: float = 10.0

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of losses by name."""
        picture = losses["cells"] + self.gap * losses["gap"] + self.velocity * losses["velocity"]
        return picture + self.head * losses["head"]


class Objective:
    """Losses of mini's stages on clips; all randomness comes from one generator. rig: None where faces are given."""

    def __init__(
        self,
        rig: Rig | None,
        codec: FlowCodec,
        whitening: HeadWhitening,
        correlation: float,
        weights: Weights | None = None,
    ) -> None:
        self.rig, self.codec, self.whitening, self.correlation = rig, codec, whitening, correlation
        self.weights = weights or Weights()
        self.cells = cell_weights(codec, self.weights)

    def motion(self, networks: MotionNetworks, clips: Clips, generator: torch.Generator) -> dict[str, Tensor]:
        """Denoising losses of the whole Backbone: cells, gap, velocity, head."""
        return self.motion_of(networks, clips, *self.faces(clips, generator), generator)

    def faces(self, clips: Clips, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random people for clips (batch, 468, 3), and how they move (batch, frames, 468, 3), cm."""
        assert self.rig is not None
        canonical = random_reference(self.rig, len(clips.pose), generator)
        return canonical, displacement(self.rig, self.codec, canonical, clips.weights, clips.closure)

    def motion_of(
        self, networks: MotionNetworks, clips: Clips, canonical: Tensor, moved: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The same for faces (batch, 468, 3) and their displacement (batch, frames, 468, 3), cm, that are given."""
        lesson, known = self.lesson(clips, canonical, moved, generator), self.whitening.known
        u = torch.rand(len(canonical), generator=generator)
        noise = self.noise(lesson, generator)
        said = self.ask(networks, lesson, self.tell(networks, lesson), self.mixed(lesson, noise, u), u)
        weight = (1 / shifted(u, SHIFT).clamp(min=0.15) ** 2).clamp(max=8)
        errors = self.errors(said.latents, lesson.latents[:, known:], moved[:, known:], weight / weight.mean())
        return {**errors, "head": (said.numbers - _velocity(lesson.numbers, noise.numbers, u)).square().mean()}

    def lesson(self, clips: Clips, canonical: Tensor, moved: Tensor, generator: torch.Generator) -> Lesson:
        """What clips teach: some have no earlier frames, some no sound."""
        known, batch = self.whitening.known, len(clips.pose)
        latents = self.codec.pack(moved, clips.closure)
        first = torch.rand(batch, generator=generator) < FIRST_CLIPS
        level = KNOWN_NOISE * torch.rand(batch, 1, 1, 1, 1, generator=generator)
        earlier = latents[:, :known] + level * torch.randn(latents[:, :known].shape, generator=generator)
        pose, numbers = self._encode(clips, generator)
        return Lesson(
            canonical=canonical,
            latents=latents,
            earlier=earlier * (~first)[:, None, None, None, None],
            first=first,
            sound=clips.sound,
            heard=_heard(batch, generator),
            speed=clips.speed,
            pose=pose,
            lids=clips.lids[:, :known],
            gaze=clips.gaze[:, :known],
            numbers=numbers,
        )

    def noise(self, lesson: Lesson, generator: torch.Generator) -> FlowClip:
        """Where a lesson's clips begin: noise in the place of their new frames and of the head's numbers."""
        shape = lesson.latents[:, self.whitening.known :].shape
        latents = frame_noise(shape, self.correlation, generator)
        return FlowClip(latents, torch.randn(lesson.numbers.shape, generator=generator))

    def mixed(self, lesson: Lesson, noise: FlowClip, u: Tensor) -> FlowClip:
        """Rectified flow, x_t = (1 - t) x + t e, and the head's numbers on the arc, y = cos w + sin e at u pi / 2."""
        mix = shifted(u, SHIFT)[:, None, None, None, None]
        new = lesson.latents[:, self.whitening.known :]
        return FlowClip((1 - mix) * new + mix * noise.latents, _turned(lesson.numbers, noise.numbers, u))

    def tell(self, networks: MotionNetworks, lesson: Lesson) -> Told:
        """Show networks the portraits and play them the sound."""
        tokens = networks.sound_projection(lesson.sound) * lesson.heard
        portrait = networks.reference_net.look(self.codec.reference(lesson.canonical))
        return Told(networks.backbone.remember(portrait), networks.backbone.listen(tokens), tokens)

    def ask(
        self, networks: MotionNetworks, lesson: Lesson, told: Told, clip: FlowClip, u: Tensor, with_sound: bool = True
    ) -> FlowClip:
        """What the Backbone says of clips at u (batch,): clean new frames, and v of the head's numbers."""
        whitening, known = self.whitening, self.whitening.known
        conditions = Conditions(
            reference=told.reference,
            audio=told.audio if with_sound else None,
            heard=told.tokens if with_sound else None,
            speed=lesson.speed,
            head=head_input(whitening, clip.numbers, lesson.pose, lesson.lids, lesson.gaze, ~lesson.first),
        )
        times = self._times(shifted(u, SHIFT), lesson.first, lesson.latents.shape[1])
        said = networks.backbone(torch.cat([lesson.earlier, clip.latents], dim=1), times, conditions)
        assert said.head is not None
        return FlowClip(said.sample[:, known:], whitening.gather(said.head.pose[:, known:], said.head.events))

    def errors(self, sample: Tensor, target: Tensor, moved: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """How far new frames are off: cell by cell, in the lips' gap, and from frame to frame.

        moved: displacement (batch, new, 468, 3) that the gap is compared with; weight: (batch,) of each clip.
        """
        error = sample - target
        steps = torch.cat([error[:, :1], error.diff(dim=1)], dim=1)
        return {
            "cells": ((error.square() * self.cells).mean((1, 2, 3, 4)) * weight).mean(),
            "gap": (self._gap_error(sample, moved) * weight.clamp(max=3)).mean(),
            "velocity": (steps.square() * self.cells).mean(),
        }

    def head(self, networks: MotionNetworks, clips: Clips, generator: torch.Generator) -> Tensor:
        """Denoising loss of the head's tokens alone, without the picture: cheap, for many clips at once."""
        batch = len(clips.pose)
        u = torch.rand(batch, generator=generator)
        first = torch.rand(batch, generator=generator) < FIRST_CLIPS
        pose, numbers = self._encode(clips, generator)
        noise = torch.randn(numbers.shape, generator=generator)
        known = self.whitening.known
        lids, gaze = clips.lids[:, :known], clips.gaze[:, :known]
        head = head_input(self.whitening, _turned(numbers, noise, u), pose, lids, gaze, ~first)
        times = self._times(shifted(u, SHIFT), first, clips.pose.shape[1])
        heard = (networks.sound_projection(clips.sound) * _heard(batch, generator)).detach()
        with torch.no_grad():
            embedding = networks.backbone.embed(times, times.shape[1], clips.speed)
        prediction, _ = networks.backbone.think(Conditions(heard=heard, head=head), embedding, None)
        said = self.whitening.gather(prediction.pose[:, known:], prediction.events)
        return (said - _velocity(numbers, noise, u)).square().mean()

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of `motion`'s losses."""
        return self.weights.total(losses)

    def _encode(self, clips: Clips, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pose of the known frames in units of its size, and the head's white numbers."""
        looks = Looks(clips.saccades, clips.fixations)
        return self.whitening.encode(clips.pose, clips.onsets, clips.speed, generator, looks)

    def _times(self, t: Tensor, first: Tensor, frames: int) -> Tensor:
        """t per frame: 0 for known frames; 1 where there are none yet."""
        times = t[:, None].repeat(1, frames)
        times[:, : self.whitening.known] = first.float()[:, None]
        return times

    def _gap_error(self, sample: Tensor, moved: Tensor) -> Tensor:
        """Squared error of the inner-lip gap per clip, in units of GAP_UNIT."""
        predicted, _ = self.codec.unpack(sample)
        error = (lip_gaps(predicted) - lip_gaps(moved))[..., 1] / GAP_UNIT
        return error.square().mean((1, 2))


def _heard(batch: int, generator: torch.Generator) -> Tensor:
    """Which clips hear their sound: (batch, 1, 1, 1), 0 or 1."""
    return (torch.rand(batch, 1, 1, 1, generator=generator) >= DROPPED_SOUND).float()


def _turned(white: Tensor, noise: Tensor, u: Tensor) -> Tensor:
    """v-diffusion on the angle u pi / 2: y = cos w + sin e."""
    angle = u[:, None] * (math.pi / 2)
    return torch.cos(angle) * white + torch.sin(angle) * noise


def _velocity(white: Tensor, noise: Tensor, u: Tensor) -> Tensor:
    """Its v = cos e - sin w."""
    return _turned(noise, -white, u)


def cell_weights(codec: FlowCodec, weights: Weights) -> Tensor:
    """How much each latent cell (49, 8, 8) counts: the mouth more, the one closure plane most."""
    grid = torch.ones(3, codec.grid, codec.grid)
    grid[:, 14:30, 6:25] = weights.mouth_cells  # where the chart holds the mouth
    folded = nn.functional.pixel_unshuffle(grid, codec.patch)
    return torch.cat([folded, torch.full((1, *folded.shape[1:]), weights.closure)])
