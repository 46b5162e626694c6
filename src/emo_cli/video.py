"""Frames and sound into one video file, whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Protocol

import numpy as np

from emo_cli import encoders, ffmpeg, pipes, scratch, tracks
from emo_cli.errors import OutputError
from emo_cli.footage import Frame, exact_rate

Finish = Callable[[Path], None]
NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Track(Protocol):
    """What a video needs of a sound (`speech.Sound` is one): a file, and the part of it that is heard."""

    @property
    def source(self) -> Path | None: ...
    @property
    def start(self) -> float: ...
    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True)
class Written:
    """A finished video. seconds: frames / fps, which is also how long its sound is."""

    path: Path
    frames: int
    seconds: float


@dataclass(frozen=True)
class _Container:
    """ffmpeg's words for a kind of video, and the codecs of sound that go into it as they are."""

    video: tuple[str, ...]
    sound: tuple[str, ...]
    file: tuple[str, ...] = ()
    copied: frozenset[str] = frozenset()


_YUV = ("-pix_fmt", "yuv420p")
_H264 = encoders.PROCESSORS
_SOON = ("-deadline", "realtime", "-cpu-used", "6", "-row-mt", "1")
_VP9 = ("-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0", *_SOON, *_YUV)
_AAC = ("-c:a", "aac", "-b:a", "192k")
_OPUS = ("-c:a", "libopus", "-b:a", "128k")
# Only where players cope, and where the decoder's warm-up is kept: Matroska and pieces of MP4 lose that of MP3.
_IN_MP4 = frozenset({"aac", "mp3", "alac", "flac", "opus"})
_IN_MKV = frozenset({"aac", "alac", "flac", "vorbis", "opus", "ac3", "pcm_s16le", "pcm_s24le"})
_CONTAINERS = {
    ".mp4": _Container(_H264, _AAC, ("-f", "mp4", "-movflags", "+faststart"), _IN_MP4),
    ".mov": _Container(_H264, _AAC, ("-f", "mov", "-movflags", "+faststart"), frozenset({"aac", "mp3", "alac"})),
    ".mkv": _Container(_H264, _AAC, ("-f", "matroska"), _IN_MKV),
    ".webm": _Container(_VP9, _OPUS, ("-f", "webm"), frozenset({"vorbis", "opus"})),
}
_MOST_SILENCE = 0.05  # seconds by which a copied track may be shorter than the pictures
# delay_moov keeps the edit list, without which players hear the sound late by AAC's 1024 samples of warm-up.
_PIECES = "+frag_keyframe+empty_moov+default_base_moof+delay_moov"
_BROKEN_UP = ("-f", "mp4", "-movflags", _PIECES, "-frag_duration", "1000000")
_FRAGMENTED = _Container(_H264, _AAC, _BROKEN_UP, frozenset({"aac", "alac", "flac"}))
# Without the matrix, ffmpeg makes BT.601; without setparams, players have to guess primaries and transfer.
_COLOUR = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p,"
    "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
)
# Keys that the MP4 writer stores in its own boxes; one key beyond them moves all to the free-form list.
_MP4_KEYS = {"title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright"}
_MP4_KEYS |= {"grouping", "lyrics", "description", "synopsis"}


def frame_count(seconds: float, fps: float) -> int:
    """Frames that cover `seconds` of sound: rounded up, so that the last word is never cut; at least one."""
    return max(1, math.ceil(seconds * fps - 1e-6))


def check_output(path: Path, overwrite: bool = False) -> None:
    """Raises OutputError when a video could not be written to `path`; call it before the long work starts."""
    _container(path)
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a file; give the video a file name such as talk.mp4.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another name or allow overwriting.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} does not exist; create it or choose another one.")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OutputError(f"Nothing can be written in {path.parent} ({error.strerror}); choose another.") from error


