"""Whisper as EchoMimic hears with it, where the official vectors do not reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from emo_cli import speech
from emo_cli.sound.whisper import WhisperHearing, log_mel, window_rows
from emo_cli.speech import Sound

META = json.loads((Path(__file__).parent / "parity" / "echomimic" / "audio_meta.json").read_text())


@pytest.fixture(scope="module")
def encoder() -> WhisperHearing:
    torch.manual_seed(0)
    return WhisperHearing(width=16, heads=1, layers=2, positions=50).eval()


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("samples", (1, 100, 399, 3201, 40_000))
def test_every_sound_gives_as_many_frames_as_asked(encoder: WhisperHearing, samples: int) -> None:
    tokens = encoder(noise(samples), 7, 24.0)
    assert tokens.shape == (7, encoder.tokens, encoder.width) == (7, 30, 16)
    assert torch.isfinite(tokens).all()


def test_frames_of_the_official_code_are_counted_as_there(encoder: WhisperHearing) -> None:
    for rows, counts in META["frame_counts_by_feature_rows"].items():
        for fps, frames in counts.items():
            assert encoder.natural_frames(int(rows) * 320, float(fps)) == frames


def test_exact_hearing_takes_the_sound_as_it_is_and_makes_the_official_number_of_rows(encoder: WhisperHearing) -> None:
    sound = Sound(noise(32_000).numpy(), 2.0, None, 0.0, None)
    exact, usual = (speech.encode(sound, encoder, 24.0, exact=exact) for exact in (True, False))
    assert (len(exact.features), len(usual.features), exact.frames) == (50, 48, 48)
    assert not torch.allclose(exact.features[:48], usual.features[:], atol=1e-4)


def test_a_long_sound_is_transformed_in_pieces_that_join() -> None:
    wave = noise(160 * 3100)
    assert torch.allclose(log_mel(wave)[:, 2950:3050], log_mel(wave[160 * 2000 :])[:, 950:1050], atol=0.5)
    whole = torch.stft(
        wave, 400, 160, window=torch.hann_window(400), center=True, pad_mode="reflect", return_complex=True
    )
    from emo_cli.sound.whisper import mel_filters

    power = mel_filters(80) @ whole[:, :-1].abs().square()
    logged = power.clamp_min(1e-10).log10()
    assert torch.allclose(log_mel(wave), (torch.maximum(logged, logged.max() - 8) + 4) / 4, atol=1e-5)


def test_rows_beyond_the_ends_repeat_the_end_rows() -> None:
    rows = window_rows(torch.arange(30), 25.0, 20)
    assert rows[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert rows[5].tolist() == list(range(6, 16))
    assert rows[-1].tolist() == [19] * 10


def test_it_opens_again_with_the_same_numbers(encoder: WhisperHearing, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    again = WhisperHearing.from_pretrained(tmp_path)
    assert torch.equal(again(noise(9000), 5, 24.0), encoder(noise(9000), 5, 24.0))
