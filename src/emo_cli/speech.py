"""Turns a sound file into what a model hears: one channel at 16 kHz, then one row of features per frame."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import soundfile
import torch

from emo_cli import ffmpeg, scratch
from emo_cli.errors import InputError, ModelError
from emo_cli.sound.loudness import levelled
from emo_cli.sound.resampler import RATE as RATE
from emo_cli.sound.resampler import Resampler
from emo_cli.sound.separation import Separator
from emo_cli.sound.vocals import LISTENING, CentreVoice, Vocals, wanted
from emo_cli.tape import Features, Samples, Tape, Waveform, runs
from emo_cli.video import frame_count as frame_count

if TYPE_CHECKING:
    from emo_cli.sound.encoders import SoundEncoder

_BLOCK = 1 << 16
# The files whose length libsndfile knows for certain. It guesses that of an MP3 without an index and then
# stops early (one of 3.4 s ended after 1.3 s), so all others go to ffmpeg, as the video's sound does.
_PLAIN = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"fLaC")
_LOUDEST = 2.0**15
_MOST_CHANNELS = 8
_FRAMES = 256  # rows of features that are looked at together


@dataclass(frozen=True)
class Sound:
    """A sound, or the part of it that was asked for.

    samples: float32, 16 kHz, the mean of all channels; what `read` gives lies on a tape. seconds: length of the part,
    exact in the file's own samples. source: the file that a video takes its track from; start, duration: as asked for.
    sha256: of the whole file's bytes. For sound given as bytes, and for files that ffmpeg cannot put into a video
    (not-a-number samples, more than 8 channels), `source` is a private temporary file that lives exactly as long as
    that path object. separator: sha256 of the weights that took the voice out of the music.
    """

    samples: Waveform
    seconds: float
    source: Path | None
    start: float
    duration: float | None
    sha256: str | None = None
    separator: str | None = None

    @property
    def waveform(self) -> Samples:
        """All samples in memory: float32 (samples,)."""
        return np.asarray(self.samples[:])


@dataclass(frozen=True)
class Speech:
    """What the model hears: features (rows, tokens, width), one row of tokens per video frame, on a tape if it is long.

    There may be more rows than frames: what an encoder that works in clips hears after the sound's end.
    """

    sound: Sound
    features: Features
    fps: float

    @property
    def frames(self) -> int:
        return frame_count(self.sound.seconds, self.fps)


@runtime_checkable
class Overshooting(Protocol):
    """A sound encoder whose authors make more frames of a sound than fit into it."""

    def natural_frames(self, samples: int, fps: float) -> int:
        """How many frames they make of so many samples at 16 kHz."""
        ...


def read(
    source: Path | bytes | IO[bytes],
    start: float = 0.0,
    duration: float | None = None,
    vocals: Vocals = "off",
    separator: Separator | None = None,
) -> Sound:
    """Decodes a sound file, or the sound of a video, of any kind that ffmpeg knows.

    source: a path, or a whole file's bytes, or a stream of them (standard input). start, duration: seconds. A part
    that goes beyond the end is cut there. vocals: whether the waveform is the voice in the middle of a stereo song
    ("centre"), what `separator` finds ("demucs"), all of the sound ("off"), or what suits it ("auto"). Raises
    InputError when there is nothing to hear.
    """
    if not (math.isfinite(start) and start >= 0):
        raise InputError(f"The sound cannot start at {start:g} seconds; give 0 or more.")
    if duration is not None and not (math.isfinite(duration) and duration > 0):
        raise InputError(f"The sound cannot last {duration:g} seconds; give more than 0.")
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    path = _readable(source) if isinstance(source, Path) else _private_copy(source)
    try:
        waveform, seconds, mendable = _hear(_plain(path, start), duration, vocals, separator)
    except _NotPlain:
        waveform, seconds, mendable = _hear(_any(path, start), duration, vocals, separator)
    source = _mended(path) if mendable else path
    weights = separator.sha256 if separator else None
    return Sound(waveform, seconds, source, start, duration, _sha256(path), weights)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode(sound: Sound, encoder: SoundEncoder, fps: float, exact: bool = False) -> Speech:
    """One row of features per video frame, from the waveform at an even loudness (the track is untouched).

    exact: the waveform as it is, and at least as many rows as the authors' own code makes of it.
    """
    frames = rows = frame_count(sound.seconds, fps)
    waveform = sound.samples if exact else levelled(sound.samples)
    if exact and isinstance(encoder, Overshooting):
        rows = max(frames, encoder.natural_frames(len(waveform), fps))
    features = encoder.hear(waveform, rows, fps)
    fits = features.shape[1:] == (encoder.tokens, encoder.width) and len(features) >= frames
    if not fits or not all(bool(features[a:b].isfinite().all()) for a, b in runs(len(features), _FRAMES)):
        raise ModelError(
            f"The sound encoder gave {tuple(features.shape)} instead of ({frames}, {encoder.tokens}, "
            f"{encoder.width}) finite numbers; fetch its weights again."
        )
    return Speech(sound, features, fps)


class _NotPlain(Exception):
    """libsndfile is not the one to read this file."""


def _private_copy(stream: IO[bytes]) -> Path:
    path = scratch.named(".sound")
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file)
            if not file.tell():
                raise InputError("The sound from standard input is empty; check the command that feeds it.")
    except OSError as error:
        raise scratch.no_room(error) from error
    return path


def _readable(path: Path) -> Path:
    if path.is_fifo():
        with path.open("rb") as pipe:
            return _private_copy(pipe)
    if not path.is_file():
        raise InputError(f"{path} is not a sound file; check the name and the folder.")
    try:
        with path.open("rb") as file:
            begin = file.read(1)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from error
    if not begin:
        raise InputError(f"{path} is empty; record or copy the sound again.")
    return path


def _name(path: Path) -> str:
    return "The sound from standard input" if isinstance(path, scratch.PrivatePath) else str(path)


def _past_end(path: Path, seconds: float, start: float) -> InputError:
    if not seconds:
        return InputError(f"{_name(path)} holds no sound at all; record or copy it again.")
    return InputError(f"{_name(path)} is {seconds:.2f} seconds long and cannot start at {start:g}; start earlier.")


def _plain(path: Path, start: float) -> Iterator[tuple[int, Samples]]:
    """Sample rate and blocks (samples, channels) from `start` seconds on, by libsndfile."""
    with path.open("rb") as file:
        if not file.read(4).startswith(_PLAIN):
            raise _NotPlain
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            if file.frames == 0 or file.subtype.startswith("MPEG"):
                raise _NotPlain
            if start * file.samplerate >= file.frames:
                raise _past_end(path, file.frames / file.samplerate, start)
            file.seek(round(start * file.samplerate))
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                yield file.samplerate, block
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise _NotPlain from error


def _any(path: Path, start: float) -> Iterator[tuple[int, Samples]]:
    """The same by ffmpeg, for everything else: AU, since it states rate and channels before the samples."""
    arguments = [*ffmpeg.input_file(path), "-map", "0:a:0", "-vn", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with ffmpeg.running(arguments, output=subprocess.PIPE, limit=1800) as decoder:
        header = decoder.stdout.read(24)
        if len(header) < 24:
            raise _unreadable(path, decoder.failure())
        _, offset, _, _, rate, channels = struct.unpack(">4s5I", header)
        decoder.stdout.read(offset - 24)
        position, begin = 0, round(start * rate)
        while data := decoder.stdout.read(_BLOCK * channels * 4):
            whole = len(data) // (4 * channels) * 4 * channels
            block = np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, channels)
            kept = block[max(0, begin - position) :]
            position += len(block)
            if len(kept):
                yield rate, kept
        if (words := decoder.failure()) is not None:
            raise _unreadable(path, words)
        if position <= begin:
            raise _past_end(path, position / rate, start)


def _unreadable(path: Path, words: str | None) -> InputError:
    if words is None:
        return InputError(f"{_name(path)} holds no sound at all; record or copy it again.")
    if "matches no streams" in words or "does not contain any stream" in words:
        return InputError(f"{_name(path)} has no sound track; give a sound file or a video with sound.")
    return InputError(f"{_name(path)} cannot be read as sound ({words}); convert it to WAV.")


def _hear(
    blocks: Iterator[tuple[int, Samples]], duration: float | None, vocals: Vocals, separator: Separator | None
) -> tuple[Tape, float, bool]:
    """The samples at 16 kHz, their seconds, and whether the file needs mending for the video."""
    blocks = _limited(blocks, duration)
    beginning = list(_beginning(blocks, LISTENING if vocals == "auto" else 0))
    if not beginning:
        raise InputError("The chosen part is shorter than one sample of the sound; choose a longer one.")
    rate = beginning[0][0]
    only = wanted(vocals, np.concatenate([_cleaned(block) for _, block in beginning]), rate)
    voice = separator.voice(rate) if separator else CentreVoice(rate) if only else None
    paced = voice.rate if voice else rate
    resampler = Resampler(paced) if paced != RATE else None
    heard = Tape()
    count, mendable = 0, False
    for _, block in itertools.chain(beginning, blocks):
        count += len(block)
        mendable |= block.shape[1] > _MOST_CHANNELS or not _sane(block)
        block = _cleaned(block)
        mono = torch.from_numpy(voice.push(block) if voice else block.mean(1))
        heard.add(resampler.push(mono) if resampler else mono)
    if voice is not None:
        rest = torch.from_numpy(voice.finish())
        heard.add(resampler.push(rest) if resampler else rest)
    if resampler is not None:
        heard.add(resampler.finish())
    return heard, count / rate, mendable


def _limited(blocks: Iterator[tuple[int, Samples]], duration: float | None) -> Iterator[tuple[int, Samples]]:
    """The blocks, cut after `duration` seconds."""
    count = 0
    for rate, block in blocks:
        if not 1000 <= rate <= 1_000_000:
            raise InputError(f"A sound of {rate} samples per second cannot be used; convert it to 16000.")
        left = len(block) if duration is None else round(duration * rate) - count
        if left <= 0:
            return
        count += len(block[:left])
        yield rate, block[:left]


def _beginning(blocks: Iterator[tuple[int, Samples]], seconds: float) -> Iterator[tuple[int, Samples]]:
    """The first blocks that together last so long, at least one."""
    count = 0
    for rate, block in blocks:
        yield rate, block
        count += len(block)
        if count >= seconds * rate:
            return


def _sane(block: Samples) -> bool:
    return bool(np.abs(block).max(initial=0.0) <= _LOUDEST)


def _cleaned(block: Samples) -> Samples:
    """Not-a-number and infinite samples become silence; nothing is meant beyond 16-bit numbers."""
    if _sane(block):
        return block
    return np.clip(np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0), -_LOUDEST, _LOUDEST)


def _mended(path: Path) -> Path:
    """The whole file again, as a private WAV that ffmpeg can put into a video."""
    try:
        return _rewritten(_plain(path, 0.0))
    except _NotPlain:
        return _rewritten(_any(path, 0.0))


def _rewritten(blocks: Iterator[tuple[int, Samples]]) -> Path:
    copy = scratch.named(".sound")
    file: soundfile.SoundFile | None = None
    try:
        for rate, block in blocks:
            if block.shape[1] > _MOST_CHANNELS:
                block = block.mean(1, keepdims=True)
            if file is None:
                file = soundfile.SoundFile(os.fspath(copy), "w", rate, block.shape[1], "PCM_24", format="WAV")
            file.write(_cleaned(block))
    finally:
        if file is not None:
            file.close()
    return copy
