"""EMO's and Hallo's segments: the last frames of a clip pass ReferenceNet and guide the next one's temporal layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from emo_cli import sampling
from emo_cli.clips import ClipPlan, Segment
from emo_cli.networks.attention import KeysValues
from emo_cli.networks.codec import Motion
from emo_cli.networks.reuse import Reuse
from emo_cli.networks.unet import Conditions, Reference
from emo_cli.segments.guide import Guide, Said
from emo_cli.segments.made import Made, remaining
from emo_cli.segments.scene import Callback, Scene


@dataclass(frozen=True)
class Seen:
    """What ReferenceNet saw for one clip.

    reference: keys and values of the portrait; motion: features of earlier frames, seen as the person's; silent: the
    same seen as nobody's, for the prediction from which guidance leads away.
    """

    reference: tuple[KeysValues, ...]
    motion: tuple[Tensor, ...]
    silent: tuple[Tensor, ...]


def carried_segments(scene: Scene, plan: ClipPlan, callback: Callback, last: Made | None = None) -> Iterator[Made]:
    """Clip after clip on Stable Diffusion's noise; EMO, section 3.2, "motion frames": the first clip's are zeros."""
    count, shape = scene.family.motion_frames, scene.canvas.reference.shape[1:]
    levels, latents = sampling.noise_levels(), None if last is None else last.carried[0]
    noises = islice(_noises(scene, plan, shape), 0 if last is None else last.index + 1, None)
    for (index, segment), noise in zip(remaining(plan, last), noises, strict=True):
        seen = _exactly_seen(scene, segment, latents) if _exact(scene) else _seen(scene, latents)
        predict = _prediction(scene, segment, seen)
        clip = sampling.ddim(noise, predict, scene.steps, levels, partial(callback, segment.start))[0]
        latents = clip[-count:]
        yield Made(index, Motion(clip[: segment.shown]), (latents,))


def _noises(scene: Scene, plan: ClipPlan, shape: torch.Size) -> Iterator[Tensor]:
    """Noise (1, frames, channels, h, w) of every segment; Hallo's own code draws channels first, from one generator."""
    one_for_all = torch.Generator().manual_seed(scene.settings.seed)
    for index, segment in enumerate(plan.segments):
        if _exact(scene):
            drawn = torch.randn(1, shape[0], segment.length, *shape[1:], generator=one_for_all)
            yield drawn.transpose(1, 2)
        else:
            yield torch.randn(1, segment.length, *shape, generator=scene.chance(index))


def _exact(scene: Scene) -> bool:
    return scene.family.exact and scene.family.carried == "pictures"


def _seen(scene: Scene, latents: Tensor | None) -> Seen:
    """Earlier frames as the person's and as nobody's; the portrait was seen before the first clip."""
    earlier = _earlier(scene, latents)
    if scene.identity is None:
        motion = pictures(_look(scene, earlier, None))
        return Seen(scene.reference, motion, motion)
    motion = pictures(_look(scene, earlier, scene.identity.person))
    known = scene.identity.person is not scene.identity.nobody and scene.guidance != 1
    silent = pictures(_look(scene, earlier, scene.identity.nobody)) if known else motion
    return Seen(scene.reference, motion, silent)


def _earlier(scene: Scene, latents: Tensor | None) -> Tensor:
    """Motion frames (frames, channels, h, w) after a clip whose last latents these are; None before the first."""
    count, portrait = scene.family.motion_frames, scene.canvas.reference
    if scene.family.carried == "latents":
        return portrait.new_zeros(count, *portrait.shape[1:]) if latents is None else latents
    if latents is None:
        return portrait.expand(count, -1, -1, -1)
    assert scene.codec is not None
    return scene.codec.encode(scene.codec.pixels(latents) * 2 - 1)


def _exactly_seen(scene: Scene, segment: Segment, latents: Tensor | None) -> Seen:
    """As in Hallo's own code: images and tokens meet in the wrong order, and features pass through 16 bits.

    Half 0 of the images (portrait, motion frames) is that of nobody, half 1 that of the person; but tokens go nobody,
    person, nobody, ... through both. Frame by frame, the two halves' portraits take turns.
    """
    assert scene.codec is not None and scene.identity is not None
    portrait, count = scene.canvas.sheet, scene.family.motion_frames
    frames = portrait.expand(count, -1, -1, -1) if latents is None else scene.codec.pixels(latents) * 2 - 1
    pixels = torch.cat([portrait, frames.to(portrait.device)])
    images = scene.codec.encode(pixels * 2 - 1 if pixels.min() >= 0 else pixels)  # bright ones are normalised twice
    tokens = torch.cat([scene.identity.nobody, scene.identity.person]).repeat(len(images), 1, 1)
    hidden = _look(scene, images.repeat(2, 1, 1, 1), tokens).rounded().hidden
    turns = [(segment.length + frame) % 2 for frame in range(segment.length)]
    both = scene.backbone.remember(Reference(tuple(rows[:: len(images)] for rows in hidden)))
    return Seen(
        reference=tuple(KeysValues(pair.keys[turns], pair.values[turns]) for pair in both),
        motion=pictures(Reference(tuple(rows[-count:] for rows in hidden))),
        silent=pictures(Reference(tuple(rows[1 : 1 + count] for rows in hidden))),
    )


def _look(scene: Scene, latents: Tensor, tokens: Tensor | None) -> Reference:
    identity = None if tokens is None else scene.reference_net.recognise(tokens)
    return scene.reference_net.look(latents.to(scene.device, scene.dtype), identity)


def _prediction(scene: Scene, segment: Segment, seen: Seen) -> sampling.Predict:
    speeds = None
    if scene.speed_layers is not None:
        speed = scene.speed[:, :1].expand(-1, segment.length)
        speeds = scene.speed_layers(speed.to(scene.speed_layers.device)).to(scene.dtype)
    person, nobody = None, None
    if scene.identity is not None:
        person = scene.backbone.recognise(scene.identity.person)
        nobody = scene.backbone.recognise(scene.identity.nobody)
    silent = Conditions(motion=seen.silent, speed=speeds, identity=nobody, masks=scene.masks)
    full = Conditions(
        reference=seen.reference,
        face=scene.face,
        audio=scene.backbone.listen(scene.hear(segment.start, segment.length)),
        motion=seen.motion,
        speed=speeds,
        identity=person,
        masks=scene.masks,
    )

    guide = Guide(scene, (scene.guidance,))

    def predict(latents: Tensor, step: sampling.Step) -> Tensor:
        noisy, times = latents.to(scene.device, scene.dtype), torch.tensor([step.t], device=scene.device)

        def say(conditions: Conditions, reuse: Reuse | None) -> Said:
            return (scene.backbone(noisy, times, conditions, reuse).sample.float().cpu(),)

        (said,) = guide(step.index, partial(say, full), partial(say, silent))
        return said

    return predict


def pictures(features: Reference, batch: int = 1) -> tuple[Tensor, ...]:
    """ReferenceNet's features of batch * n square frames as (batch, n, channels, h, w), for the temporal layers."""
    shaped = []
    for hidden in features.hidden:
        side = round(hidden.shape[1] ** 0.5)
        shaped.append(hidden.transpose(1, 2).unflatten(2, (side, side)).unflatten(0, (batch, -1)))
    return tuple(shaped)
