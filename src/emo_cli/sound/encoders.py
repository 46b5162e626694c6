"""Hearing: turns a sound into the numbers that tell a face what is being said, 50 times per second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from emo_cli.sound.acoustics import CEPSTRA, PhoneEvidence
from emo_cli.sound.acoustics import WIDTH as EVIDENCE
from emo_cli.sound.mel import BINS, CHUNK, log_mel_pieces, scaled, zero_point
from emo_cli.sound.melody import PITCHES, Melody
from emo_cli.sound.melody import WIDTH as MELODY
from emo_cli.stored import StoredNetwork, recorded
from emo_cli.tape import Features, Tape, Waveform, Windows, runs

ROWS_PER_SECOND = 50
PHONES = (
    "sil", "a", "ah", "e", "i", "o", "u", "y", "er", "p", "f", "w", "r", "s", "t", "l", "th", "sh", "k", "n",
)  # fmt: skip
"""The mouth shapes of speech in the order of Heard.phones; sounds that look alike share one: p is p, b and m."""
CURVES = ("jaw", "wide", "round", "funnel", "close", "labiodental", "upper", "lower", "tongue", "press")
"""How a talking mouth moves, in the order of Heard.curves."""
_CHUNK = CHUNK // 2  # rows of 20 ms encoded at once, so that memory does not grow with the sound


class SoundEncoder(Protocol):
    """Anything that hears: `tokens` rows of `width` numbers per video frame."""

    tokens: int
    width: int

    def hear(self, waveform: Waveform, frames: int, fps: float) -> Features:
        """Samples at 16 kHz -> (frames, tokens, width)."""
        ...


@dataclass(frozen=True)
class Heard:
    """What the encoder was trained to tell, 50 rows per second.

    phones: (batch, rows, 20) logits; curves: (batch, rows, 10), about 0..1; loudness: (batch, rows), 0..1.4.
    """

    phones: torch.Tensor
    curves: torch.Tensor
    loudness: torch.Tensor

    @property
    def opening(self) -> torch.Tensor:
        """How far the lips should be apart (batch, rows), about 0..1: the jaw's drop and their own, none where they
        touch."""
        curve = dict(zip(CURVES, self.curves.unbind(-1), strict=True))
        apart = 1 - curve["close"].clamp(0, 1)
        return (curve["jaw"] + (curve["upper"] + curve["lower"]) / 2) * apart


class _RowNorm(nn.Module):
    """Normalises each row of time over its channels.

    A norm over time as well would let far-away sound change a row, and chunks would not join.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, rows) -> the same shape."""
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        return (x - mean) * (variance + 1e-5).rsqrt() * self.weight + self.bias


class _Block(nn.Module):
    """Residual block: norm, convolution over five (dilated) rows, GELU, mixing of channels."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = _RowNorm(channels)
        self.along = nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, rows) -> the same shape."""
        y: torch.Tensor = self.mix(F.gelu(self.along(self.norm(x))))
        return x + y


class MiniHearing(StoredNetwork):
    """A small convolutional listener, trained from nothing on synthetic voices in many languages.

    It takes the place that wav2vec 2.0 has in EMO (section 3.2, "Audio Layers"): the features before its heads
    are the tokens that the face attends to. One row sees 0.75 seconds to either side. With `evidence` it is also told
    how well each moment fits the phones of real speakers (acoustics.py), which no synthetic voice can teach. With
    `melody` each row ends with two numbers of how high the voice is (melody.py), which the phones do not tell.
    """

    @recorded
    def __init__(
        self,
        bins: int = BINS,
        width: int = 160,
        dilations: Sequence[int] = (1, 2, 4, 8, 1, 2),
        phones: int = 20,
        curves: int = 10,
        tokens: int = 10,
        evidence: bool = False,
        melody: bool = False,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.melody = Melody() if melody else None
        self.inner, self.width = width, width + (MELODY if melody else 0)
        self.context = 2 * sum(dilations) + 2  # rows
        self.first = nn.Conv1d(bins, width, 5, padding=2)
        self.halve = nn.Conv1d(width, width, 4, stride=2, padding=1)
        self.evidence = PhoneEvidence(bins) if evidence else None
        self.weigh = nn.Conv1d(EVIDENCE, width, 1) if evidence else None
        self.blocks = nn.ModuleList([_Block(width, dilation) for dilation in dilations])
        self.norm = _RowNorm(width)
        self.phone_head = nn.Conv1d(width, phones, 1)
        self.curve_head = nn.Conv1d(width, curves + 1, 1)

    def features(
        self, mel: torch.Tensor, evidence: torch.Tensor | None = None, usual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalised log mel (batch, time, 64) at 100 Hz -> (batch, time // 2, width) at 50 Hz.

        evidence: (batch, time // 2, 126), what PhoneEvidence said of the recordings these clips are cut from; usual:
        their usual pitch. Both are worked out from the clips themselves where they are not given.
        """
        x = self.halve(F.gelu(self.first(mel.transpose(1, 2))))
        if self.weigh is not None and self.evidence is not None:
            found = self.evidence(mel) if evidence is None else evidence
            x = x + self.weigh(found.to(x).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x).transpose(1, 2)  # (batch, rows, inner)
        return x if self.melody is None else torch.cat([x, self.melody(mel, usual).to(x)], dim=2)

    def heads(self, features: torch.Tensor) -> Heard:
        """Features (batch, rows, width) -> phones, curves and loudness."""
        x = features[..., : self.inner].transpose(1, 2)
        curves = self.curve_head(x).transpose(1, 2)
        return Heard(self.phone_head(x).transpose(1, 2), curves[..., :-1], curves[..., -1])

    def rows(self, waveform: Waveform) -> torch.Tensor:
        """Samples at 16 kHz -> (rows, width) at 50 Hz, in chunks that give the numbers of one pass."""
        return torch.cat(list(self._row_pieces(waveform)))

    @torch.no_grad()
    def _row_pieces(self, waveform: Waveform) -> Iterator[torch.Tensor]:
        mel = Tape(BINS)
        for part in log_mel_pieces(waveform):
            mel.add(part)
        shift = zero_point(mel)
        mean, usual = self._of_the_whole(mel, shift)
        count = len(mel) // 2
        for start, stop in runs(count, _CHUNK):
            first, last = max(0, start - self.context), min(count, stop + self.context)
            piece = self._normalised(mel, shift, 2 * first, 2 * last)
            evidence = None if self.evidence is None else self.evidence(piece, mean)
            yield self.features(piece, evidence, usual)[0, start - first : stop - first]

    def _normalised(self, mel: Tape, shift: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Some rows of a recording's mel spectrum, (1, rows, 64), where this network computes."""
        return scaled(torch.from_numpy(mel[start:stop]), shift).to(self.phone_head.weight)[None]

    def _of_the_whole(self, mel: Tape, shift: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """A recording's cepstral mean (13,) and its usual pitch, each if this network asks for it."""
        total = torch.zeros(CEPSTRA, dtype=torch.float64)
        census = torch.zeros(PITCHES, device=self.phone_head.weight.device)
        for start, stop in runs(len(mel), CHUNK):
            piece = self._normalised(mel, shift, start, stop)
            if self.evidence is not None:
                total += self.evidence.cepstra(piece)[0].sum(0).double().cpu()
            if self.melody is not None:
                census += self.melody.census(piece)
        mean = None if self.evidence is None else (total / len(mel)).to(self.phone_head.weight)
        return mean, None if self.melody is None else self.melody.usual(census)

    def hear(self, waveform: Waveform, frames: int, fps: float) -> Features:
        """Samples at 16 kHz -> (frames, tokens, width).

        At 25 fps, frame f sees rows 2f-4 .. 2f+5 (80 ms before to 120 ms after its start); at other rates the rows
        nearest to the frame's time. Rows beyond the ends repeat the end rows.
        """
        rows = Tape(self.width)
        for part in self._row_pieces(waveform):
            rows.add(part)
        return Windows(rows, frames, lambda some: window_rows(some, fps, self.tokens, len(rows)))

    def forward(self, waveform: Waveform, frames: int, fps: float) -> torch.Tensor:
        """What `hear` gives, as one tensor."""
        return self.hear(waveform, frames, fps)[:]


def window_rows(frames: torch.Tensor, fps: float, tokens: int, rows: int) -> torch.Tensor:
    """Indices (count, tokens) of the 50 Hz rows that some frames (count,) see, clamped to 0..rows-1."""
    nearest = torch.floor(frames.double() * (ROWS_PER_SECOND / fps) + 0.5).long()
    return (nearest[:, None] + torch.arange(tokens) - (tokens // 2 - 1)).clamp(0, rows - 1)
