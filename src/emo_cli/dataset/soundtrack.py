"""The sound of a video, in time with its pictures, to cut pieces out of without decoding it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from emo_cli import ffmpeg, speech
from emo_cli.errors import InputError

_RATE = 48_000


class Soundtrack:
    """A video's first sound track, decoded once into a file beside the clips; `path` is None where there is none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @classmethod
    def decode(cls, source: Path, folder: Path) -> Soundtrack:
        """Decode into `folder`, from the video's own time 0 on, holes filled with silence. Raises InputError."""
        target = folder / "sound.wav"
        timed = f"aresample={_RATE}:async=1:first_pts=0"
        arguments = [*ffmpeg.input_file(source), "-map", "0:a:0", "-af", timed, "-ac", "2", "-c:a", "pcm_s16le"]
        with ffmpeg.running(["-y", *arguments, "-rf64", "auto", f"file:{target}"]) as decoder:
            words = decoder.failure(24 * 3600)
        if words is None:
            return cls(target)
        if "matches no streams" in words or "does not contain any stream" in words:
            return cls(None)
        raise InputError(f"The sound of {source} cannot be read ({words}); check that the file is whole.")

    @contextmanager
    def piece(self, start: float, seconds: float) -> Iterator[Path | None]:
        """A part as a sound file of its own for the length of a `with` block, silence where the track has ended."""
        if self.path is None:
            yield None
            return
        target = self.path.with_name("piece.wav")
        count = round(seconds * _RATE)
        with soundfile.SoundFile(self.path) as whole:
            whole.seek(min(round(start * _RATE), whole.frames))
            samples = whole.read(count, dtype="int16", always_2d=True, fill_value=0)
        soundfile.write(target, samples, _RATE, subtype="PCM_16")
        try:
            yield target
        finally:
            target.unlink(missing_ok=True)

    def waveform(self, start: float, seconds: float) -> np.ndarray | None:
        """A part as float32 (samples,) at 16 kHz; None where there is no sound track."""
        with self.piece(start, seconds) as piece:
            return None if piece is None else speech.read(piece).waveform