def write(
    path: Path,
    frames: Iterable[Frame],
    fps: float,
    sound: Track | None = None,
    tags: Mapping[str, str] = NO_TAGS,
    overwrite: bool = False,
    finish: Finish | None = None,
    card: bool = False,
) -> Written:
    """Encodes frames, as they come, beside the original sound; `path` appears only when all is done.

    frames: uint8 (height, width, 3) RGB, all of the first one's size; an odd side gets its last row or column
    twice, since H.264 colour needs even sides. fps: 1 to 240. sound: its packets as they are where the container
    takes them, else encoded, and trimmed or filled with silence to the length of the pictures. tags: title, comment,
    ... (keys are stored in lower case). The suffix chooses the kind: .mp4, .mov, .mkv, .webm. finish: may change
    the whole file before it gets its name. card: a graphics card makes the frames and may encode them too.
    Whatever goes wrong, Ctrl-C included, the partial file is removed. Raises OutputError (place, disk, ffmpeg, frames)
    and whatever the frames raise.
    """
    check_output(path, overwrite)
    container, rate = _container(path), exact_rate(fps)
    with contextlib.ExitStack() as held:
        part = whole = held.enter_context(_part(path))
        expected = frame_count(sound.seconds, float(rate)) if sound is not None else 0
        count = _encode(frames, rate, sound, expected, tags, container, f"file:{part}", card=card)
        if sound is not None and count != expected:
            # The frames were not as many as the sound is long.
            whole = held.enter_context(_part(path))
            _remux(ffmpeg.input_file(part), whole, count / rate, sound, tags, container)
        if finish is not None:
            finish(whole)
        _settle(whole, path, overwrite)
    return Written(path, count, float(count / rate))


def write_piece(path: Path, frames: Iterable[Frame], fps: float) -> int:
    """Encodes some of a video's frames, without sound, for `join`; gives their number.

    path: its suffix says for which kind of video. It appears when the piece is whole; what a killed process leaves
    has another name. Raises OutputError like `write`.
    """
    container = _container(path)
    silent = _Container(container.video, (), container.file[:2])
    with _part(path) as part:
        count = _encode(frames, exact_rate(fps), None, 0, NO_TAGS, silent, f"file:{part}")
        _settle(part, path, overwrite=True)
    return count


def join(
    path: Path,
    pieces: Sequence[Path],
    frames: int,
    fps: float,
    sound: Track | None = None,
    tags: Mapping[str, str] = NO_TAGS,
    finish: Finish | None = None,
) -> Written:
    """Puts the pieces of a video, which lie in one folder, one behind another beside the sound; nothing is encoded
    twice. An earlier file is replaced.

    frames: how many the pieces hold together; finish: as in `write`. Raises OutputError.
    """
    rate = exact_rate(fps)
    names = pieces[0].with_name("pieces.txt")
    names.write_text("".join(["ffconcat version 1.0\n", *(f"file {_listed(piece)}\n" for piece in pieces)]))
    pictures = ["-f", "concat", "-safe", "0", *ffmpeg.input_file(names)]
    with _part(path) as part:
        _remux(pictures, part, frames / rate, sound, tags, _container(path))
        if finish is not None:
            finish(part)
        _settle(part, path, overwrite=True)
    return Written(path, frames, float(frames / rate))


def _listed(piece: Path) -> str:
    """A piece as ffmpeg's list names it: whole, since it cuts the list's own place at a question mark; but a name on
    more than one line can only be left to that."""
    whole = str(piece.absolute())
    return piece.name if "\n" in whole else "'file:{}'".format(whole.replace("'", "'\\''"))


def stream(
    target: IO[bytes],
    frames: Iterable[Frame],
    fps: float,
    sound: Track | None = None,
    tags: Mapping[str, str] = NO_TAGS,
    card: bool = False,
) -> Written:
    """Like `write`, but a fragmented MP4 into an open file or pipe, playable while it grows.

    target: must have a real file number (sys.stdout.buffer has). The sound is as long as frame_count() says,
    since what has been sent cannot be fitted afterwards. Raises BrokenPipeError when the reader stops early.
    """
    target.flush()
    rate = exact_rate(fps)
    expected = frame_count(sound.seconds, float(rate)) if sound is not None else 0
    try:
        count = _encode(frames, rate, sound, expected, tags, _FRAGMENTED, "pipe:1", target, card)
    except OutputError as error:
        if pipes.reader_is_gone(target):
            raise BrokenPipeError("The reader of the video has had enough.") from error
        raise
    return Written(pipes.STANDARD, count, float(count / rate))


def _container(path: Path) -> _Container:
    found = _CONTAINERS.get(path.suffix.lower())
    if found is None:
        known = ", ".join(_CONTAINERS)
        raise OutputError(f"{path.name} does not end like a video; use one of {known}.")
    return found


