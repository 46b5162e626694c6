"""Denoise clips: flow and DDIM samplers, guidance, clips that continue one another, windows that overlap.

Every function is pure: noise is an argument, so the same seed gives the same frames whatever the chunking.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emo_cli.chart.glances import UNIT
from emo_cli.chart.whitening import HeadWhitening
from emo_cli.networks.head import HeadInput

Window = tuple[int, ...]
"""Which frames are denoised together."""

SHIFT = 4.0
"""Flow times lean to the noisy side: smooth fields can be read through a lot of noise."""


@dataclass(frozen=True)
class Step:
    """One step of DDIM: which it is, counted from 0, and the training step 0..999 whose noise the latents have."""

    index: int
    t: float


Predict = Callable[[Tensor, Step], Tensor]
"""(noisy latents, step) -> what the network says, guidance included."""


def shifted(u: Tensor, shift: float) -> Tensor:
    """Flow time t in 0..1 for a uniform u: t = s u / (1 + (s - 1) u)."""
    return shift * u / (1 + (shift - 1) * u)


def frame_noise(
    shape: Sequence[int], correlation: float, generator: torch.Generator, before: Tensor | None = None
) -> Tensor:
    """Unit normal noise (batch, frames, ...) whose neighbouring frames correlate: an autoregression along time.

    before: the noise (batch, ...) of the frame before the first, from which it goes on.
    """
    noise = torch.randn(tuple(shape), generator=generator)
    if correlation == 0:
        return noise
    if before is not None:
        noise[:, 0] = correlation * before + math.sqrt(1 - correlation**2) * noise[:, 0]
    frames = torch.arange(shape[1])
    covariance = correlation ** (frames[:, None] - frames[None]).abs().float()
    return torch.einsum("fg,bg...->bf...", torch.linalg.cholesky(covariance), noise)


def guided(with_sound: Tensor, without: Tensor | None, scale: float) -> Tensor:
    """Classifier-free guidance: away from the silent prediction, towards the one with sound."""
    return with_sound if without is None else without + scale * (with_sound - without)


def head_input(
    whitening: HeadWhitening, noisy: Tensor, pose: Tensor, lids: Tensor, gaze: Tensor, known: Tensor
) -> HeadInput:
    """The head's tokens.

    Args:
        noisy: (batch, numbers); of the known frames pose (batch, known, 3) in units of its size, lids (batch, known)
            and gaze (batch, known, 2) in degrees; known: (batch,) whether there are any.
    """
    spread, events = whitening.spread_out(noisy)
    frames = torch.zeros(len(noisy), whitening.known + whitening.new, 8 if whitening.gaze is None else 10)
    shown = known.float()[:, None]
    frames[:, whitening.known :, :3] = spread
    frames[:, : whitening.known, 3:6] = pose * shown[..., None]
    frames[:, : whitening.known, 6] = lids * shown
    frames[:, : whitening.known, 7] = shown
    if whitening.gaze is not None:
        frames[:, : whitening.known, 8:] = gaze * shown[..., None] / UNIT
    return HeadInput(frames, events)


@dataclass(frozen=True)
class FlowClip:
    """A clip on its way from noise to motion: latents (batch, new, channels, h, w), the head's numbers (batch, n)."""

    latents: Tensor
    numbers: Tensor


@dataclass(frozen=True)
class FlowStep:
    """Which step it is, where the clip is (t of the latents, angle of the head's numbers) and where it goes next."""

    index: int
    t: float
    next_t: float
    angle: float
    next_angle: float


def flow_steps(steps: int) -> list[FlowStep]:
    """From pure noise to the clean clip; more of the way near the noise, where smooth motion is decided."""
    u = torch.linspace(1, 0, steps + 1)
    t, angle = shifted(u, SHIFT).tolist(), (u * (math.pi / 2)).tolist()
    return [FlowStep(i, t[i], t[i + 1], angle[i], angle[i + 1]) for i in range(steps)]


