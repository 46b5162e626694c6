"""Tests of the bundled model's codec: face motion on the chart, latents, and closing lips."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import OVAL, align, lid_gaps, lip_gaps, upright
from emo_cli.face.landmarks import triangles
from emo_cli.training.fitting import drop_inner_cliques, fit_codec, fit_scale
from rig_fixture import small_rig


def random_motion(count: int, seed: int = 0) -> torch.Tensor:
    """Displacements (count, 468, 3): a few expressions of random strength."""
    rig, random = small_rig(), torch.Generator().manual_seed(seed)
    shape = (count, len(rig.names))
    weights = torch.rand(shape, generator=random) * (torch.rand(shape, generator=random) < 0.2)
    return torch.einsum("ne,evk->nvk", weights, rig.expressions)


def test_packing_loses_less_than_a_twentieth_of_a_millimetre(codec: FlowCodec) -> None:
    motion = random_motion(50)
    unpacked, _ = codec.unpack(codec.pack(motion, torch.zeros(50)))
    assert motion.square().mean().sqrt() > 0.1
    assert (unpacked - motion).abs().mean() < 0.005


def test_packing_keeps_the_gap_between_the_lips(codec: FlowCodec) -> None:
    motion = random_motion(50)
    unpacked, _ = codec.unpack(codec.pack(motion, torch.zeros(50)))
    assert (lip_gaps(unpacked) - lip_gaps(motion)).abs().mean() < 0.02


def test_packing_keeps_the_closure(codec: FlowCodec) -> None:
    closure = torch.linspace(0, 1, 12).view(3, 4)
    _, unpacked = codec.unpack(codec.pack(torch.zeros(3, 4, 468, 3), closure))
    torch.testing.assert_close(unpacked, closure)


def test_latents_are_forty_nine_small_planes(codec: FlowCodec) -> None:
    assert codec.pack(torch.zeros(2, 5, 468, 3), torch.zeros(2, 5)).shape == (2, 5, 49, 8, 8)
    assert codec.channels == 49


def test_zero_latents_are_no_motion(codec: FlowCodec) -> None:
    displacement, _ = codec.unpack(torch.zeros(49, 8, 8))
    assert displacement.abs().max() == 0


def test_the_scale_brings_latents_of_typical_motion_to_unit_size() -> None:
    codec, motion = fit_codec(small_rig(), torch.from_numpy(triangles())), random_motion(200)
    fit_scale(codec, motion)
    planes = codec.pack(motion, torch.zeros(200))[:, :48]
    size = planes.square().mean(0).sqrt()
    assert size.max() <= 1
    assert size.median() > 0.3


def test_the_reference_of_the_mean_face_is_empty_and_of_another_is_not(codec: FlowCodec) -> None:
    rig = small_rig()
    assert codec.reference(rig.mean).abs().max() == 0
    assert codec.reference(rig.mean + rig.identities[0]).abs().max() > 0.05


def test_closed_lips_have_the_gap_of_the_mean_face(codec: FlowCodec) -> None:
    rig = small_rig()
    speaking = 0.4 * rig.expression("jawOpen")[None]
    closed = codec.close_lips(rig.mean, speaking, torch.ones(1))
    height = (lip_gaps(rig.mean + closed) - lip_gaps(rig.mean))[..., 1]
    assert lip_gaps(rig.mean + speaking)[..., 4, 1] > 1
    assert height.abs().max() < 0.01


def test_the_mouth_of_an_open_photo_closes_too(codec: FlowCodec) -> None:
    rig = small_rig()
    photo = rig.mean + 0.3 * rig.expression("jawOpen")
    closed = codec.close_lips(photo, torch.zeros(1, 468, 3), torch.ones(1))
    assert (lip_gaps(photo + closed) - lip_gaps(rig.mean))[..., 1].abs().max() < 0.01


def test_closing_half_leaves_half_of_the_opening(codec: FlowCodec) -> None:
    rig = small_rig()
    speaking = 0.3 * rig.expression("jawOpen")[None]
    half = codec.close_lips(rig.mean, speaking, torch.full((1,), 0.5))
    before, after = (float(lip_gaps(motion)[0, 4, 1]) for motion in (speaking, half))
    assert after == pytest.approx(0.5 * before, rel=0.02)


def test_lips_that_would_cross_meet_instead(codec: FlowCodec) -> None:
    rig = small_rig()
    crossing = codec.close_lips(rig.mean, 0.5 * rig.expression("mouthClose")[None], torch.zeros(1))
    assert lip_gaps(0.5 * rig.expression("mouthClose"))[4, 1] < -1
    assert (lip_gaps(rig.mean + crossing) - lip_gaps(rig.mean))[..., 1].min() > -0.02


def test_a_still_face_is_not_touched_by_closing_nothing(codec: FlowCodec) -> None:
    rig = small_rig()
    slightly_crossed = rig.mean + 0.02 * rig.expression("mouthClose")
    still = codec.close_lips(slightly_crossed, torch.zeros(1, 468, 3), torch.zeros(1))
    assert still.abs().max() == 0


def test_closing_can_be_learned_through(codec: FlowCodec) -> None:
    motion = (0.3 * small_rig().expression("jawOpen")[None]).requires_grad_()
    codec.close_lips(small_rig().mean, motion, torch.full((1,), 0.5)).square().sum().backward()
    assert motion.grad is not None
    assert motion.grad.abs().max() > 0


def test_a_saved_codec_packs_alike(codec: FlowCodec, tmp_path: Path) -> None:
    codec.save_pretrained(tmp_path, torch.bfloat16)
    opened, motion = FlowCodec.from_pretrained(tmp_path), random_motion(2)
    assert torch.equal(opened.pack(motion, torch.ones(2)), codec.pack(motion, torch.ones(2)))


def test_lid_spreads_are_exact_at_the_lids(codec: FlowCodec) -> None:
    upward = torch.zeros(28, 3)
    upward[:14, 1] = 0.3
    moved = codec.lid_spread @ upward
    torch.testing.assert_close(lid_gaps(moved)[..., 1], torch.full((14,), 0.3), atol=0.002, rtol=0)


def test_the_chart_keeps_the_face_inside_its_border(codec: FlowCodec) -> None:
    assert codec.uv.min() >= 0.5
    assert codec.uv.max() <= codec.grid - 1.5


def test_a_turned_and_scaled_photo_gives_the_same_canonical_face() -> None:
    rig = small_rig()
    angle = torch.tensor(0.3)
    zero, one = torch.zeros(()), torch.ones(())
    rows = [angle.cos(), zero, angle.sin(), zero, one, zero, -angle.sin(), zero, angle.cos()]
    photo = upright((rig.mean + rig.bias) @ torch.stack(rows).view(3, 3).T * 17 + 200)
    similarity, canonical = align(photo, rig.mean, rig.bias)
    assert similarity.scale == pytest.approx(1 / 17, rel=1e-3)
    torch.testing.assert_close(canonical, rig.mean, atol=1e-3, rtol=0)


def test_a_similarity_can_be_undone() -> None:
    rig = small_rig()
    similarity, _ = align(upright(rig.mean * 11 + 50), rig.mean, rig.bias)
    torch.testing.assert_close(similarity.invert(similarity.apply(rig.mean)), rig.mean, atol=1e-3, rtol=0)
    shift = similarity.invert(rig.mean + 1) - similarity.invert(rig.mean)
    torch.testing.assert_close(similarity.invert_vectors(torch.ones(468, 3)), shift, atol=1e-3, rtol=0)


def test_triangles_that_only_surround_a_vertex_are_dropped() -> None:
    fan = [[0, 1, 3], [1, 2, 3], [2, 0, 3]]
    outside = [[0, 1, 4], [1, 2, 5], [2, 0, 6]]
    kept = drop_inner_cliques(torch.tensor([*fan, *outside, [0, 1, 2]]))
    assert kept.tolist() == [*fan, *outside]


def test_all_triangles_face_the_viewer(codec: FlowCodec) -> None:
    a, b, c = (codec.mean[codec.triangles[:, corner], :2] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    assert area.min() >= 0


def test_the_outline_is_a_closed_ring_of_different_points() -> None:
    assert len(set(OVAL)) == 36
