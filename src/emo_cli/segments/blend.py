"""EchoMimic's long segments: overlapping windows are denoised side by side and blended inside every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from emo_cli import clips, sampling
from emo_cli.clips import ClipPlan, Segment
from emo_cli.networks.codec import Motion
from emo_cli.networks.unet import Conditions
from emo_cli.segments.made import Made, remaining
from emo_cli.segments.scene import Callback, Scene


def blended_segments(scene: Scene, plan: ClipPlan, callback: Callback, last: Made | None = None) -> Iterator[Made]:
    """The frames of a segment move from noise to picture together; windows shift from step to step, so no border stays.

    EchoMimic denoises a whole song as one segment, so that nothing is shown before all is done and memory grows with
    the sound. Here a song is made in segments of `family.longest` frames; each begins with the last window of the one
    before it, whose latents are replayed step by step. Its windows therefore see those frames just as they were at
    every level of noise, as if all were one segment; only the earlier frames do not see the later ones.
    """
    levels = sampling.noise_levels()
    replayed = [] if last is None else list(last.carried)
    for index, segment in remaining(plan, last):
        blend = Blend(scene, segment, replayed)
        noise = torch.cat([blend.known_noise(), _noise(scene, segment, index)], dim=1)
        latents = sampling.ddim(noise, blend.predict, scene.steps, levels, partial(callback, segment.start))
        replayed = blend.trail
        yield Made(index, Motion(latents[0, blend.known :][: segment.shown]), tuple(replayed))


def official_noise(frames: int, shape: torch.Size, seed: int, dtype: torch.dtype) -> Tensor:
    """What EchoMimic's own code draws: (1, frames, channels, h, w), channels first, in the networks' precision."""
    channels, height, width = shape
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, frames, height, width, generator=chance, dtype=dtype).transpose(1, 2).float()


def _noise(scene: Scene, segment: Segment, index: int) -> Tensor:
    """Noise (1, frames, channels, h, w) of a segment's new frames."""
    shape = scene.canvas.reference.shape[1:]
    if scene.family.exact:
        noise = official_noise(segment.length, shape, scene.settings.seed, scene.dtype)
    else:
        noise = torch.randn(1, segment.length, *shape, generator=scene.chance(index))
    limit = scene.family.noise_limit
    return noise if limit is None else noise.clamp(-limit, limit)


@dataclass
class Blend:
    """One segment on its way.

    replayed: per step, the latents (1, known, channels, h, w) of the last frames of the segment before, which stand in
    front of this one's; trail: the same of this segment, for the next.
    """

    scene: Scene
    segment: Segment
    replayed: list[Tensor]
    trail: list[Tensor] = field(default_factory=list)

    @property
    def known(self) -> int:
        """How many frames of the segment before are seen."""
        return self.replayed[0].shape[1] if self.replayed else 0

    def known_noise(self) -> Tensor:
        """The known frames before the first step (1, known, channels, h, w)."""
        return self.replayed[0] if self.replayed else torch.zeros(1, 0, *self.scene.canvas.reference.shape[1:])

    def predict(self, latents: Tensor, step: sampling.Step) -> Tensor:
        """v for all frames (1, known + frames, channels, h, w) of one step."""
        family = self.scene.family
        if self.replayed:
            latents = torch.cat([self.replayed[step.index], latents[:, self.known :]], dim=1)
        self.trail.append(latents[:, -family.window :])
        shift = step.index * family.window_shift
        windows = clips.windows(latents.shape[1], family.window, family.overlap, shift, closed=family.exact)
        at_once = self.scene.settings.at_once.windows
        return sampling.blended(latents, list(windows), partial(self._say, step), at_once)

    def _say(self, step: sampling.Step, latents: Tensor, windows: Sequence[sampling.Window]) -> Tensor:
        """What the network says about some windows (windows, frames, channels, h, w), guidance included."""
        scene = self.scene
        noisy, times = latents.to(scene.device, scene.dtype), torch.full((len(windows),), step.t, device=scene.device)
        place = [self.segment.start - self.known + index for window in windows for index in window]
        lips = scene.settings.strength.lips
        # Keys and values of a window's sound are cheap to make again; those of a whole song would fill the memory.
        heard = scene.backbone.listen(scene.hear_at(place))
        full = Conditions(reference=scene.reference, face=scene.located(place), audio=heard, lips=lips)
        if not scene.asks_silence(step.index) or (scene.family.exact and scene.guidance < 1):
            return scene.backbone(noisy, times, full).sample.float().cpu()
        if scene.settings.at_once.halves:  # the same numbers, and weights are fetched from memory only once
            both = replace(full, alone=len(windows))
            said = scene.backbone(noisy.repeat(2, 1, 1, 1, 1), times.repeat(2), both).sample.float().cpu()
            with_sound, without = said.chunk(2)
            return sampling.guided(with_sound, without, scene.guidance)
        with_sound = scene.backbone(noisy, times, full).sample.float().cpu()
        without = scene.backbone(noisy, times, Conditions(lips=lips)).sample.float().cpu()
        return sampling.guided(with_sound, without, scene.guidance)