FlowPredict = Callable[[FlowClip, FlowStep], FlowClip]
"""What the network says: the clean latents, and v of the head's numbers."""


def flow(clip: FlowClip, predict: FlowPredict, steps: int, callback: Callable[[int], None]) -> FlowClip:
    """Denoise a clip along straight paths (latents) and arcs (head's numbers).

    Latents: x' = x0 + (t' / t) (x - x0). Numbers: y' = y + (a' - a) v, which keeps white noise white where v = 0; DDIM
    on the same v would shrink it by cos(step) each time.
    """
    for index, step in enumerate(flow_steps(steps)):
        clip = stepped(clip, predict(clip, step), step.next_t / step.t, step.next_angle - step.angle)
        callback(index)
    return clip


def stepped(clip: FlowClip, said: FlowClip, share: float | Tensor, turn: float | Tensor) -> FlowClip:
    """A clip moved on by what the network said of it: `share` of its noise stays, its numbers turn by `turn`."""
    return FlowClip(said.latents + share * (clip.latents - said.latents), clip.numbers + turn * said.numbers)


def smoothed(latents: Tensor, before: Tensor, share: float) -> Tensor:
    """Frames (batch, frames, ...) with `share` of either neighbour in each; the last one's later neighbour is itself.

    before: (batch, 1, ...) the frame before the first.
    """
    earlier, later = torch.cat([before, latents[:, :-1]], dim=1), torch.cat([latents[:, 1:], latents[:, -1:]], dim=1)
    return (1 - 2 * share) * latents + share * (earlier + later)


def noise_levels(training_steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Tensor:
    """Stable Diffusion's linear betas as alpha-bar (1000,), rescaled so that the last step holds no signal.

    Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", algorithm 1.
    """
    root = torch.cumprod(1 - torch.linspace(first, last, training_steps), dim=0).sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    return root.square()


def timesteps(steps: int, training_steps: int = 1000) -> list[int]:
    """Trailing timesteps: the first is the last training step."""
    places = torch.arange(training_steps, 0, -training_steps / steps, dtype=torch.float64)
    return [int(t) for t in (places.round() - 1)]


def ddim(latents: Tensor, predict: Predict, steps: int, levels: Tensor, callback: Callable[[int], None]) -> Tensor:
    """DDIM without added noise on v-predictions; each step goes back by 1000 // steps, as diffusers does."""
    stride = len(levels) // steps
    for index, t in enumerate(timesteps(steps)):
        v = predict(latents, Step(index, float(t)))
        there = levels[t - stride] if t >= stride else torch.tensor(1.0)
        latents = ddim_step(latents, v, levels[t], there)
        callback(index)
    return latents


def ddim_step(latents: Tensor, v: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """From one share of signal (alpha-bar, 0..1) to another.

    x0 = sqrt(a) x - sqrt(1 - a) v, e = sqrt(a) v + sqrt(1 - a) x, x' = sqrt(a') x0 + sqrt(1 - a') e.
    """
    clean = here.sqrt() * latents - (1 - here).sqrt() * v
    noise = here.sqrt() * v + (1 - here).sqrt() * latents
    return there.sqrt() * clean + (1 - there).sqrt() * noise


def blended(
    latents: Tensor, windows: Sequence[Window], predict: Callable[[Tensor, Sequence[Window]], Tensor], at_once: int = 1
) -> Tensor:
    """One prediction for all frames (1, frames, ...) from overlapping windows: the mean where they overlap.

    at_once: how many windows (equally long) `predict` gets as one batch.
    """
    total = torch.zeros_like(latents)
    count = torch.zeros(latents.shape[1])
    for first in range(0, len(windows), at_once):
        group = windows[first : first + at_once]
        said = predict(torch.cat([latents[:, list(window)] for window in group]), group)
        for prediction, window in zip(said, group, strict=True):
            total[0, list(window)] += prediction
            count[list(window)] += 1
    return total / count.view(1, -1, *[1] * (latents.dim() - 2))
