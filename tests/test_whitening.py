"""Head pose and blinks as white numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_cli.chart.whitening import PROFILE, HeadState, HeadWhitening
from emo_cli.training.head import HeadMotion, head_motion, speed

CLIPS = 40


@pytest.fixture(scope="module")
def heads() -> list[HeadMotion]:
    random = np.random.default_rng(0)
    loudness = np.clip(np.sin(np.arange(1200) / 11) + random.normal(size=1200) * 0.1, 0, 1)
    return [head_motion(loudness, 25.0, style, random) for style in (0.35, 0.7, 1.0, 1.4) for _ in range(25)]


@pytest.fixture(scope="module")
def table(heads: list[HeadMotion]) -> HeadWhitening:
    poses = [torch.from_numpy(head.pose) for head in heads]
    speeds = [torch.from_numpy(speed(head.pose)) for head in heads]
    return HeadWhitening.fit(poses, speeds, [torch.from_numpy(head.blink_onsets) for head in heads])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clip(heads: list[HeadMotion], first: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pose = torch.stack([torch.from_numpy(head.pose[first : first + 20]) for head in heads])
    onsets = torch.stack([torch.from_numpy(head.blink_onsets[first : first + 20]) for head in heads])
    return pose, onsets, torch.stack([torch.from_numpy(speed(head.pose)) for head in heads])


def wander(table: HeadWhitening, head_speed: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pose and lids (batch, CLIPS * 16, ...) of pure noise, clip after clip."""
    noise, state = generator(seed), HeadState.at_rest(32, 4)
    poses, lids = [], []
    for _ in range(CLIPS):
        numbers = torch.randn(32, table.numbers, generator=noise)
        head, state = table.decode(numbers, head_speed.expand(32, 3), state)
        poses.append(head.pose)
        lids.append(head.lids)
    return torch.cat(poses, 1), torch.cat(lids, 1)


def test_pose_comes_back_within_two_hundredths_of_a_degree(heads: list[HeadMotion], table: HeadWhitening) -> None:
    pose, onsets, speeds = clip(heads)
    _, numbers = table.encode(pose, onsets, speeds, generator())
    state = replace(HeadState.at_rest(len(pose), 4), pose=pose[:, :4])
    decoded, _ = table.decode(numbers, speeds, state)
    assert (decoded.pose - pose[:, 4:]).abs().max() < 0.02


def test_numbers_of_real_motion_are_white(heads: list[HeadMotion], table: HeadWhitening) -> None:
    numbers = torch.cat([table.encode(*clip(heads, first), generator())[1] for first in range(0, 200, 10)])
    assert ((numbers.std(0) > 0.7) & (numbers.std(0) < 1.3)).all()


def test_a_blink_comes_back_in_its_frame(heads: list[HeadMotion], table: HeadWhitening) -> None:
    onsets = torch.zeros(16, 20, dtype=torch.bool)
    onsets[torch.arange(16), 4 + torch.arange(16)] = True
    pose, _, speeds = clip(heads[:16])
    _, numbers = table.encode(pose, onsets, speeds, generator())
    head, _ = table.decode(numbers, speeds, HeadState.at_rest(16, 4))
    for frame in range(16):
        assert torch.equal(head.lids[frame, frame : frame + 7], torch.tensor(PROFILE)[: 16 - frame])


def test_a_blink_at_the_border_goes_on_in_the_next_clip(heads: list[HeadMotion], table: HeadWhitening) -> None:
    onsets = torch.zeros(1, 20, dtype=torch.bool)
    onsets[0, 18] = True
    pose, _, speeds = clip(heads[:1])
    numbers = table.encode(pose, onsets, speeds, generator())[1]
    before, state = table.decode(numbers, speeds, HeadState.at_rest(1, 4))
    quiet = torch.full((1, table.numbers), -3.0)
    after, _ = table.decode(quiet, speeds, state)
    whole = torch.cat([before.lids, after.lids], 1)[0, 14:21]
    assert torch.equal(whole, torch.tensor(PROFILE))


def test_noise_alone_has_the_size_of_real_motion(heads: list[HeadMotion], table: HeadWhitening) -> None:
    usual = torch.tensor([speed(head.pose) for head in heads if True][75]).clamp(min=0.03)[None]
    pose, _ = wander(table, usual)
    expected = table.kappa * usual[0]
    assert ((pose[:, 100:].std((0, 1)) / expected - 1).abs() < 0.25).all()


def test_clip_borders_do_not_show_in_the_motion(table: HeadWhitening) -> None:
    pose, _ = wander(table, torch.tensor([[0.5, 0.3, 0.25]]))
    bend = pose.diff(n=2, dim=1).abs().mean((0, 2))
    borders = torch.cat([bend[14::16], bend[15::16]]).mean()
    assert borders < 1.2 * bend.mean()


def test_twice_the_speed_is_twice_the_motion(table: HeadWhitening) -> None:
    slow, _ = wander(table, torch.tensor([[0.4, 0.3, 0.2]]))
    fast, _ = wander(table, torch.tensor([[0.8, 0.6, 0.4]]))
    assert torch.allclose(fast, 2 * slow, atol=1e-4)


def test_noise_alone_blinks_as_often_as_the_teacher(heads: list[HeadMotion], table: HeadWhitening) -> None:
    _, lids = wander(table, torch.tensor([[0.5, 0.3, 0.25]]))
    seconds = lids.numel() / 25
    blinks = (lids == 1).sum() / seconds
    taught = sum(head.blink_onsets.sum() for head in heads) / (sum(len(head.pose) for head in heads) / 25)
    assert 0.7 * taught < blinks < 1.3 * taught


def test_whitening_opens_again_with_the_same_table(table: HeadWhitening, tmp_path) -> None:
    table.save_pretrained(tmp_path)
    again = HeadWhitening.from_pretrained(tmp_path)
    assert all(torch.equal(own, table.state_dict()[name]) for name, own in again.state_dict().items())


def test_spreading_over_frames_and_gathering_gives_the_numbers_back(table: HeadWhitening) -> None:
    numbers = torch.randn(3, table.numbers, generator=generator())
    assert torch.allclose(table.gather(*table.spread_out(numbers)), numbers, atol=1e-5)
