"""EchoMimic's one long segment: overlapping windows are denoised side by side and blended inside every step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from emo_cli import clips, sampling
from emo_cli.clips import ClipPlan
from emo_cli.networks.codec import Motion
from emo_cli.networks.unet import Conditions
from emo_cli.segments.scene import Callback, Scene


def blended_segments(scene: Scene, plan: ClipPlan, callback: Callback) -> Iterator[Motion]:
    """All frames move from noise to picture together; windows shift from step to step, so no border stays."""
    family = scene.family
    shape = (family.latent_channels, family.latent_size, family.latent_size)
    for index, segment in enumerate(plan.segments):
        noise = torch.randn(1, segment.length, *shape, generator=scene.chance(index))
        if family.noise_limit is not None:
            noise = noise.clamp(-family.noise_limit, family.noise_limit)
        step = _prediction(scene, segment.start, segment.length)
        levels = sampling.noise_levels()
        latents = sampling.ddim(noise, step, scene.steps, levels, partial(callback, segment.start))
        yield Motion(latents[0, : segment.shown])


def _prediction(scene: Scene, start: int, length: int) -> sampling.Predict:
    tokens, family = scene.hear(start, length), scene.family

    def say(latents: Tensor, window: tuple[int, ...], t: Tensor) -> Tensor:
        noisy, times = latents.to(scene.device, scene.dtype), t[None].to(scene.device)
        audio = scene.backbone.listen(tokens[:, list(window)])
        full = Conditions(reference=scene.reference, face=scene.face, audio=audio)
        with_sound = scene.backbone(noisy, times, full).sample.float().cpu()
        if scene.guidance == 1:
            return with_sound
        without = scene.backbone(noisy, times, Conditions()).sample.float().cpu()
        return sampling.guided(with_sound, without, scene.guidance)

    def predict(latents: Tensor, t: Tensor) -> Tensor:
        shift = int(1000 - float(t)) % (family.window - family.overlap)
        windows = list(clips.windows(length, family.window, family.overlap, shift))
        return sampling.blended(latents, windows, lambda part, window: say(part, window, t))

    return predict