def _encode(
    frames: Iterable[Frame],
    rate: Fraction,
    sound: Track | None,
    expected: int,
    tags: Mapping[str, str],
    container: _Container,
    target: str,
    output: int | IO[bytes] = subprocess.DEVNULL,
    card: bool = False,
) -> int:
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise OutputError("There were no frames to write; check that the sound is not empty.")
    height, width = first.shape[0] + first.shape[0] % 2, first.shape[1] + first.shape[1] % 2
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    pictures = [*raw, "-r", str(rate), "-i", "pipe:0"]
    coder = encoders.h264(card, width, height) if container.video == _H264 else container.video
    codec = ("-vf", _COLOUR, *coder)
    command = _command(pictures, codec, sound, expected / rate, tags, container, target)
    with ffmpeg.running(command, feed=True, output=output) as encoder:
        count, alive = 0, True
        for frame in itertools.chain([first], rest):
            alive = encoder.write(_even(frame, first.shape, count))
            if not alive:
                break
            count += 1
        words = encoder.failure()
    if words is not None or not alive:
        raise OutputError(f"ffmpeg stopped writing the video ({words}); check the disk and the sound file.")
    return count


@contextlib.contextmanager
def _part(path: Path) -> Iterator[Path]:
    with contextlib.ExitStack() as held:
        try:
            part = held.enter_context(scratch.beside(path))
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror}); check the folder.") from error
        yield part


def _settle(part: Path, path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise OutputError(f"{path} appeared during the work and was left alone; choose another name.")
    try:
        scratch.settle(part, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); check the folder.") from error


def _remux(
    pictures: list[str],
    target: Path,
    seconds: Fraction,
    sound: Track | None,
    tags: Mapping[str, str],
    container: _Container,
) -> None:
    """A video of pictures that are encoded already, with the sound encoded anew."""
    command = _command(pictures, ("-c:v", "copy"), sound, seconds, tags, container, f"file:{target}")
    with ffmpeg.running(command) as encoder:
        words = encoder.failure()
    if words is not None:
        raise OutputError(f"ffmpeg could not fit the sound to the pictures ({words}); check the disk space.")


def _command(
    pictures: list[str],
    codec: tuple[str, ...],
    sound: Track | None,
    seconds: Fraction,
    tags: Mapping[str, str],
    container: _Container,
    target: str,
) -> list[str]:
    command = ["-y", *pictures]
    if sound is not None:
        command += _sound(sound, seconds, container)
    # Chapters would come from the sound file; they are not true of this video.
    command += ["-map", "0:v:0", *codec, "-map_chapters", "-1", *container.file]
    if "-movflags" in container.file and not _MP4_KEYS.issuperset(key.lower() for key in tags):
        flags = command.index("-movflags") + 1
        command[flags] += "+use_metadata_tags"
    for key, value in tags.items():
        command += ["-metadata", f"{key.lower()}={value}".replace("\0", "")]
    return [*command, target]


def _sound(sound: Track, seconds: Fraction, container: _Container) -> list[str]:
    """ffmpeg's words for a track: the original packets where they fit, else encoded, cut and filled to `seconds`."""
    if sound.source is None:
        raise OutputError("The sound has no file to take the track from; write the video without sound.")
    opened = ffmpeg.input_file(sound.source)
    if sound.start == 0 and 0 <= float(seconds) - sound.seconds + 1e-6 <= _MOST_SILENCE:
        codec = tracks.copyable(sound.source, sound.seconds, container.copied)
        if codec is not None:
            unpacked = ["-bsf:a", "aac_adtstoasc"] if codec == "aac" else []
            return [*opened, "-map", "1:a:0", "-c:a", "copy", *unpacked, "-map_metadata:s:a", "-1"]
    # Times are counted in samples from the first one on, as speech.read counts them, so that the lips fit
    # even where a file's own time stamps are wrong. Surround becomes stereo, which every player knows.
    heard = (
        f"[1:a:0]asetpts=N/SR/TB,atrim=start={sound.start:.9f}:duration={sound.seconds:.9f},asetpts=N/SR/TB,"
        f"aformat=channel_layouts=mono|stereo,apad,atrim=duration={float(seconds):.9f}[heard]"
    )
    return [*opened, "-filter_complex", heard, "-map", "[heard]", *container.sound]


def _even(frame: Frame, shape: tuple[int, ...], position: int) -> memoryview[Any]:
    if frame.dtype != np.uint8 or frame.shape != shape or frame.ndim != 3 or frame.shape[2] != 3:
        raise OutputError(
            f"Frame {position} is {frame.dtype} {frame.shape}, the video wants uint8 {shape} with 3 colours; "
            "report this together with the model's name."
        )
    if shape[0] % 2 or shape[1] % 2:
        frame = np.pad(frame, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame).data.cast("B")
