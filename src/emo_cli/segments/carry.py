"""EMO's and Hallo's segments: the last frames of a clip pass ReferenceNet and guide the next one's temporal layers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from emo_cli import sampling
from emo_cli.clips import ClipPlan, Segment
from emo_cli.networks.codec import Motion
from emo_cli.networks.unet import Conditions, Reference
from emo_cli.segments.scene import Callback, Scene


def carried_segments(scene: Scene, plan: ClipPlan, callback: Callback) -> Iterator[Motion]:
    """Clip after clip on Stable Diffusion's noise; EMO, section 3.2, "motion frames": the first clip's are zeros."""
    family = scene.family
    shape = (family.latent_channels, family.latent_size, family.latent_size)
    earlier = torch.zeros(family.motion_frames, *shape)
    for index, segment in enumerate(plan.segments):
        noise = torch.randn(1, segment.length, *shape, generator=scene.chance(index))
        motion = pictures(scene.reference_net.look(earlier.to(scene.device, scene.dtype)))
        predict = _prediction(scene, segment, motion)
        levels = sampling.noise_levels()
        latents = sampling.ddim(noise, predict, scene.steps, levels, partial(callback, segment.start))
        earlier = latents[0, -family.motion_frames :]
        yield Motion(latents[0, : segment.shown])


def _prediction(scene: Scene, segment: Segment, motion: tuple[Tensor, ...]) -> sampling.Predict:
    speeds = None
    if scene.speed_layers is not None:
        speed = scene.speed[:, :1].expand(-1, segment.length)
        speeds = scene.speed_layers(speed.to(scene.speed_layers.device)).to(scene.dtype)
    silent = Conditions(motion=motion, speed=speeds)
    audio = scene.backbone.listen(scene.hear(segment.start, segment.length))
    full = Conditions(reference=scene.reference, face=scene.face, audio=audio, motion=motion, speed=speeds)

    def predict(latents: Tensor, step: sampling.Step) -> Tensor:
        noisy, times = latents.to(scene.device, scene.dtype), torch.tensor([step.t], device=scene.device)
        with_sound = scene.backbone(noisy, times, full).sample.float().cpu()
        if scene.guidance == 1:
            return with_sound
        without = scene.backbone(noisy, times, silent).sample.float().cpu()
        return sampling.guided(with_sound, without, scene.guidance)

    return predict


def pictures(features: Reference) -> tuple[Tensor, ...]:
    """ReferenceNet's features of n square frames as (1, n, channels, h, w) each, for the temporal layers."""
    shaped = []
    for hidden in features.hidden:
        side = round(hidden.shape[1] ** 0.5)
        shaped.append(hidden.transpose(1, 2).unflatten(2, (side, side))[None])
    return tuple(shaped)
