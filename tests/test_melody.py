"""The melody tells how high a voice is beside its usual pitch, whatever it says and however loud."""

from __future__ import annotations

import pytest
import torch

from emo_cli.sound.encoders import MiniHearing
from emo_cli.sound.mel import log_mel, normalise
from emo_cli.sound.melody import Melody

RATE = 16000


@pytest.fixture(scope="module")
def melody() -> Melody:
    return Melody()


def voice(hertz: torch.Tensor, colour: float = 1.0) -> torch.Tensor:
    """Overtones up to 4 kHz of a pitch (samples,) that may change; colour: how fast they fall off."""
    phase = 2 * torch.pi * hertz.cumsum(0) / RATE
    numbers = range(1, int(4000 // float(hertz.max())) + 1)
    return 0.1 * sum(torch.sin(number * phase) / number**colour for number in numbers)  # type: ignore[return-value]


def steps(*hertz: float, seconds: float = 0.5) -> torch.Tensor:
    return torch.cat([torch.full((round(seconds * RATE),), value) for value in hertz])


def told(melody: Melody, waveform: torch.Tensor) -> torch.Tensor:
    """(rows, 2) of a sound by itself."""
    rows: torch.Tensor = melody(normalise(log_mel(waveform))[None])[0]
    return rows


@pytest.mark.parametrize("usual", [125.0, 150.0, 200.0, 300.0])
@pytest.mark.parametrize("rise", [-0.3, 0.25, 0.5])
def test_a_voice_that_goes_up_or_down_is_told_in_octaves(melody: Melody, usual: float, rise: float) -> None:
    rows = told(melody, voice(steps(usual, usual, usual * 2**rise)))
    assert float(rows[55:70, 0].median()) == pytest.approx(rise, abs=0.06)


def test_what_is_said_does_not_change_the_melody(melody: Melody) -> None:
    dark, bright = (told(melody, voice(steps(150.0, 150.0, 190.0), colour)) for colour in (2.0, 0.5))
    assert torch.allclose(dark[55:70, 0], bright[55:70, 0], atol=0.08)


def test_noise_and_silence_have_no_melody(melody: Melody) -> None:
    noise = torch.randn(2 * RATE, generator=torch.Generator().manual_seed(1))
    assert float(told(melody, 0.1 * noise)[:, 1].mean()) < 0.1
    assert float(told(melody, torch.zeros(RATE)).abs().max()) == 0.0


def test_a_leap_of_an_octave_needs_more_than_a_hint(melody: Melody) -> None:
    weak_fundamental = steps(160.0, 160.0, 160.0)
    sound = voice(weak_fundamental) - 0.09 * torch.sin(2 * torch.pi * weak_fundamental.cumsum(0) / RATE)
    assert float(told(melody, sound)[:, 0].abs().max()) < 0.2


def test_a_long_recording_is_told_as_in_one_piece() -> None:
    torch.manual_seed(0)
    hearing = MiniHearing(melody=True).eval()
    wave = voice(steps(*[120.0 + 20 * (k % 5) for k in range(70)]))  # 35 s, more than one piece
    with torch.no_grad():
        whole = hearing.features(normalise(log_mel(wave))[None])[0]
    assert torch.allclose(hearing.rows(wave), whole, atol=1e-4)


def test_melody_adds_two_numbers_that_the_heads_do_not_read() -> None:
    torch.manual_seed(0)
    with_melody = MiniHearing(melody=True).eval()
    without = MiniHearing().eval()
    without.load_state_dict(with_melody.state_dict())
    mel = torch.randn(1, 100, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        more, less = with_melody.features(mel), without.features(mel)
        assert (more.shape[2], with_melody.width, less.shape[2]) == (162, 162, 160)
        assert torch.equal(with_melody.heads(more).phones, without.heads(less).phones)
