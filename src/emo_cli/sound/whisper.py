"""Hearing for EchoMimic: OpenAI's Whisper encoder, whose every layer becomes a token of what is being said."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from emo_cli.sound.resampler import RATE
from emo_cli.stored import StoredNetwork, recorded
from emo_cli.tape import Features, Tape, Waveform, Windows, runs

HOP, WINDOW = 160, 400  # samples: 10 ms, 25 ms
ROWS_PER_SECOND = 50
BEFORE, AFTER = 4, 5  # rows that a video frame sees besides the one at its beginning
_FLOOR = 8.0  # decades of log10 energy below the loudest that still count
_COLUMNS = 3000  # of the mel picture at once, so that memory does not grow with the sound


class WhisperHearing(StoredNetwork):
    """Whisper's audio encoder; each row of 20 ms gives `layers + 1` tokens of `width` numbers.

    The tokens are the input of the first layer and the output of every layer; the encoder's last norm is left out, as
    EchoMimic was trained. A video frame sees 10 rows, so 50 tokens with Whisper tiny. The network is the one of
    transformers, which is loaded only when it is built.
    """

    @recorded
    def __init__(
        self, width: int = 384, heads: int = 6, layers: int = 4, mels: int = 80, positions: int = 1500
    ) -> None:
        super().__init__()
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        config = WhisperConfig(
            d_model=width,
            encoder_layers=layers,
            encoder_attention_heads=heads,
            encoder_ffn_dim=4 * width,
            num_mel_bins=mels,
            max_source_positions=positions,
            dropout=0.0,
            attention_dropout=0.0,
        )
        self.encoder = WhisperEncoder(config)
        self.encoder.layer_norm = torch.nn.Identity()
        self.width, self.mels, self.positions = width, mels, positions
        self.tokens = (BEFORE + 1 + AFTER) * (layers + 1)

    def rows(self, waveform: Waveform) -> Tensor:
        """Samples at 16 kHz -> (rows, layers + 1, width) at 50 Hz.

        Pieces of 30 seconds are encoded apart from one another; the last is filled up with zeros behind the log, which
        is not silence, but what the weights are used to.
        """
        return torch.cat(list(self._row_pieces(waveform)))

    @torch.no_grad()
    def _row_pieces(self, waveform: Waveform) -> Iterator[Tensor]:
        logs = Tape(self.mels)
        for part in _log_energies(waveform, self.mels):
            logs.add(part.T)
        top = max(float(logs[a:b].max()) for a, b in runs(len(logs), _COLUMNS))
        for start, stop in runs(len(logs), 2 * self.positions):
            mel = _picture(torch.from_numpy(logs[start:stop]), top)
            filled = F.pad(mel, (0, 0, 0, 2 * self.positions - len(mel))).T
            states = self.encoder(filled[None].to(self.device, self.dtype), output_hidden_states=True).hidden_states
            yield torch.stack(list(states), dim=2)[0, : len(mel) // 2].float()

    def hear(self, waveform: Waveform, frames: int, fps: float) -> Features:
        """Samples at 16 kHz -> (frames, tokens, width), rows in order of time, layers within each row."""
        width: int = self.width
        rows = Tape((self.tokens // (BEFORE + 1 + AFTER)), width)
        for part in self._row_pieces(waveform):
            rows.add(part)
        return Windows(rows, frames, lambda some: window_rows(some, fps, len(rows)))

    def forward(self, waveform: Waveform, frames: int, fps: float) -> Tensor:
        """What `hear` gives, as one tensor."""
        return self.hear(waveform, frames, fps)[:]

    def natural_frames(self, samples: int, fps: float) -> int:
        """How many frames EchoMimic's own code makes of a sound: two or three more than fit into it."""
        rows = max(samples // HOP // 2, 1)
        frame = 0
        while int(frame * (ROWS_PER_SECOND / fps)) <= rows:
            frame += 1
        return frame + 1


def window_rows(frames: Tensor, fps: float, rows: int) -> Tensor:
    """Indices (count, 10) of the 50 Hz rows that some frames (count,) see, clamped to 0..rows - 1."""
    first = torch.tensor([int(frame * ROWS_PER_SECOND / fps) for frame in frames.tolist()])
    return (first[:, None] + torch.arange(-BEFORE, AFTER + 1)).clamp(0, rows - 1)


def log_mel(waveform: Waveform, mels: int = 80) -> Tensor:
    """Samples -> (mels, samples // 160): Whisper's log mel picture of the whole sound, about -1..1.5.

    log10 of the energies, cut off 8 decades below the loudest of all, then (x + 4) / 4. A sound of less than 25 ms is
    continued with silence, so that there is a row at all.
    """
    picture = torch.cat(list(_log_energies(waveform, mels)), dim=1)
    return _picture(picture, float(picture.max()))


def _picture(logs: Tensor, top: float) -> Tensor:
    return (logs.clamp_min(top - _FLOOR) + 4) / 4


def _log_energies(waveform: Waveform, mels: int) -> Iterator[Tensor]:
    """log10 of the energies (mels, columns), in pieces."""
    filters = mel_filters(mels)
    for power in _spectra(waveform):
        yield (filters @ power).clamp_min(1e-10).log10()


def _spectra(waveform: Waveform) -> Iterator[Tensor]:
    """Power (201, columns) of windows centred on every 10 ms, mirrored at both ends."""
    if len(waveform) < WINDOW:
        waveform = F.pad(torch.as_tensor(waveform[:]).float(), (0, WINDOW - len(waveform)))
    half, samples = WINDOW // 2, len(waveform)
    for start, stop in runs(samples // HOP, _COLUMNS):
        begin, end = start * HOP - half, (stop - 1) * HOP + half
        piece = torch.as_tensor(waveform[max(0, begin) : end]).float()
        if begin < 0:
            piece = torch.cat([torch.as_tensor(waveform[1 : 1 - begin]).float().flip(0), piece])
        if end > samples:
            mirror = torch.as_tensor(waveform[2 * samples - end - 1 : samples - 1]).float()
            piece = torch.cat([piece, mirror.flip(0)])
        windows = piece.unfold(0, WINDOW, HOP)
        spectrum = torch.fft.rfft(windows * torch.hann_window(WINDOW))
        yield (spectrum.real.square() + spectrum.imag.square()).T


def mel_filters(mels: int) -> Tensor:
    """Triangles (mels, 201) of equal area, evenly spaced on Slaney's mel scale from 0 to 8000 Hz.

    The scale is linear up to 1000 Hz (15 mels) and logarithmic above, 27 mels for a factor of 6.4.
    """
    per_octave = 27 / torch.tensor(6.4, dtype=torch.float64).log()
    highest = 15 + per_octave * (torch.tensor(RATE / 2 / 1000, dtype=torch.float64)).log()
    mel = torch.linspace(0, float(highest), mels + 2, dtype=torch.float64)
    corners = torch.where(mel < 15, mel * 200 / 3, 1000 * ((mel - 15) / per_octave).exp())
    hertz = torch.linspace(0, RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    left, centre, right = (corners[offset : offset + mels, None] for offset in range(3))
    triangles = torch.minimum((hertz - left) / (centre - left), (right - hertz) / (right - centre)).clamp_min(0)
    return (triangles * 2 / (right - left)).float()
