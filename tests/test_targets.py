"""Tests of the training targets: articulation to expression weights to displacement of random faces."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from emo_cli.chart.codec import FlowCodec
from emo_cli.chart.geometry import lip_gaps
from emo_cli.face.landmarks import LOWER_LIP_INNER_MIDDLE, UPPER_LIP_INNER_MIDDLE
from emo_cli.training.articulation import CURVES
from emo_cli.training.rig import sides
from emo_cli.training.targets import displacement, expression_weights, random_reference, rest_jaw
from rig_fixture import small_rig


def posture(**values: float) -> torch.Tensor:
    """Curves (1, 1, 10) of one frame."""
    return torch.tensor([values.get(name, 0.0) for name in CURVES])[None, None]


def moved(codec: FlowCodec, canonical: torch.Tensor, curves: torch.Tensor) -> torch.Tensor:
    """The first face (468, 3) of a batch, in the first frame."""
    rig = small_rig()
    weights = expression_weights(rig.names, curves).expand(len(canonical), -1, -1)
    closure = curves[..., CURVES.index("close")].expand(len(canonical), -1)
    return (canonical[:, None] + displacement(rig, codec, canonical, weights, closure))[0, 0]


def opening(face: torch.Tensor) -> float:
    """Centimetres between the lips beyond those of the closed mean face."""
    mean = small_rig().mean
    moved = face - mean
    return float(moved[UPPER_LIP_INNER_MIDDLE, 1] - moved[LOWER_LIP_INNER_MIDDLE, 1])


def open_mouthed(weight: float = 0.3) -> torch.Tensor:
    rig = small_rig()
    return (rig.mean + weight * rig.expression("jawOpen"))[None]


def test_rest_gives_no_weights() -> None:
    assert expression_weights(small_rig().names, torch.zeros(2, 3, 10)).abs().max() == 0


def test_no_articulation_blinks() -> None:
    rig = small_rig()
    weights = expression_weights(rig.names, torch.rand(50, 10, generator=torch.Generator().manual_seed(0)))
    assert weights[:, sides(rig.names, "eyeBlink")].abs().max() == 0


def test_raised_brows_lift_and_lowered_brows_draw_down() -> None:
    rig = small_rig()
    up, down = expression_weights(rig.names, torch.zeros(2, 10), torch.tensor([0.8, -0.3]))
    lift, draw = sides(rig.names, "browInnerUp"), sides(rig.names, "browDown")
    assert (up[lift] > 0).all() and (up[draw] == 0).all()
    assert (down[draw] > 0).all() and (down[lift] == 0).all()


def test_closed_lips_are_not_bared() -> None:
    rig = small_rig()
    weights = expression_weights(rig.names, posture(lower=1, upper=1, funnel=1, close=1))[0, 0]
    for expression in ("mouthLowerDown", "mouthUpperUp", "mouthFunnel"):
        assert (weights[sides(rig.names, expression)] == 0).all()


def test_the_jaw_opens_the_mouth_steadily(codec: FlowCodec) -> None:
    mean = small_rig().mean[None]
    openings = [opening(moved(codec, mean, posture(jaw=jaw))) for jaw in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert openings[0] == pytest.approx(0, abs=1e-3)
    assert all(after > before + 0.1 for before, after in pairwise(openings))


def test_an_open_vowel_opens_the_mouth_about_two_centimetres(codec: FlowCodec) -> None:
    face = moved(codec, small_rig().mean[None], posture(jaw=0.85, wide=0.25, lower=0.35, upper=0.25))
    assert 1.6 < opening(face) < 2.3


def test_a_bilabial_closes_the_mouth_whatever_the_jaw_does(codec: FlowCodec) -> None:
    face = moved(codec, small_rig().mean[None], posture(jaw=0.6, close=1, press=0.5))
    assert opening(face) == pytest.approx(0, abs=0.01)


def test_rounding_narrows_and_spreading_widens_the_mouth(codec: FlowCodec) -> None:
    mean = small_rig().mean[None]
    faces = [moved(codec, mean, curves) for curves in (posture(), posture(round=0.85), posture(wide=0.75))]
    rest, narrow, wide = (face[308, 0] - face[78, 0] for face in faces)
    assert narrow < rest - 0.4 and wide > rest + 0.2


def test_a_labiodental_draws_the_lower_lip_back(codec: FlowCodec) -> None:
    mean = small_rig().mean
    face = moved(codec, mean[None], posture(jaw=0.12, labiodental=1))
    assert face[LOWER_LIP_INNER_MIDDLE, 2] < mean[LOWER_LIP_INNER_MIDDLE, 2] - 0.3
    assert abs(face[UPPER_LIP_INNER_MIDDLE, 2] - mean[UPPER_LIP_INNER_MIDDLE, 2]) < 0.15


def test_closing_an_open_mouthed_photo_brings_all_lip_pairs_to_neutral(codec: FlowCodec) -> None:
    rig = small_rig()
    face = moved(codec, open_mouthed(), posture(close=1))
    assert torch.allclose(lip_gaps(face)[:, 1], lip_gaps(rig.mean)[:, 1], atol=0.01)


def test_an_open_mouthed_photo_relaxes_when_it_is_silent(codec: FlowCodec) -> None:
    photo = open_mouthed()
    assert opening(photo[0]) > 0.9
    assert 0 < opening(moved(codec, photo, posture())) < 0.3


def test_bared_lips_relax_most_of_the_way_when_the_face_is_silent(codec: FlowCodec) -> None:
    rig = small_rig()
    bared = (rig.mean + 0.6 * rig.expression("mouthUpperUp") + 0.6 * rig.expression("mouthLowerDown"))[None]
    assert 0 < opening(moved(codec, bared, posture())) < 0.4 * opening(bared[0])


def test_the_smile_of_a_photo_stays(codec: FlowCodec) -> None:
    rig = small_rig()
    photo = (rig.mean + 0.7 * rig.expression("mouthSmile"))[None]
    face = moved(codec, photo, posture(jaw=0.5))
    plain = moved(codec, rig.mean[None], posture(jaw=0.5))
    raised = (face - plain)[[61, 291], 1]
    assert (raised > 0.8 * (photo[0] - rig.mean)[[61, 291], 1]).all()


def test_bared_teeth_are_not_taken_for_an_open_jaw() -> None:
    rig = small_rig()
    bared = rig.mean + 0.6 * rig.expression("mouthUpperUp") + 0.6 * rig.expression("mouthLowerDown")
    assert opening(bared) > 0.6
    read = rest_jaw(rig, torch.stack([bared, open_mouthed(0.25)[0], rig.mean]))
    assert read[0] < 0.12  # by the gap alone it would be 0.25
    assert read[1] == pytest.approx(0.25, abs=0.06)
    assert read[2] == 0


def test_lips_never_cross_further_than_in_the_photo(codec: FlowCodec) -> None:
    rig = small_rig()
    photos = random_reference(rig, 16, torch.Generator().manual_seed(3))
    weights = torch.zeros(16, 1, len(rig.names))
    weights[..., rig.names.index("mouthClose")] = 0.5  # without a dropped jaw this pushes the lower lip over the upper
    faces = photos[:, None] + displacement(rig, codec, photos, weights, torch.zeros(16, 1))
    crossed = photos + 0.5 * rig.expression("mouthClose")
    assert (lip_gaps(crossed)[:, 4, 1] < -1).any()
    least = torch.minimum(lip_gaps(photos), lip_gaps(rig.mean))[:, None, :, 1]
    assert (lip_gaps(faces)[..., 1] > least - 0.01).all()


def test_random_photos_differ_but_the_same_seed_gives_the_same() -> None:
    rig = small_rig()
    first, again = (random_reference(rig, 4, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert (first[0] - first[1]).norm(dim=-1).mean() > 0.2


def test_random_photos_show_closed_and_open_mouths() -> None:
    photos = random_reference(small_rig(), 200, torch.Generator().manual_seed(0))
    openings = torch.tensor([opening(photo) for photo in photos])
    assert 0.2 < (openings < 0.2).float().mean() < 0.7
    assert (openings > 0.8).float().mean() > 0.1


def test_a_batch_moves_like_its_faces_one_by_one(codec: FlowCodec) -> None:
    rig = small_rig()
    generator = torch.Generator().manual_seed(2)
    photos, curves = random_reference(rig, 3, generator), torch.rand(3, 4, 10, generator=generator)
    weights, closure = expression_weights(rig.names, curves), curves[..., CURVES.index("close")]
    together = displacement(rig, codec, photos, weights, closure)
    alone = displacement(rig, codec, photos[1:2], weights[1:2], closure[1:2])
    assert torch.allclose(together[1], alone[0], atol=1e-4)
