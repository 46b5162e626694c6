"""EMO's three stages: who learns when, what is asked of the networks, and that it is what animating asks too."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from emo_cli import sampling
from emo_cli.networks.blocks import BlockTransform
from emo_cli.networks.codec import SCALE, Canvas
from emo_cli.networks.unet import Conditions
from emo_cli.segments.scene import Settings
from emo_cli.training.emo.learner import Learner, Task, weights
from emo_cli.training.emo.objective import Drops, Objective
from emo_cli.training.emo.presets import PRESETS, Sources, seeded, stages_for, with_parts_of
from emo_cli.training.emo.stages import STAGES, part_of, unfreeze
from tiny_pipeline import tiny


@cache
def learner(stage: int = 2) -> Learner:
    pipeline = with_parts_of(STAGES[stage], seeded(PRESETS["emo-tiny"], Sources(), 0), 0)
    return Learner(pipeline, 5.0, still=not STAGES[stage].moving)


def learned_in(stage: int) -> set[str]:
    """The parts of which anything learns."""
    unfreeze(learner(), STAGES[stage], False)
    return {part_of(name, False) for name, value in learner().named_parameters() if value.requires_grad}


def test_each_stage_lets_its_own_parts_learn() -> None:
    picture = {"backbone", "reference_net", "face_locator"}
    expected = [picture, picture | {"temporal", "audio"}, {"temporal", "speed"}]
    assert [learned_in(stage) for stage in range(3)] == expected


def test_the_audio_layers_rest_while_speed_is_learned() -> None:
    unfreeze(learner(), STAGES[2], False)
    frozen = [name for name, value in learner().named_parameters() if not value.requires_grad]
    assert sum("audio_modules" in name for name in frozen) > 20
    assert any(name.startswith("sound_projection") for name in frozen)
    learns = [name for name, value in learner().named_parameters() if value.requires_grad]
    assert any("speed_attention" in name for name in learns) and any("speed_layers" in name for name in learns)


def test_a_backbone_that_hears_in_its_spatial_blocks_has_its_audio_layers_there() -> None:
    name = "backbone.down_blocks.0.attentions.0.transformer_blocks.0.{}.weight"
    assert part_of(name.format("attn2.to_k"), True) == "audio"
    assert part_of(name.format("attn1.to_k"), True) == "backbone"
    assert part_of("backbone.down_blocks.0.resnets.0.norm2.weight", True) == "backbone"
    assert part_of("reference_net.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", True) != "audio"


def test_a_model_without_speed_layers_has_no_third_stage() -> None:
    assert [stage.name for stage in stages_for(PRESETS["tune"], tiny("echomimic").backbone)] == ["image", "video"]


def test_pure_noise_counts_fully_and_almost_clean_frames_little() -> None:
    share = torch.tensor([0.0, 0.5, 0.99])
    assert torch.allclose(weights(share, 5.0), torch.tensor([1.0, 1.0, 0.05]))


class Knowing(torch.nn.Module):
    """A Backbone that says v of a clip it knows, from the noisy latents alone."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, noisy: Tensor, t: Tensor, conditions: Conditions) -> object:
        share = sampling.noise_levels()[t.long()][:, None, None, None, None]
        v = (share.sqrt() * noisy - self.clean) / (1 - share).sqrt()
        return type("Prediction", (), {"sample": v})()


def test_what_is_asked_of_the_network_leads_the_sampler_to_the_clip() -> None:
    clean = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    knowing = Knowing(clean)
    asked = learner(0)
    asked.backbone, kept = knowing, asked.backbone
    losses = asked(Task(clean, torch.randn_like(clean), torch.tensor([999, 300])))
    asked.backbone = kept
    assert losses["error"] < 1e-9
    made = sampling.ddim(
        torch.randn_like(clean),
        lambda latents, step: knowing(latents, torch.full((2,), step.t), Conditions()).sample,
        4, sampling.noise_levels(), lambda step: None,
    )  # fmt: skip
    assert torch.allclose(made, clean, atol=1e-4)


