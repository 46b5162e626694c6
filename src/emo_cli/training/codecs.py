"""What phone calls, messengers and small files do to a voice: it is encoded and decoded again by ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_cli.ffmpeg import program
from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.tape import Samples


@dataclass(frozen=True)
class Codec:
    """A way to store sound: file name ending, ffmpeg's options, and the bit rates (kbit/s) that are drawn from."""

    ending: str
    options: tuple[str, ...]
    rates: Sequence[int] = ()


# Containers that keep the encoder's delay, so that the sound stays where it was.
CODECS = (
    Codec("ogg", ("-c:a", "libopus", "-application", "voip"), (8, 12, 16, 24)),
    Codec("mp3", ("-c:a", "libmp3lame"), (16, 24, 32, 48)),
    Codec("m4a", ("-c:a", "aac"), (16, 24, 32, 48)),
    Codec("wav", ("-c:a", "pcm_mulaw", "-ar", "8000")),
    Codec("wav", ("-c:a", "adpcm_ima_wav", "-ar", "8000")),
    Codec("wav", ("-c:a", "adpcm_ima_wav", "-ar", "11025")),
)


def through(waveform: Samples, codec: Codec, rate: int | None) -> Samples:
    """Sound (samples,) at 16 kHz after one round through a codec at `rate` kbit/s: as long and at the same times."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sound.{codec.ending}"
        raw = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1")
        bits = () if rate is None else ("-b:a", f"{rate}k")
        _ffmpeg([*raw, "-i", "-", *codec.options, *bits, str(path)], np.clip(waveform, -1, 1).tobytes())
        decoded = np.frombuffer(_ffmpeg(["-i", str(path), *raw, "-"], b""), np.float32)
    result = np.zeros(len(waveform), np.float32)
    result[: len(decoded)] = decoded[: len(waveform)]
    return result


def random_codec(waveform: Samples, rng: np.random.Generator) -> Samples:
    """One round through a random codec at one of its rates."""
    codec = CODECS[int(rng.integers(len(CODECS)))]
    rate = int(rng.choice(codec.rates)) if codec.rates else None
    peak = max(float(np.abs(waveform).max(initial=0.0)), 1e-4)
    return through((waveform * (0.7 / peak)).astype(np.float32), codec, rate) * np.float32(peak / 0.7)


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    command = [program(), "-y", "-v", "error", *(() if data else ("-nostdin",)), "-threads", "1", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout
