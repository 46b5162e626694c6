"""A video in the making that survives being killed: what is finished lies in a folder, and a later run goes on there.

Segments are kept as the model made them (small), until enough of them are drawn and encoded as a piece of the video.
The pieces begin and end at the same frames in every run, so a run that was stopped ends with the same bytes as one that
was not. At the end the pieces are put one behind another.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from emo_cli import video
from emo_cli.clips import ClipPlan
from emo_cli.errors import OutputError
from emo_cli.footage import Frame
from emo_cli.networks.codec import Motion
from emo_cli.segments.made import Made
from emo_cli.video import Finish, Track, Written

LENGTH = 250
"""Frames of a piece, at least: as many as the encoder itself would put between two pictures that stand alone."""


@dataclass(frozen=True)
class Piece:
    """Segments first..end of a video, whose first frame is `start` as the model counts."""

    first: int
    end: int
    start: int


def pieces(plan: ClipPlan, length: int) -> tuple[Piece, ...]:
    """A plan's segments in pieces of `length` frames or a little more; the last one takes what is left."""
    found: list[Piece] = []
    first = 0
    for end, segment in enumerate(plan.segments, start=1):
        start = plan.segments[first].start
        if segment.start + segment.shown - start >= length or end == len(plan.segments):
            found.append(Piece(first, end, start))
            first = end
    return tuple(found)


def shown_before(frame: int, made: float, asked: float) -> int:
    """How many frames are shown at a rate before frame `frame` of those made at another."""
    return math.ceil((frame - 1e-6) * asked / made)


class Unfinished:
    """One video's folder.

    first: the first segment whose frames are still wanted; start: their first frame, as the model counts; count: how
    many frames are shown in all. Raises OutputError where the folder cannot be written.
    """

    def __init__(self, folder: Path, plan: ClipPlan, made: float, asked: float, count: int) -> None:
        self.folder = folder
        self.count = count
        self._pieces = pieces(plan, LENGTH)
        ends = [min(count, shown_before(piece.start, made, asked)) for piece in self._pieces[1:]]
        self._ends = (*ends, count)
        self._prepare()
        self._done = next(done for done in range(self._whole(), -1, -1) if done == 0 or self._leads_on(done))
        self.first = self._pieces[self._done].first if self._done < len(self._pieces) else len(plan.segments)
        self.start = self._pieces[self._done].start if self._done < len(self._pieces) else plan.frames

    def kept(self) -> Iterator[Made]:
        """The finished segments without a gap, from the one before `first` on."""
        index = max(0, self.first - 1)
        while (made := self._read(index)) is not None:
            yield made
            index += 1

    def keep(self, made: Made) -> None:
        """Keep one more segment."""
        motion = {field.name: getattr(made.motion, field.name) for field in fields(Motion)}
        carried = {f"carried.{number}": tensor for number, tensor in enumerate(made.carried)}
        both = {name: tensor for name, tensor in (motion | carried).items() if tensor is not None}
        tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in both.items()}  # each with its own memory
        part = self._segment(made.index).with_suffix(f".part-{os.getpid()}")
        try:
            part.write_bytes(save(tensors))
            os.replace(part, self._segment(made.index))
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def write(
        self,
        path: Path,
        shown: Iterable[Frame],
        fps: float,
        sound: Track | None,
        tags: Mapping[str, str],
        finish: Finish | None = None,
    ) -> Written:
        """Encode the frames that are still wanted, piece by piece, and put all pieces together as `path`.

        finish: see `video.write`.
        """
        frames = iter(shown)
        for number in range(self._done, len(self._pieces)):
            begin = self._ends[number - 1] if number else 0
            if self._ends[number] > begin:
                video.write_piece(self._piece(number, path), islice(frames, self._ends[number] - begin), fps)
            self._forget(before=self._pieces[number].end - 1)
        names = [self._piece(number, path) for number in range(len(self._pieces))]
        return video.join(path, [name for name in names if name.exists()], self.count, fps, sound, tags, finish)

    def _prepare(self) -> None:
        """Make the folder, private; drop what a killed process was writing."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for part in self.folder.glob("*.part-*"):
                part.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def _whole(self) -> int:
        """How many pieces from the first on are finished; one that shows nothing has no file."""
        done = 0
        while done < len(self._pieces):
            begin = self._ends[done - 1] if done else 0
            if self._ends[done] > begin and not any(self.folder.glob(f"piece-{done:05}.*")):
                break
            done += 1
        return done

    def _leads_on(self, done: int) -> bool:
        return self._read(self._pieces[done - 1].end - 1) is not None

    def _read(self, index: int) -> Made | None:
        try:
            tensors = load(self._segment(index).read_bytes())
        except (OSError, SafetensorError):
            return None
        motion = Motion(tensors["latents"], tensors.get("pose"), tensors.get("lids"), tensors.get("gaze"))
        count = sum(name.startswith("carried.") for name in tensors)
        carried: tuple[Tensor, ...] = tuple(tensors[f"carried.{number}"] for number in range(count))
        return Made(index, motion, carried)

    def _forget(self, before: int) -> None:
        """Segments that stand in a finished piece are not needed any more."""
        for path in self.folder.glob("segment-*.safetensors"):
            if int(path.stem.removeprefix("segment-")) < before:
                path.unlink(missing_ok=True)

    def _segment(self, index: int) -> Path:
        return self.folder / f"segment-{index:06}.safetensors"

    def _piece(self, number: int, video: Path) -> Path:
        return self.folder / f"piece-{number:05}{video.suffix}"


def discard(folder: Path) -> None:
    """Remove a video's folder, if it is there, with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"{folder.parent} cannot be written ({error.strerror}); check the disk and the folder.")