def _first_conditions(kind: str) -> tuple[Conditions, Conditions]:
    """What the Backbone is told when a video begins, and what the learner tells it of the same clip."""
    pipeline = tiny(kind)
    random = torch.Generator().manual_seed(1)
    portrait = torch.randn(1, 4, 8, 8, generator=random)
    mask, sound = torch.rand(1, 1, 64, 64, generator=random), torch.randn(12, 5, 12, generator=random)
    torch.nn.init.normal_(pipeline.face_locator.conv_out.weight)
    calls: list[Conditions] = []
    hook = pipeline.backbone.register_forward_pre_hook(lambda module, arguments: calls.append(arguments[2]))
    list(pipeline.motions(Canvas(portrait, None), mask[0, 0].numpy(), sound, Settings(steps=1, speed=2.0)))
    hook.remove()
    frames = pipeline.family.window
    told = Learner(pipeline, 5.0, still=False).conditions(
        Task(
            clean=torch.zeros(1, frames, 4, 8, 8),
            noise=torch.zeros(1, frames, 4, 8, 8),
            t=torch.zeros(1),
            portrait=portrait,
            earlier=torch.zeros(1, 4, 4, 8, 8) if pipeline.family.motion_frames else None,
            face=mask,
            sound=sound[None, :frames],
            speed=torch.full((1, frames), 2 * pipeline.family.speed[0]),
        )
    )
    return calls[0], told


@pytest.mark.parametrize("kind", ("emo", "echomimic"))
def test_training_tells_the_network_what_animating_tells_it(kind: str) -> None:
    shown, told = _first_conditions(kind)
    for field in ("face", "speed"):
        one, other = getattr(shown, field), getattr(told, field)
        assert (one is None) == (other is None) and (one is None or torch.allclose(one, other, atol=1e-6))
    for one, other in zip(shown.reference, told.reference, strict=True):
        assert torch.allclose(one.keys, other.keys, atol=1e-6)
    for (one,), (other,) in zip(shown.audio, told.audio, strict=True):
        assert torch.allclose(one.values, other.values, atol=1e-6)
    for one, other in zip(shown.motion or (), told.motion or (), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_conditions_are_left_out_as_often_as_asked_and_earlier_frames_never() -> None:
    task = Task(*torch.zeros(3, 1, 1, 1, 1, 1), *torch.zeros(4, 1, 1, 1, 1), speed=torch.zeros(1, 1))
    task = replace(task, masks=None, sound=torch.zeros(1, 1, 1, 1))
    objective = Objective(
        torch.nn.Identity(), None, None, None, Drops(0.2, 0.3, 0.5), torch.device("cpu"), torch.float32
    )
    noise = torch.Generator().manual_seed(0)
    seen = [objective._with_gaps(task, noise) for _ in range(1000)]
    assert all(one.earlier is not None for one in seen)
    assert all(one.face is None and one.sound is None for one in seen if one.portrait is None)
    shares = [sum(getattr(one, name) is None for one in seen) / 1000 for name in ("portrait", "sound", "speed")]
    assert np.allclose(shares, (0.2, 0.44, 0.5), atol=0.05)


def test_new_layers_of_an_untrained_emo_change_nothing() -> None:
    backbone, latents = learner().backbone, torch.randn(1, 3, 16, 8, 8)
    audio = backbone.listen(torch.randn(1, 3, 10, 48))
    speed = torch.randn(1, 3, 32)
    with torch.no_grad():
        plain = backbone(latents, torch.tensor([500.0]), Conditions(still=True)).sample
        told = backbone(latents, torch.tensor([500.0]), Conditions(audio=audio, speed=speed)).sample
    assert torch.allclose(plain, told, atol=1e-5)


def test_a_picture_survives_the_cosines_of_its_blocks() -> None:
    ramp = torch.linspace(-1, 1, 64)
    picture = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)])[None]
    transform = BlockTransform()
    latents = transform.encode(picture).latent_dist.mean
    assert latents.shape == (1, 16, 8, 8) and (latents * SCALE).std() < 2
    assert (transform.decode(latents).sample - picture).abs().max() < 0.03
