"""The one UNet in all its configurations, at toy size."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional

from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.conditions import FaceLocator, SpeedLayers, WindowProjection
from emo_cli.networks.head import HeadInput
from emo_cli.networks.resnet import PictureConvolution, Resample
from emo_cli.networks.temporal import TemporalModule, positions
from emo_cli.networks.unet import Conditions, Reference, UNet
from emo_cli.stored import IncompatibleCheckpoint, load_strictly

SHARED = {
    "widths": (16, 32), "layers": 1, "heads": 2, "groups": 4, "attention": (True, True), "temporal_groups": 4,
    "temporal_heads": 2, "feed_forward": 2,
}  # fmt: skip
BOTH = (True, True)
KINDS = {
    "echomimic": {"cross": "audio", "cross_width": 12, "audio_scale": 3.0, "temporal": BOTH},
    "hallo": {
        "cross": "identity", "cross_width": 12, "audio_layers": "hierarchical", "audio_width": 10, "temporal": BOTH,
    },
    "emo": {
        "cross": "reference", "audio_layers": "plain", "audio_width": 10, "temporal": BOTH, "speed": "attention",
        "speed_width": 8,
    },
    "mini": {
        "cross": "audio", "cross_width": 12, "temporal": BOTH, "temporal_layers": 1, "speed": "embedding",
        "head_width": 16, "head_audio": 60, "head_gaze": True, "scale_shift": True, "skip_inputs": False,
        "position_size": 8,
    },
}  # fmt: skip


def pair(kind: str) -> tuple[UNet, UNet]:
    """A ReferenceNet and a Backbone with random weights."""
    torch.manual_seed(0)
    config = KINDS[kind]
    looks = {name: config[name] for name in ("scale_shift", "skip_inputs", "position_size") if name in config}
    cross = {"cross": "identity", "cross_width": 12} if kind == "hallo" else {}
    return UNet(out_channels=None, **SHARED, **looks, **cross).eval(), UNet(**SHARED, **config).eval()


def everything(kind: str, frames: int = 3, batch: int = 1) -> tuple[UNet, torch.Tensor, Conditions]:
    """A backbone, latents and all conditions its kind takes."""
    reference_net, backbone = pair(kind)
    noise = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=noise)

    latents, portrait = random(batch, frames, 4, 8, 8), random(batch, 4, 8, 8)
    audio = random(batch, frames, 5, 12 if kind in ("echomimic", "mini") else 10)
    conditions = Conditions(face=random(1, 16, 8, 8))
    with torch.no_grad():
        if kind == "hallo":
            tokens = random(batch, 4, 12)
            masks = RegionMasks((torch.ones(1, 3, 64, 1), torch.ones(1, 3, 16, 1)))
            identity = reference_net.recognise(tokens)
            conditions = replace(conditions, identity=backbone.recognise(tokens), masks=masks)
            reference = reference_net.look(portrait, identity)
        else:
            reference = reference_net.look(portrait)
        conditions = replace(
            conditions, reference=backbone.remember(reference), audio=backbone.listen(audio), heard=audio
        )
        if kind in ("hallo", "emo"):
            conditions = replace(conditions, motion=motion_of(reference, 2))
        if kind == "emo":
            conditions = replace(conditions, speed=random(batch, frames, 8))
        if kind == "mini":
            conditions = replace(
                conditions, speed=random(batch, 3), head=HeadInput(random(batch, frames, 10), random(batch, 5))
            )
    return backbone, latents, conditions


def motion_of(reference: Reference, earlier: int) -> tuple[torch.Tensor, ...]:
    sides = [round(hidden.shape[1] ** 0.5) for hidden in reference.hidden]
    return tuple(
        hidden.transpose(1, 2).unflatten(2, (side, side))[:, None].expand(-1, earlier, -1, -1, -1)
        for hidden, side in zip(reference.hidden, sides, strict=True)
    )


@torch.no_grad()
def sample(backbone: UNet, latents: torch.Tensor, conditions: Conditions, t: float = 500.0) -> torch.Tensor:
    return backbone(latents, torch.full((len(latents),), t), conditions).sample


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_has_the_shape_of_the_latents(kind: str) -> None:
    backbone, latents, conditions = everything(kind)
    assert sample(backbone, latents, conditions).shape == latents.shape


TAKEN = {
    "echomimic": ("reference", "audio", "face"),
    "hallo": ("reference", "audio", "face", "motion", "identity"),
    "emo": ("reference", "audio", "face", "motion", "speed"),
    "mini": ("reference", "audio", "face", "speed"),
}


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, taken in TAKEN.items() for field in taken])
def test_every_condition_changes_the_prediction(kind: str, field: str) -> None:
    backbone, latents, conditions = everything(kind)
    without = replace(conditions, **{field: None})
    if kind == "emo" and field == "speed":
        without = replace(conditions, speed=-conditions.speed)
    assert not torch.allclose(sample(backbone, latents, conditions), sample(backbone, latents, without), atol=1e-5)


@pytest.mark.parametrize("kind", ("echomimic", "hallo", "emo"))
def test_no_audio_is_exactly_audio_of_zeros(kind: str) -> None:
    backbone, latents, conditions = everything(kind)
    zeros = backbone.listen(torch.zeros_like(conditions.heard))
    silent = sample(backbone, latents, replace(conditions, audio=None))
    assert torch.allclose(silent, sample(backbone, latents, replace(conditions, audio=zeros)), atol=1e-6)


@pytest.mark.parametrize("kind", ("echomimic", "mini"))
def test_clips_of_a_batch_do_not_see_each_other(kind: str) -> None:
    backbone, latents, conditions = everything(kind, batch=2)
    whole = sample(backbone, latents, conditions)
    changed = latents.clone()
    changed[1] += 1
    assert torch.allclose(whole[0], sample(backbone, changed, conditions)[0], atol=1e-5)


def test_frames_see_each_other_only_through_temporal_modules() -> None:
    backbone, latents, conditions = everything("echomimic")
    changed = latents.clone()
    changed[:, 2] += 1
    assert not torch.allclose(sample(backbone, latents, conditions)[:, 0], sample(backbone, changed, conditions)[:, 0])
    for name, parameter in backbone.named_parameters():
        if "motion_modules" in name and "proj_out" in name:
            parameter.data.zero_()
    still = sample(backbone, latents, conditions)[:, 0]
    assert torch.allclose(still, sample(backbone, changed, conditions)[:, 0], atol=1e-6)


def test_still_pictures_pass_the_temporal_modules_by() -> None:
    backbone, latents, conditions = everything("echomimic")
    changed = latents.clone()
    changed[:, 1] += 1
    still = replace(conditions, still=True)
    assert torch.equal(sample(backbone, latents, still)[:, 0], sample(backbone, changed, still)[:, 0])
    assert not torch.equal(sample(backbone, latents, conditions)[:, 0], sample(backbone, changed, conditions)[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_run_again_on_the_way_back_give_the_same_gradients(kind: str) -> None:
    backbone, latents, conditions = everything(kind)
    gradients = []
    for recompute in (False, True):
        backbone.recompute = recompute
        backbone.zero_grad()
        backbone(latents, torch.full((1,), 500.0), conditions).sample.square().mean().backward()
        gradients.append([p.grad.clone() for p in backbone.parameters() if p.grad is not None])
    assert len(gradients[0]) > 50 and all(map(torch.equal, *gradients))


def test_motion_frames_are_looked_at_but_not_returned() -> None:
    torch.manual_seed(0)
    module = TemporalModule(8, 4, 2, 2, 2, None).eval()
    x, motion = torch.randn(5, 8, 4, 4), torch.randn(1, 2, 8, 4, 4)
    with torch.no_grad():
        moved = module(x, 5, motion, None)
        joined = module(torch.cat([motion[0], x]), 7, None, None)[2:]
    assert torch.allclose(moved, joined, atol=1e-6)


def test_mini_takes_a_time_for_every_frame() -> None:
    backbone, latents, conditions = everything("mini")
    with torch.no_grad():
        same = backbone(latents, torch.full((1, 3), 0.5), conditions).sample
        other = backbone(latents, torch.tensor([[0.0, 0.5, 0.5]]), conditions).sample
    assert not torch.allclose(same, other)


def test_the_heads_noise_reaches_the_heads_prediction() -> None:
    backbone, latents, conditions = everything("mini")
    torch.nn.init.normal_(backbone.head.pose_out.weight)
    changed = replace(conditions.head, frames=conditions.head.frames + 1)
    with torch.no_grad():
        said = backbone(latents, torch.tensor([0.5]), conditions).head
        other = backbone(latents, torch.tensor([0.5]), replace(conditions, head=changed)).head
    assert not torch.allclose(said.pose, other.pose)


def test_odd_latents_are_upsampled_to_the_size_of_their_skip() -> None:
    backbone, _, conditions = everything("echomimic")
    odd = torch.randn(1, 3, 4, 7, 5)
    assert sample(backbone, odd, Conditions(audio=conditions.audio)).shape == odd.shape


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (7, 5)])
def test_doubling_in_one_step_equals_doubling_and_a_convolution(size: tuple[int, int]) -> None:
    resample = Resample(6, 5, down=False).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    larger = functional.interpolate(x, scale_factor=2, mode="nearest")
    two_steps = functional.conv2d(larger, resample.conv.weight, resample.conv.bias, padding=1)
    torch.testing.assert_close(resample(x), two_steps)


@torch.no_grad()
@pytest.mark.parametrize("size", ((1, 2, 2), (2, 3, 5), (3, 4, 4), (2, 8, 8)))
def test_a_convolution_of_few_pixels_is_the_same_as_one_of_many(size: tuple[int, int, int]) -> None:
    rows, height, width = size
    torch.manual_seed(0)
    layer = PictureConvolution(24, 96, 3, padding=1)
    x = torch.randn(rows, 24, height, width)
    plain = functional.conv2d(x, layer.weight, layer.bias, padding=1)
    said = layer(x)
    assert said.is_contiguous() and said.std() > 0.1
    assert torch.allclose(said, plain, rtol=0, atol=1e-5)


def test_positions_alternate_sine_and_cosine() -> None:
    table = positions(4, 6)
    assert torch.allclose(table[1, :2], torch.tensor([0.841471, 0.540302]), atol=1e-5)


def test_an_untrained_face_locator_changes_nothing() -> None:
    assert torch.count_nonzero(FaceLocator(1, 16, (4, 8, 8, 8))(torch.rand(1, 1, 64, 64))) == 0


def test_a_face_locator_answers_at_an_eighth_of_the_size() -> None:
    assert FaceLocator(3, 16, (4, 8, 8, 8))(torch.rand(2, 3, 64, 32)).shape == (2, 16, 8, 4)


def test_speed_buckets_rise_with_the_speed() -> None:
    layers = SpeedLayers(8)
    slow, fast = layers.buckets(torch.tensor([[0.3, 1.0]]))[0]
    assert (fast >= slow).all() and (fast > slow).any()


def test_a_sound_window_becomes_tokens() -> None:
    projection = WindowProjection(window=5, layers=2, features=6, hidden=8, tokens=3, width=4)
    assert projection(torch.randn(1, 7, 5, 2, 6)).shape == (1, 7, 3, 4)


def test_a_network_opens_again_with_the_same_numbers(tmp_path) -> None:
    backbone, latents, conditions = everything("mini")
    backbone.save_pretrained(tmp_path)
    again = UNet.from_pretrained(tmp_path)
    assert torch.equal(sample(again, latents, conditions), sample(backbone, latents, conditions))


@pytest.mark.parametrize(
    ("change", "complaint"),
    (
        (lambda w: w.pop("conv_in.bias"), "misses 1 tensors"),
        (lambda w: w.update(stranger=torch.zeros(1)), "unknown 1"),
        (lambda w: w.update({"conv_in.bias": torch.zeros(3)}), "misshapen 1"),
    ),
)
def test_weights_that_do_not_fit_are_refused_by_name(change, complaint: str) -> None:
    _, backbone = pair("mini")
    weights = dict(backbone.state_dict())
    change(weights)
    with pytest.raises(IncompatibleCheckpoint, match=complaint):
        load_strictly(backbone, weights, "file")
