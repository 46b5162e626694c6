"""EchoMimic's own numbers come out of our networks: vectors that its published code made with small random weights."""

from __future__ import annotations

import pytest
import torch
from echomimic_cases import LOOPS, SINGLE, Cases, backbone, bank, blocks, loop, vectors

from emo_cli import clips
from emo_cli.networks.unet import Conditions, Reference


def demand(cases: Cases) -> None:
    """Every pair must be as near as it may be apart, and there must be some."""
    seen = list(cases)
    far = [f"{case.name}: {case.difference:.2e} > {case.allowed}" for case in seen if case.difference > case.allowed]
    assert seen and not far, far


@pytest.mark.parametrize("compare", SINGLE, ids=lambda compare: compare.__name__)
def test_a_part_gives_the_official_numbers(compare) -> None:
    demand(compare())


@pytest.mark.parametrize("name", LOOPS)
def test_a_whole_video_gives_the_official_numbers_at_every_step(name: str, monkeypatch) -> None:
    demand(loop(name, monkeypatch.setattr))


@pytest.mark.parametrize("name", LOOPS)
def test_the_windows_of_every_step_are_the_official_ones(name: str) -> None:
    io, shift = vectors(f"io_loop_{name}"), LOOPS[name].family.window_shift
    frames = io["initial_noise_raw"].shape[2]
    for step, theirs in enumerate(io["windows"].tolist()):
        assert [list(window) for window in clips.windows(frames, 12, 3, step * shift, closed=True)] == theirs


@torch.no_grad()
@pytest.mark.parametrize("lost", ("sound", "reference", "threefold sound"))
def test_the_comparison_would_notice_what_is_left_out(lost: str) -> None:
    io = vectors("io_denoising_unet")
    network, face = backbone(), io["face_fea"][:, :, 0]
    remembered = network.remember(Reference(tuple(bank()[name] for name in blocks(network))))
    conditions = Conditions(
        reference=None if lost == "reference" else remembered,
        audio=None if lost == "sound" else network.listen(io["audio_tokens"]),
        face=face,
        lips=1 / 3 if lost == "threefold sound" else 1.0,
    )
    said = network(io["latents"].transpose(1, 2), torch.tensor([999.0]), conditions).sample.transpose(1, 2)
    assert (said - io["out.nocfg.bank32.t999"]).abs().max() > 0.1
