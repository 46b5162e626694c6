"""Hallo's hearing, with a small random network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from emo_cli.sound import wav2vec
from emo_cli.sound.wav2vec import Wav2VecEncoder, attended, paced, window_frames
from emo_cli.tape import runs


@pytest.fixture(scope="module")
def encoder() -> Wav2VecEncoder:
    torch.manual_seed(0)
    return Wav2VecEncoder(16, 2, 2, 32, (8,) * 7, place_kernel=4, place_groups=2)


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(16_000, generator=torch.Generator().manual_seed(1))


def test_whole_clips_are_heard_with_all_layers_of_five_frames(encoder: Wav2VecEncoder, noise: torch.Tensor) -> None:
    features = encoder(noise, 25, 25.0)
    assert features.shape == (32, 5 * 2, 16) == (32, encoder.tokens, encoder.width)
    assert bool(torch.isfinite(features).all())


def test_neither_loudness_nor_an_offset_matters(encoder: Wav2VecEncoder, noise: torch.Tensor) -> None:
    assert torch.allclose(encoder(noise, 25, 25.0), encoder(0.1 * noise + 3, 25, 25.0), atol=1e-4)


def test_each_frame_hears_two_before_and_two_after_it() -> None:
    assert window_frames(torch.arange(6), 6).tolist() == [
        [0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 5], [3, 4, 5, 5, 5],
    ]  # fmt: skip


def test_neighbouring_frames_share_what_they_hear(encoder: Wav2VecEncoder, noise: torch.Tensor) -> None:
    windows = encoder(noise, 25, 25.0).unflatten(1, (5, 2))
    assert torch.equal(windows[10, 3], windows[11, 2])


def test_silence_and_a_sound_shorter_than_a_frame_can_be_heard(encoder: Wav2VecEncoder) -> None:
    for waveform in (torch.zeros(16_000), torch.ones(3)):
        assert bool(torch.isfinite(encoder(waveform, 1, 25.0)).all())


def test_it_is_opened_as_it_was_saved(encoder: Wav2VecEncoder, noise: torch.Tensor, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    assert torch.equal(Wav2VecEncoder.from_pretrained(tmp_path)(noise, 25, 25.0), encoder(noise, 25, 25.0))


def test_two_calls_hear_the_same(encoder: Wav2VecEncoder, noise: torch.Tensor) -> None:
    assert torch.equal(encoder(noise, 25, 25.0), encoder(noise, 25, 25.0))


def test_a_long_sound_is_heard_in_pieces_as_in_one_pass(
    encoder: Wav2VecEncoder, noise: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoder(noise, 25, 25.0)
    monkeypatch.setattr(wav2vec, "_PIECE", 7)
    assert torch.allclose(encoder(noise, 25, 25.0), whole, atol=1e-5)


def test_bringing_rows_to_the_frame_rate_piece_by_piece_is_torch_s_own_interpolation() -> None:
    rows = torch.randn(1499, 3, generator=torch.Generator().manual_seed(2))
    for frames in (1, 2, 750, 1504):
        whole = F.interpolate(rows.T[None], frames, mode="linear", align_corners=True)[0].T
        made = torch.cat([paced(rows, frames, start, stop) for start, stop in runs(frames, 7)])
        assert torch.allclose(made, whole, atol=1e-6), frames


def test_attention_to_parts_is_attention_to_the_whole() -> None:
    chance = torch.Generator().manual_seed(3)
    queries, keys, values = (4 * torch.randn(9, 6, generator=chance) for _ in range(3))
    heads = [part.unflatten(1, (2, 3)).transpose(0, 1) for part in (queries, keys, values)]
    whole = F.scaled_dot_product_attention(*heads).transpose(0, 1).flatten(1)
    pairs = torch.stack([keys, values], dim=1).split(4)
    assert torch.allclose(attended(queries, pairs, 2), whole, atol=1e-5)
    assert torch.allclose(attended(queries, [*pairs][::-1], 2), whole, atol=1e-5)


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest result of any operation."""

    bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.nbytes)
        return result


def test_nothing_that_is_made_of_a_sound_is_larger_for_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Wav2VecEncoder(16, 1, 2, 512, (8,) * 7, place_kernel=4, place_groups=2)
    monkeypatch.setattr(wav2vec, "_PIECE", 40)
    monkeypatch.setattr(wav2vec, "_BLOCK", 4000)
    found = []
    for seconds in (4, 16):
        waveform = torch.randn(16_000 * seconds, generator=torch.Generator().manual_seed(seconds)).numpy()
        with Largest() as largest:
            features = encoder.hear(waveform, 25 * seconds, 25.0)
            assert bool(features[-3:].isfinite().all())
        found.append(largest.bytes)
    assert found[1] == found[0]
