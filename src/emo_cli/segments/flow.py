"""Mini's segments: earlier frames are clean frames of the same window, and the head has numbers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from emo_cli import sampling
from emo_cli.chart.whitening import HeadState
from emo_cli.clips import ClipPlan, Segment
from emo_cli.networks.codec import Motion
from emo_cli.networks.reuse import Reuse
from emo_cli.networks.unet import Conditions
from emo_cli.sampling import FlowClip, FlowPredict, FlowStep
from emo_cli.segments.guide import Guide, Said
from emo_cli.segments.made import Made, remaining
from emo_cli.segments.scene import Callback, Scene

LEANING = 0.2
"""How much of either neighbour is in the first frame of a clip."""


def flow_segments(scene: Scene, plan: ClipPlan, callback: Callback, last: Made | None = None) -> Iterator[Made]:
    """Clip after clip; each sees the last frames of the one before, the first sees none.

    The noise goes on from clip to clip too: what the network gets wrong follows its noise, and would jump at a border.
    """
    assert scene.whitening is not None
    family = scene.family
    shape = (family.latent_channels, family.latent_size, family.latent_size)
    known = family.motion_frames
    earlier, before, state = torch.zeros(1, known, *shape), None, HeadState.at_rest(1, known)
    if last is not None:
        earlier, before, state = last.carried[0], last.carried[1], HeadState(*last.carried[2:])
    for index, segment in remaining(plan, last):
        chance = scene.chance(index)
        noise = sampling.frame_noise((1, segment.length, *shape), family.noise_correlation, chance, before)
        start = FlowClip(noise, torch.randn(1, scene.whitening.numbers, generator=chance))
        predict = _prediction(scene, segment, earlier, state, first=index == 0)
        clip = sampling.flow(start, predict, scene.steps, partial(callback, segment.start))
        latents = clip.latents if index == 0 else joined(clip.latents, earlier[:, -1])
        head, state = scene.whitening.decode(clip.numbers, scene.speed, state)
        earlier, before = latents[:, -known:], noise[:, -1]
        shown = segment.shown
        gaze = None if head.gaze is None else head.gaze[0, :shown]
        motion = Motion(latents[0, :shown], head.pose[0, :shown], head.lids[0, :shown], gaze)
        yield Made(index, motion, (earlier, before, *state.tensors()))


def joined(latents: Tensor, before: Tensor) -> Tensor:
    """New frames (1, frames, ...) whose first leans on both of its neighbours; `before` (1, ...) is the earlier one.

    Few steps leave the first frame of a clip a tenth quicker than others; so it is nearly as quick as they are.
    """
    first = sampling.smoothed(latents[:, :2], before[:, None], LEANING)[:, :1]
    return torch.cat([first, latents[:, 1:]], dim=1)


def _prediction(scene: Scene, segment: Segment, earlier: Tensor, state: HeadState, first: bool) -> FlowPredict:
    """What the network says about a clip, guidance included."""
    assert scene.whitening is not None
    whitening, known = scene.whitening, scene.family.motion_frames
    device, dtype = scene.device, scene.dtype
    tokens = scene.hear(segment.start - known, known + segment.length)
    audio = scene.backbone.listen(tokens)
    pose = state.pose / (whitening.kappa * scene.speed)[:, None]
    seen = torch.tensor([not first])

    guide = Guide(scene, (scene.guidance, scene.family.head_guidance))

    def say(clip: FlowClip, step: FlowStep, heard: bool, reuse: Reuse | None) -> Said:
        times = torch.full((1, known + segment.length), step.t)
        times[:, :known] = float(first)  # clean frames have time 0; where there are none yet, all is noise
        conditions = Conditions(
            reference=scene.reference,
            audio=audio if heard else None,
            heard=tokens if heard else None,
            speed=scene.speed.to(device, dtype),
            head=sampling.head_input(whitening, clip.numbers, pose, state.known_lids, state.known_gaze, seen).to(
                device, dtype
            ),
        )
        noisy = torch.cat([earlier, clip.latents], dim=1).to(device, dtype)
        said = scene.backbone(noisy, times.to(device), conditions, reuse)
        assert said.head is not None
        v = whitening.gather(said.head.pose[:, known:].float().cpu(), said.head.events.float().cpu())
        return said.sample[:, known:].float().cpu(), v

    def predict(clip: FlowClip, step: FlowStep) -> FlowClip:
        return FlowClip(*guide(step.index, partial(say, clip, step, True), partial(say, clip, step, False)))

    return predict
