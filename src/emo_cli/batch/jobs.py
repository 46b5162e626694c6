"""Which videos a batch makes: photos and sounds paired by name, in order, or each with each; in folders or patterns."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Literal

from emo_cli import pipes
from emo_cli.animate import AnimateOptions
from emo_cli.errors import InputError, UsageError

Pairing = Literal["stem", "cross", "zip"]

PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif"}
SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".au", ".caf"}


@dataclass(frozen=True)
class Job:
    """One video of a batch. number: its place in the batch, from 1; options: with an output of their own."""

    number: int
    options: AnimateOptions

    @property
    def output(self) -> Path:
        """Where the video goes."""
        return self.options.path

    def key(self, folder: Path) -> str:
        """A name for the job that is the same on every machine that shares the batch's folder, wherever it lies."""
        place = self.output.absolute()
        shared = place.relative_to(folder.absolute()) if place.is_relative_to(folder.absolute()) else place
        return sha256(shared.as_posix().encode("utf-8", "surrogateescape")).hexdigest()[:24]


@dataclass(frozen=True)
class Pair:
    """A photo with a sound. name: of their video, without ending."""

    photo: Path
    sound: Path
    name: str


def in_one_folder(folder: Path) -> tuple[list[Pair], list[str]]:
    """Photos and sounds of the same name (anna.jpg, anna.wav), and a sentence about each kind that has no partner."""
    files = _files(folder)
    return _by_stem(_of(files, PHOTOS), _of(files, SOUNDS), folder)


def paired(photos: str, sounds: str, pairing: Pairing) -> tuple[list[Pair], list[str]]:
    """Photos with sounds, each side a folder, a pattern such as `photos/*.jpg`, or a file; warnings like above."""
    left, right = _found(photos, PHOTOS, "photos"), _found(sounds, SOUNDS, "sounds")
    if pairing == "stem":
        return _by_stem(left, right, Path(photos))
    if pairing == "cross":
        return [_pair(photo, sound) for photo, sound in product(left, right)], []
    if len(left) != len(right):
        raise UsageError(
            f"--pair zip wants as many photos as sounds, but there are {len(left)} and {len(right)}; "
            "use --pair stem or cross."
        )
    return [_pair(photo, sound) for photo, sound in zip(left, right, strict=True)], []


def with_one_sound(photos: str, sound: Path) -> list[Pair]:
    """Every photo with the same sound; each video has the photo's name."""
    found = _found(photos, PHOTOS, "photos")
    counted = Counter(photo.stem for photo in found)
    return [Pair(photo, sound, photo.stem if counted[photo.stem] == 1 else photo.name) for photo in found]


def jobs(pairs: Iterable[Pair], common: AnimateOptions, folder: Path) -> list[Job]:
    """A job for each pair, with the options that all share; videos go into the folder."""
    wishes = (
        replace(common, photo=pair.photo, sound=pair.sound, output=folder / f"{pair.name}.mp4") for pair in pairs
    )
    return checked([Job(number, options) for number, options in enumerate(wishes, start=1)])


def checked(found: list[Job]) -> list[Job]:
    """The same jobs; UsageError when there are none, two write one file, or one wants to use a pipe."""
    if not found:
        raise UsageError("The batch has no jobs; check the folder, the pattern or the manifest.")
    first: dict[Path, Job] = {}
    for job in found:
        if pipes.STANDARD in (job.options.photo, job.options.sound, job.output):
            raise UsageError(f"Job {job.number} uses -, but a batch takes files only; use `emo animate` for pipes.")
        other = first.setdefault(job.output.absolute(), job)
        if other is not job:
            raise UsageError(
                f"Jobs {other.number} and {job.number} would both write {job.output}; give one another output."
            )
    return found


def shard(found: Sequence[Job], wish: str | None) -> list[Job]:
    """The jobs of one part of several: "2/4" takes every fourth from the second on."""
    if wish is None:
        return list(found)
    part, _, parts = wish.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--shard {wish} is not understood; give part/parts, such as 2/4.")
    return list(found[int(part) - 1 :: int(parts)])


def _by_stem(photos: list[Path], sounds: list[Path], place: Path) -> tuple[list[Pair], list[str]]:
    pairs = {kind: _unique(files, kind) for kind, files in (("photo", photos), ("sound", sounds))}
    both = [stem for stem in pairs["photo"] if stem in pairs["sound"]]
    if not both:
        raise UsageError(
            f"No photo and sound in {place} have the same name, as anna.jpg and anna.wav would; "
            "rename them, or use --audio, --pair or a manifest."
        )
    found = [Pair(pairs["photo"][stem], pairs["sound"][stem], stem) for stem in both]
    return found, list(_left_alone(pairs, set(both)))


def _left_alone(pairs: dict[str, dict[str, Path]], both: set[str]) -> Iterable[str]:
    for kind, other in (("photo", "sound"), ("sound", "photo")):
        alone = [path.name for stem, path in pairs[kind].items() if stem not in both]
        if alone:
            more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
            yield f"No {other} of the same name for {len(alone)} {kind}(s): {', '.join(alone[:3])}{more}."


def _unique(files: list[Path], kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise UsageError(
                f"{found[path.stem].name} and {path.name} are two {kind}s of one name; "
                "take one away, or use a manifest."
            )
        found[path.stem] = path
    return found


def _pair(photo: Path, sound: Path) -> Pair:
    return Pair(photo, sound, f"{photo.stem}-{sound.stem}")


def _found(wish: str, endings: set[str], kind: str) -> list[Path]:
    """The files of one side. A name that exists is no pattern, whatever its letters."""
    path = Path(wish)
    if path.is_dir():
        found = _of(_files(path), endings)
    elif path.exists():
        found = [path]
    else:
        found = sorted(Path(name) for name in glob.glob(wish, recursive=True) if Path(name).is_file())
    if not found:
        raise InputError(f"No {kind} found at {wish}; check the name, and put patterns in quotes.")
    return found


def _of(files: list[Path], endings: set[str]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in endings]


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read ({error.strerror}); check its name.") from error
