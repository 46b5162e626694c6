"""What an acoustic model says of a sound: probabilities, the same whether a sound comes whole or in parts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from emo_cli.errors import InputError
from emo_cli.sound.acoustics import CEPSTRA, GAUSSIANS, PHONES, STATES, WIDTH, PhoneEvidence
from emo_cli.sound.encoders import MiniHearing
from emo_cli.sound.mel import log_mel, normalise
from emo_cli.training.sphinx import fill


def _invented() -> PhoneEvidence:
    """Tables of the right kind with nothing learned."""
    generator = torch.Generator().manual_seed(0)
    evidence = PhoneEvidence()
    evidence.means.copy_(3 * torch.randn(3, PHONES, GAUSSIANS, CEPSTRA, generator=generator))
    evidence.precisions.copy_(0.1 + torch.rand(3, PHONES, GAUSSIANS, CEPSTRA, generator=generator))
    mixture = torch.rand(3, PHONES, GAUSSIANS, STATES, generator=generator)
    evidence.mixture.copy_(mixture / mixture.sum(2, keepdim=True))
    return evidence


def _mel(rows: int) -> torch.Tensor:
    return torch.randn(1, rows, 64, generator=torch.Generator().manual_seed(1))


def test_evidence_has_fifty_rows_a_second() -> None:
    assert _invented()(_mel(100)).shape == (1, 50, WIDTH)


def test_evidence_is_a_log_probability_between_certain_and_unlikely() -> None:
    evidence = _invented()(_mel(200))
    assert evidence.min() >= -2 and evidence.max() <= 2
    kept = torch.where(evidence > -2, (2 * evidence - 4).exp(), torch.zeros(()))
    assert (kept.sum(-1) <= 1.001).all() and (kept.sum(-1) > 0.9).all()


def test_the_fast_sum_over_gaussians_is_the_plain_one() -> None:
    evidence, values = _invented(), torch.randn(3, 5, CEPSTRA, generator=torch.Generator().manual_seed(2))
    plain = torch.zeros(5, PHONES, STATES)
    for stream in range(3):
        distance = (values[stream][:, None, None] - evidence.means[stream]).square() * evidence.precisions[stream]
        logs = 0.5 * evidence.precisions[stream].log().sum(-1) - 0.5 * distance.sum(-1)
        plain += torch.logsumexp(logs[..., None] + evidence.mixture[stream].log(), 2)
    assert torch.allclose(evidence._likelihood(values), plain.flatten(1), atol=2e-3)


def test_a_colour_of_the_recording_does_not_change_the_evidence() -> None:
    evidence, mel = _invented(), _mel(200)
    assert torch.allclose(evidence(mel), evidence(mel + 0.2), atol=0.02)


def test_hearing_with_evidence_gives_the_same_rows_in_chunks() -> None:
    torch.manual_seed(0)
    hearing = MiniHearing(width=16, dilations=(1, 2), evidence=True).eval()
    hearing.evidence = _invented()
    wave = 0.1 * torch.randn(16000 * 35, generator=torch.Generator().manual_seed(3))
    rows = hearing.rows(wave)
    assert rows.shape == (1750, 16)
    with torch.no_grad():
        whole = hearing.features(normalise(log_mel(wave))[None])[0]
    assert torch.allclose(rows, whole, atol=1e-4)


def test_hearing_with_evidence_survives_saving(tmp_path: Path) -> None:
    hearing = MiniHearing(width=16, dilations=(1,), evidence=True).eval()
    hearing.evidence = _invented()
    hearing.save_pretrained(tmp_path)
    again = MiniHearing.from_pretrained(tmp_path)
    assert again.evidence is not None
    assert torch.allclose(again.features(_mel(80)), hearing.features(_mel(80)), atol=1e-5)


def test_files_that_are_not_the_model_are_refused(tmp_path: Path) -> None:
    for name in ("means", "variances", "sendump"):
        (tmp_path / name).write_bytes(b"endhdr\n" + bytes(64))
    with pytest.raises(InputError, match="pocketsphinx"):
        fill(PhoneEvidence(), tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed")
def test_the_real_tables_are_mixtures() -> None:
    evidence = PhoneEvidence()
    fill(evidence)
    assert (evidence.precisions > 0).all()
    assert ((evidence.mixture.sum(2) - 1).abs() < 0.1).all()
