"""The voice of a song without the music, by Demucs: for the model's ears only, with weights that the user has.

An extra (`pip install 'emo-cli[separate]'`). The network is the authors' own (Rouard, Massa, Défossez, "Hybrid
Transformers for Music Source Separation", 2022), and so is the way of putting long songs together of segments that
overlap. Weights are read from safetensors, as the authors publish them, and never from a pickle.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from emo_cli.errors import DeviceError, IncompatibleCheckpoint, UsageError, WeightsError
from emo_cli.sound.resampler import Resampler
from emo_cli.tape import Samples

NETWORK = "demucs.htdemucs.HTDemucs"
VOICE = "vocals"
OVERLAP = 0.25  # of a segment, as the authors' command has it


@dataclass(frozen=True)
class Separator:
    """A network that takes songs apart. rate: samples per second that it hears; length: of a segment, in samples;
    place: where the voice stands among what it finds; sha256: of the file with its weights."""

    network: Any
    rate: int
    length: int
    place: int
    sha256: str

    @classmethod
    def open(cls, weights: Path | None, device: torch.device | str = "cpu") -> Separator:
        """Open a file of weights. Raises UsageError without one, DeviceError without the extra, WeightsError."""
        if weights is None:
            raise UsageError(
                "--vocals demucs needs Demucs' weights; give their .safetensors file with --separator, "
                "see docs/command-line.md."
            )
        kinds, state, settings = _read(weights)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = kinds(**settings)
            network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
            place = list(network.sources).index(VOICE)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise IncompatibleCheckpoint(
                f"{weights} does not fit Demucs' network ({reason}); fetch it again, or update demucs."
            ) from error
        with weights.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        rate = int(network.samplerate)
        return cls(network.to(device).eval(), rate, int(network.segment * rate), place, digest)

    def voice(self, rate: int) -> SeparatedVoice:
        """A stream that takes the voice out of samples at `rate` per second."""
        return SeparatedVoice(self, rate)

    @torch.no_grad()
    def separated(self, segment: Tensor) -> Tensor:
        """Stereo (2, length) -> the voice in it, both channels' mean (length,)."""
        device = next(self.network.parameters()).device
        found: Tensor = self.network(segment[None].to(device))[0, self.place].mean(0)
        return found.float().cpu()


class SeparatedVoice:
    """Takes the voice out of a stream of samples, segment by segment; triangles fade one into the next.

    rate: of what comes out. Feed blocks to `push`, then call `finish` once; as much time comes out as went in.
    """

    def __init__(self, separator: Separator, rate: int) -> None:
        self.rate = separator.rate
        self._separator = separator
        self._resamplers = None if rate == self.rate else [Resampler(rate, self.rate) for _ in range(2)]
        size = separator.length
        rise = torch.arange(1, size // 2 + 1)
        self._fade = torch.cat([rise, torch.arange(size - size // 2, 0, -1)]) / (size - size // 2)
        self._stride = int((1 - OVERLAP) * size)
        self._pending, self._earlier = torch.zeros(2, 0), torch.zeros(2, size)
        self._sum, self._weight = torch.zeros(size), torch.zeros(size)

    def push(self, block: Samples) -> Samples:
        """Samples (count, channels) in, the voice (any count,) out. Surround is heard as its first two channels."""
        stereo = torch.from_numpy(np.ascontiguousarray(block.T[[0, min(1, block.shape[1] - 1)]]))
        if self._resamplers is not None:
            stereo = torch.stack([one.push(part) for one, part in zip(self._resamplers, stereo, strict=True)])
        return self._given(stereo)

    def finish(self) -> Samples:
        """The last samples."""
        rest = torch.zeros(2, 0)
        if self._resamplers is not None:
            rest = torch.stack([one.finish() for one in self._resamplers])
        given = self._given(rest)
        left = self._pending.shape[1]
        parts = [given]
        while left > 0:
            parts.append(self._turn(min(self._stride, left)))
            left -= self._stride
        return np.concatenate(parts)

    def _given(self, stereo: Tensor) -> Samples:
        self._pending = torch.cat([self._pending, stereo], 1)
        return np.concatenate([np.zeros(0, np.float32), *self._ready()])

    def _ready(self) -> Iterator[Samples]:
        while self._pending.shape[1] >= self._separator.length:
            yield self._turn(self._stride)

    def _turn(self, count: int) -> Samples:
        """Separate what is pending, up to a segment, and give its first `count` samples, which are complete."""
        size = self._separator.length
        segment = self._pending[:, :size]
        known = segment.shape[1]
        # A short last segment stands in the middle, between what went before and silence.
        before = (size - known) // 2
        earlier = self._earlier[:, self._earlier.shape[1] - before :]
        whole = torch.cat([earlier, segment, torch.zeros(2, size - known - before)], 1)
        voice = self._separator.separated(whole)[before : before + known]
        self._sum[:known] += voice * self._fade[:known]
        self._weight[:known] += self._fade[:known]
        shown = (self._sum[:count] / self._weight[:count]).numpy()
        nothing = torch.zeros(self._stride)
        self._sum = torch.cat([self._sum[self._stride :], nothing])
        self._weight = torch.cat([self._weight[self._stride :], nothing])
        self._earlier = torch.cat([self._earlier, self._pending[:, : self._stride]], 1)[:, -size:]
        self._pending = self._pending[:, self._stride :]
        return np.asarray(shown, np.float32)


def _read(weights: Path) -> tuple[Any, dict[str, Tensor], dict[str, Any]]:
    """The network's class, its weights, and what it was made with."""
    try:
        from demucs.htdemucs import HTDemucs
    except ImportError as error:
        raise DeviceError("--vocals demucs needs an extra: run `pip install 'emo-cli[separate]'`.") from error
    if not weights.is_file():
        raise WeightsError(f"{weights} is not a file; check the name that --separator gives.")
    if weights.suffix != ".safetensors":
        raise WeightsError(
            f"{weights} is not safetensors and might run a program when it is opened; "
            "give the file that Demucs' authors publish as .safetensors."
        )
    try:
        with safe_open(str(weights), framework="pt") as file:
            told = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if told.get("klass") != NETWORK or "structure" in told or json.loads(told["args"]):
            raise WeightsError(f"{weights} holds no plain HTDemucs; fetch the model called htdemucs.")
        return HTDemucs, state, _decoded(json.loads(told["kwargs"]))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{weights} is damaged or no Demucs ({error}); fetch it again.") from error


def _decoded(value: Any) -> Any:
    """Settings as JSON holds them; the length of a segment may be a fraction."""
    if isinstance(value, dict) and value.get("_type") == "fraction":
        return Fraction(value["numerator"], value["denominator"])
    if isinstance(value, dict):
        return {name: _decoded(part) for name, part in value.items()}
    return [_decoded(part) for part in value] if isinstance(value, list) else value
