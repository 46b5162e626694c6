"""What mini's networks are asked to do with a batch of clips, and how wrong they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import lip_gaps
from emo_cli.chart.whitening import HeadWhitening, Looks
from emo_cli.networks.conditions import SoundProjection
from emo_cli.networks.head import HeadInput
from emo_cli.networks.unet import Conditions, UNet
from emo_cli.sampling import SHIFT, frame_noise, head_input, shifted
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
class Weights:
    """How much each part of the loss counts."""

    gap: float = 0.5
    velocity: float = 0.5
    head: float = 0.05
    mouth_cells: float = 2.5
    closure: float = 10.0


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
        assert self.rig is not None
        canonical = random_reference(self.rig, len(clips.pose), generator)
        moved = displacement(self.rig, self.codec, canonical, clips.weights, clips.closure)
        return self.motion_of(networks, clips, canonical, moved, generator)

    def motion_of(
        self, networks: MotionNetworks, clips: Clips, canonical: Tensor, moved: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The same for faces (batch, 468, 3) and their displacement (batch, frames, 468, 3), cm, that are given."""
        batch, known = len(clips.pose), self.whitening.known
        latents = self.codec.pack(moved, clips.closure)  # (batch, frames, 49, 8, 8)
        first = torch.rand(batch, generator=generator) < FIRST_CLIPS
        u = torch.rand(batch, generator=generator)
        t = shifted(u, SHIFT)
        noisy, times = self._noisy(latents, t, first, generator)
        numbers, head = self._head_input(clips, u, first, generator)
        tokens = self._hear(networks, clips, generator)
        backbone = networks.backbone
        conditions = Conditions(
            reference=backbone.remember(networks.reference_net.look(self.codec.reference(canonical))),
            audio=backbone.listen(tokens),
            heard=tokens,
            speed=clips.speed,
            head=head,
        )
        prediction = backbone(noisy, times, conditions)
        assert prediction.head is not None
        scale = 1 / t.clamp(min=0.15) ** 2
        scale = scale.clamp(max=8) / scale.clamp(max=8).mean()
        sample, target = prediction.sample[:, known:], latents[:, known:]
        gathered = self.whitening.gather(prediction.head.pose[:, known:], prediction.head.events)
        return {
            "cells": (((sample - target) ** 2 * self.cells).mean((1, 2, 3, 4)) * scale).mean(),
            "gap": (self._gap_error(sample, moved[:, known:]) * scale.clamp(max=3)).mean(),
            "velocity": self._velocity_error(sample, latents),
            "head": (gathered - numbers).square().mean(),
        }

    def head(self, networks: MotionNetworks, clips: Clips, generator: torch.Generator) -> Tensor:
        """Denoising loss of the head's tokens alone, without the picture: cheap, for many clips at once."""
        u = torch.rand(len(clips.pose), generator=generator)
        first = torch.rand(len(u), generator=generator) < FIRST_CLIPS
        numbers, head = self._head_input(clips, u, first, generator)
        times = self._times(shifted(u, SHIFT), first, clips.pose.shape[1])
        backbone = networks.backbone
        heard = self._hear(networks, clips, generator).detach()
        with torch.no_grad():
            embedding = backbone.embed(times, times.shape[1], clips.speed)
        prediction, _ = backbone.think(Conditions(heard=heard, head=head), embedding, None)
        known = self.whitening.known
        return (self.whitening.gather(prediction.pose[:, known:], prediction.events) - numbers).square().mean()

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of `motion`'s losses."""
        w = self.weights
        return losses["cells"] + w.gap * losses["gap"] + w.velocity * losses["velocity"] + w.head * losses["head"]

    def _hear(self, networks: MotionNetworks, clips: Clips, generator: torch.Generator) -> Tensor:
        kept = torch.rand(len(clips.sound), 1, 1, 1, generator=generator) >= DROPPED_SOUND
        tokens: Tensor = networks.sound_projection(clips.sound) * kept
        return tokens

    def _times(self, t: Tensor, first: Tensor, frames: int) -> Tensor:
        """t per frame: 0 for known frames; 1 where there are none yet."""
        times = t[:, None].repeat(1, frames)
        times[:, : self.whitening.known] = first.float()[:, None]
        return times

    def _noisy(
        self, latents: Tensor, t: Tensor, first: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Rectified flow: x_t = (1 - t) x + t e for the new frames; known frames stay clean, or are zero."""
        known, batch = self.whitening.known, len(latents)
        new = latents[:, known:]
        noise = frame_noise(new.shape, self.correlation, generator)
        mix = t[:, None, None, None, None]
        level = KNOWN_NOISE * torch.rand(batch, 1, 1, 1, 1, generator=generator)
        earlier = latents[:, :known] + level * torch.randn(latents[:, :known].shape, generator=generator)
        earlier = earlier * (~first)[:, None, None, None, None]
        noisy = torch.cat([earlier, (1 - mix) * new + mix * noise], dim=1)
        return noisy, self._times(t, first, latents.shape[1])

    def _head_input(
        self, clips: Clips, u: Tensor, first: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, HeadInput]:
        """v-diffusion on the angle u pi / 2: y = cos w + sin e, v = cos e - sin w. Returns v and the input."""
        looks = Looks(clips.saccades, clips.fixations)
        pose, white = self.whitening.encode(clips.pose, clips.onsets, clips.speed, generator, looks)
        noise = torch.randn(white.shape, generator=generator)
        angle = u[:, None] * (math.pi / 2)
        noisy = torch.cos(angle) * white + torch.sin(angle) * noise
        lids, gaze = clips.lids[:, : self.whitening.known], clips.gaze[:, : self.whitening.known]
        v = torch.cos(angle) * noise - torch.sin(angle) * white
        return v, head_input(self.whitening, noisy, pose, lids, gaze, ~first)

    def _gap_error(self, sample: Tensor, moved: Tensor) -> Tensor:
        """Squared error of the inner-lip gap per clip, in units of GAP_UNIT."""
        predicted, _ = self.codec.unpack(sample)
        error = (lip_gaps(predicted) - lip_gaps(moved))[..., 1] / GAP_UNIT
        return error.square().mean((1, 2))

    def _velocity_error(self, sample: Tensor, latents: Tensor) -> Tensor:
        """Squared error of the change from frame to frame, the step from the known frames included."""
        known = self.whitening.known
        before = torch.cat([latents[:, known - 1 : known], sample[:, :-1]], dim=1)
        true_before = latents[:, known - 1 : -1]
        error = (sample - before) - (latents[:, known:] - true_before)
        return (error.square() * self.cells).mean()


def cell_weights(codec: FlowCodec, weights: Weights) -> Tensor:
    """How much each latent cell (49, 8, 8) counts: the mouth more, the one closure plane most."""
    grid = torch.ones(3, codec.grid, codec.grid)
    grid[:, 14:30, 6:25] = weights.mouth_cells  # where the chart holds the mouth
    folded = nn.functional.pixel_unshuffle(grid, codec.patch)
    return torch.cat([folded, torch.full((1, *folded.shape[1:]), weights.closure)])
