"""What `emo evaluate` says of colour, sharpness, flicker, seams and likeness, on pictures that are known."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from emo_cli.evaluation.fidelity import Fidelity, psnr, ssim
from emo_cli.evaluation.frechet import Gaussian, distance
from emo_cli.evaluation.head import Head
from emo_cli.evaluation.seam import Seam
from emo_cli.evaluation.stability import Flicker, Identity, Picture
from emo_cli.evaluation.trend import Trend
from emo_cli.evaluation.watching import Curve, Onlooker, Seen
from emo_cli.face.opening import mouth_opening

FPS = 25.0


def scene(side: int = 96) -> np.ndarray:
    """A picture with something in it, uint8 (side, side, 3), nowhere near black or white."""
    noise = np.random.default_rng(0).uniform(60, 190, (side // 8, side // 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)).clip(60, 190)


def show(onlooker: Onlooker, frames: list[np.ndarray]) -> None:
    for frame in frames:
        onlooker.see(Seen(np.clip(np.rint(frame), 0, 255).astype(np.uint8), None))


@pytest.mark.parametrize("pace", [-6.0, 4.0, 12.0])
def test_added_colour_drift_is_seen_as_it_is(pace: float) -> None:
    picture = Picture(FPS)
    show(picture, [scene() + np.array([pace * index / FPS, 0, 0]) for index in range(100)])
    assert picture.colour_drift() == pytest.approx(pace, abs=0.1)


def test_a_still_picture_does_not_drift_or_flicker() -> None:
    picture, flicker = Picture(FPS), Flicker()
    for onlooker in (picture, flicker):
        show(onlooker, [scene()] * 30)
    assert picture.colour_drift() == pytest.approx(0, abs=1e-9)
    assert picture.sharpness_drift() == pytest.approx(0, abs=1e-9)
    assert flicker.mean() == 0


def test_a_picture_that_blurs_loses_sharpness() -> None:
    picture = Picture(FPS)
    blurred = (Image.fromarray(scene()).filter(ImageFilter.GaussianBlur(index / 20)) for index in range(60))
    show(picture, [np.asarray(frame) for frame in blurred])
    assert picture.sharpness_drift() < -10


@pytest.mark.parametrize("levels", [1, 2, 6])
def test_flicker_is_told_in_levels(levels: int) -> None:
    flicker = Flicker()
    show(flicker, [scene().astype(int) + levels * (-1) ** index for index in range(20)])
    assert flicker.mean() == pytest.approx(levels, rel=0.001)


def test_flicker_of_a_quarter_of_the_picture_counts_a_quarter() -> None:
    flicker, frames = Flicker(), []
    for index in range(20):
        frames.append(scene().astype(int))
        frames[-1][:48, :48] += 4 * (-1) ** index
    show(flicker, frames)
    assert flicker.mean() == pytest.approx(1, rel=0.001)


def test_an_even_change_of_light_is_no_flicker() -> None:
    flicker = Flicker()
    show(flicker, [scene().astype(int) + 2 * index for index in range(20)])
    assert flicker.mean() == pytest.approx(0, abs=1e-3)


def test_nobody_keeps_the_frames_that_were_seen() -> None:
    """Memory does not grow with the video: of thirty frames, the present one is all that is left."""
    onlookers: list[Onlooker] = [Picture(FPS), Flicker(), Seam(), Identity(FPS), Head(FPS), Curve(mouth_opening)]
    alive: list[weakref.ref[np.ndarray]] = []
    for _ in range(30):
        frame = scene().copy()
        alive.append(weakref.ref(frame))
        for onlooker in onlookers:
            onlooker.see(Seen(frame, None))
    assert sum(reference() is not None for reference in alive) == 1


def test_a_slope_is_that_of_the_line() -> None:
    trend = Trend()
    for time in (0.0, 1.0, 2.5, 4.0):
        trend.add(time, np.array([3 + 2 * time, 7 - time]))
    slope = trend.slope()
    assert slope is not None
    assert slope.tolist() == pytest.approx([2, -1])
    assert Trend().slope() is None


def pasted(levels: float, soft: int = 0) -> list[np.ndarray]:
    """Frames of which a square in the middle is brighter, and a round spot inside it moves."""
    frames = []
    rows, columns = np.mgrid[:160, :160]
    for index in range(10):
        frame = scene(160).astype(float)
        inside = np.zeros((160, 160))
        inside[32:124, 40:116] = 1
        frame += levels * (np.asarray(_blurred(inside, soft)) if soft else inside)[..., None]
        frame[(rows - 78) ** 2 + (columns - 74 - index) ** 2 < 16**2] = 20
        frames.append(frame)
    return frames


def _blurred(mask: np.ndarray, soft: int) -> np.ndarray:
    return np.asarray(Image.fromarray((255 * mask).astype(np.uint8)).filter(ImageFilter.BoxBlur(soft))) / 255


@pytest.mark.parametrize("levels", [4, 8, 20])
def test_the_step_at_the_border_of_a_pasted_part_is_told_in_levels(levels: int) -> None:
    seam = Seam(photo=scene(160))
    show(seam, pasted(levels))
    assert seam.step() == pytest.approx(levels, rel=0.1)


def test_what_moves_inside_an_invisible_border_has_no_seam() -> None:
    seam = Seam(photo=scene(160))
    show(seam, pasted(0))
    assert seam.step() < 0.5


def test_a_faded_border_is_seen_less_than_a_sheer_one() -> None:
    sheer, faded = Seam(photo=scene(160)), Seam(photo=scene(160))
    show(sheer, pasted(10))
    show(faded, pasted(10, soft=16))
    assert faded.step() < 0.6 * sheer.step()


def test_without_the_photo_a_pasted_part_that_flickers_is_seen() -> None:
    seam = Seam()
    show(seam, [frame for pair in zip(pasted(0), pasted(12), strict=True) for frame in pair])
    assert seam.step() == pytest.approx(6, rel=0.1)  # there in every second frame


def test_a_picture_that_changes_as_a_whole_has_no_border() -> None:
    seam = Seam(photo=scene())
    show(seam, [scene().astype(int) + 30] * 3)
    assert seam.step() is None


def test_the_psnr_of_one_level_everywhere_is_that_of_the_formula() -> None:
    assert psnr(scene(), scene() + 1) == pytest.approx(20 * math.log10(255), abs=1e-6)
    assert psnr(scene(), scene()) == 100


def test_the_ssim_of_flat_pictures_is_that_of_their_means() -> None:
    """Without variance only the luminance term is left: (2 a b + C1) / (a² + b² + C1)."""
    one, other = (np.full((32, 32, 3), level, np.uint8) for level in (100, 150))
    c1 = (0.01 * 255) ** 2
    assert ssim(one, other) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1), abs=1e-6)


def test_the_ssim_of_a_negative_is_that_of_its_covariance() -> None:
    """A chequerboard of 127 ± 40 and its negative: covariance is minus the variance in every window."""
    board = 127 + 40 * (-1) ** np.add.outer(np.arange(40), np.arange(40))
    one = np.repeat(board[..., None], 3, 2).astype(np.uint8)
    other = (254 - one).astype(np.uint8)
    c2 = (0.03 * 255) ** 2
    assert ssim(one, other) == pytest.approx((c2 - 2 * 1600) / (c2 + 2 * 1600), abs=0.01)
    assert ssim(one, one) == pytest.approx(1)


def test_the_truth_is_brought_to_the_size_of_the_video() -> None:
    fidelity = Fidelity()
    large = np.asarray(Image.fromarray(scene()).resize((192, 192), Image.Resampling.BICUBIC))
    fidelity.compare(scene(), large)
    assert fidelity.psnr() > 35 and fidelity.ssim() > 0.97


def gaussian(mean: torch.Tensor, spread: torch.Tensor, count: int = 4000) -> Gaussian:
    """Features whose mean and covariance are exactly as asked."""
    rows = torch.randn(count, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows -= rows.mean(0)
    root = torch.linalg.cholesky(torch.linalg.inv(rows.T @ rows / (count - 1)))
    told = Gaussian()
    for part in (rows @ root @ torch.linalg.cholesky(spread).T + mean).split(700):
        told.add(part)
    return told


def test_the_frechet_distance_of_two_gaussians_has_its_closed_form() -> None:
    """With covariances that commute it is |m1 - m2|² + |sqrt(C1) - sqrt(C2)|²."""
    spreads = torch.tensor([4.0, 1.0, 9.0]).double(), torch.tensor([1.0, 16.0, 9.0]).double()
    means = torch.tensor([0.0, 0, 0]).double(), torch.tensor([3.0, 0, 4.0]).double()
    one, other = (gaussian(mean, torch.diag(spread)) for mean, spread in zip(means, spreads, strict=True))
    assert distance(one, other) == pytest.approx(25 + (2 - 1) ** 2 + (1 - 4) ** 2, rel=1e-9)


def test_covariances_that_do_not_commute_have_the_trace_of_their_shared_root() -> None:
    one = torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double()
    other = torch.tensor([[4.0, -1.0], [-1.0, 1.0]]).double()
    # For two by two, tr((AB)^(1/2)) = sqrt(tr(AB) + 2 sqrt(det(AB))).
    product = one @ other
    shared = math.sqrt(float(product.trace()) + 2 * math.sqrt(float(torch.linalg.det(product))))
    zero = torch.zeros(2).double()
    expected = float(one.trace() + other.trace()) - 2 * shared
    assert distance(gaussian(zero, one), gaussian(zero, other)) == pytest.approx(expected, rel=1e-9)


def test_a_set_has_no_distance_from_itself_and_one_feature_is_no_set() -> None:
    told = gaussian(torch.ones(3).double(), torch.eye(3).double())
    assert distance(told, told) == pytest.approx(0, abs=1e-9)
    single = Gaussian()
    single.add(torch.ones(1, 3))
    assert distance(single, told) is None
