"""The sound encoder hears the same thing in the same sound, however long or loud it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emo_cli.sound.encoders import MiniHearing, window_rows
from emo_cli.sound.mel import log_mel, normalise


@pytest.fixture(scope="module")
def hearing() -> MiniHearing:
    torch.manual_seed(0)
    return MiniHearing().eval()


def _voice_like(seconds: float) -> torch.Tensor:
    """A buzzing tone that comes and goes, so that clips have loud and quiet parts."""
    time = torch.arange(round(seconds * 16000)) / 16000
    buzz = sum(torch.sin(2 * torch.pi * 120 * k * time) / k for k in range(1, 20))
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(3))
    return 0.1 * (buzz * (torch.sin(2 * torch.pi * 1.3 * time) > -0.5) + 0.01 * noise)


def test_mel_has_a_hundred_rows_a_second() -> None:
    assert log_mel(_voice_like(1.0)).shape == (100, 64)


def test_mel_rows_are_even_for_any_length() -> None:
    assert [len(log_mel(torch.zeros(length))) for length in (0, 1, 160, 320, 321)] == [2, 2, 2, 2, 4]


def test_mel_puts_a_high_tone_above_a_low_one() -> None:
    time = torch.arange(16000) / 16000
    low, high = (log_mel(torch.sin(2 * torch.pi * hertz * time))[50].argmax() for hertz in (300.0, 3000.0))
    assert high > low + 20


def test_a_sound_lands_in_the_row_of_its_moment() -> None:
    click = torch.zeros(16000)
    click[160 * 40 + 80] = 1.0
    assert log_mel(click).sum(1).argmax() == 40


def test_mel_of_a_long_sound_is_the_mel_of_its_parts() -> None:
    wave = _voice_like(31.0)
    part = wave[160 * 2980 : 160 * 3060]  # around the border of two chunks
    louder = part.square().mean().sqrt() / wave.square().mean().sqrt()
    assert torch.allclose(log_mel(wave)[3000:3040], log_mel(part)[20:60] + 2 * louder.log(), atol=0.02)


def test_gain_does_not_change_what_is_heard() -> None:
    wave = _voice_like(2.0)
    reference = normalise(log_mel(wave))
    for gain in (0.01, 0.3, 8.0):
        assert torch.allclose(normalise(log_mel(wave * gain)), reference, atol=1e-3)


def test_normalised_mel_stays_in_its_range() -> None:
    mel = normalise(log_mel(_voice_like(2.0)))
    assert mel.min() >= -3.5 and mel.max() <= 2.5


@pytest.mark.parametrize("length", [0, 1, 7, 16000])
def test_digital_silence_is_heard_as_the_quietest_sound_and_not_as_nan(length: int) -> None:
    assert (normalise(log_mel(torch.zeros(length))) == -3.5).all()


def test_features_of_digital_silence_are_finite(hearing: MiniHearing) -> None:
    assert torch.isfinite(hearing(torch.zeros(16000), 25, 25.0)).all()


def test_features_have_fifty_rows_a_second(hearing: MiniHearing) -> None:
    assert hearing.features(torch.zeros(2, 100, 64)).shape == (2, 50, 160)


def test_heads_give_twenty_phones_ten_curves_and_one_loudness(hearing: MiniHearing) -> None:
    heard = hearing.heads(torch.zeros(2, 50, 160))
    assert heard.phones.shape == (2, 50, 20)
    assert heard.curves.shape == (2, 50, 10)
    assert heard.loudness.shape == (2, 50)


def test_the_network_has_its_published_size(hearing: MiniHearing) -> None:
    assert 1.0e6 < sum(parameter.numel() for parameter in hearing.parameters()) < 1.2e6


def test_chunks_join_to_the_features_of_one_pass(hearing: MiniHearing) -> None:
    wave = _voice_like(65.0)
    with torch.no_grad():
        whole = hearing.features(normalise(log_mel(wave))[None])[0]
    assert torch.allclose(hearing.rows(wave), whole, atol=1e-4)


def test_sound_beyond_the_context_does_not_matter(hearing: MiniHearing) -> None:
    mel = torch.randn(1, 400, 64, generator=torch.Generator().manual_seed(1))
    changed = mel.clone()
    changed[:, 2 * hearing.context + 2 :] = 0.0
    with torch.no_grad():
        assert torch.allclose(hearing.features(mel)[:, 0], hearing.features(changed)[:, 0], atol=1e-5)


def test_the_context_is_heard(hearing: MiniHearing) -> None:
    mel = torch.randn(1, 400, 64, generator=torch.Generator().manual_seed(1))
    changed = mel.clone()
    changed[:, 60:] = 0.0
    with torch.no_grad():
        assert not torch.allclose(hearing.features(mel)[:, 0], hearing.features(changed)[:, 0], atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 24, 25, 26, 49, 50])
def test_every_frame_gets_its_tokens(hearing: MiniHearing, frames: int) -> None:
    assert hearing(_voice_like(frames / 25), frames, 25.0).shape == (frames, 10, 160)


def test_frames_beyond_the_sound_repeat_its_end(hearing: MiniHearing) -> None:
    heard = hearing(_voice_like(0.4), 50, 25.0)
    assert torch.equal(heard[40], heard[49])


def test_at_25_fps_a_frame_sees_80_ms_before_to_120_ms_after_its_start() -> None:
    assert window_rows(torch.arange(12), 25.0, 10, 100)[10].tolist() == list(range(16, 26))


def test_windows_are_clamped_at_the_ends() -> None:
    rows = window_rows(torch.arange(5), 25.0, 10, 9)
    assert rows[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert rows[4].tolist() == [4, 5, 6, 7, 8, 8, 8, 8, 8, 8]


@pytest.mark.parametrize(("fps", "frame", "nearest"), [(30.0, 30, 50), (30.0, 4, 7), (24.0, 24, 50), (60.0, 6, 5)])
def test_other_rates_take_the_nearest_rows(fps: float, frame: int, nearest: int) -> None:
    assert window_rows(torch.arange(61), fps, 10, 1000)[frame].tolist() == list(range(nearest - 4, nearest + 6))


def test_saved_weights_hear_the_same(hearing: MiniHearing, tmp_path: Path) -> None:
    hearing.save_pretrained(tmp_path)
    wave = _voice_like(0.5)
    again = MiniHearing.from_pretrained(tmp_path).eval()
    assert torch.equal(again(wave, 12, 25.0), hearing(wave, 12, 25.0))
