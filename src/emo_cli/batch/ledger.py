"""What became of each job: one small file per job in the batch's folder, and what a video was made from."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from emo_cli import device, scratch, weights
from emo_cli.animate import AnimateOptions
from emo_cli.batch.jobs import Job
from emo_cli.download import Progress, fetched
from emo_cli.errors import InputError

FOLDER = ".emo-batch"
Status = Literal["done", "skipped", "failed", "left"]
# What does not change the picture, or is known by its content.
UNTOLD = (
    "photo", "sound", "pose", "separator", "output", "model", "device", "overwrite", "download", "offload", "compile",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The end of one job.

    status: done now, skipped because it was done before, failed, or left because the batch stopped. made_from: see
    `Wanted`; settings: as the user gave them; error, kind, exit_code: of a failure; tries: how often it was begun;
    took: seconds; size: of the file, bytes; frames, seconds, fps: of the video; poster: a small JPEG in base64.
    """

    number: int
    status: Status
    photo: str
    sound: str
    output: str
    settings: dict[str, Any]
    made_from: str = ""
    error: str | None = None
    kind: str | None = None
    exit_code: int = 0
    tries: int = 1
    took: float = 0.0
    size: int = 0
    frames: int = 0
    seconds: float = 0.0
    fps: float = 0.0
    model: str = ""
    seed: int | None = None
    warnings: tuple[str, ...] = ()
    poster: str = ""

    @property
    def good(self) -> bool:
        """Whether the video is there."""
        return self.status in ("done", "skipped")


@dataclass(frozen=True)
class Wanted:
    """made_from: one hash of the settings, the inputs' bytes and the model's weights; seed: the one asked for, or one
    that follows from them, so that a batch makes the same videos whenever it runs."""

    made_from: str
    seed: int


class Ledger:
    """The records in a batch's folder. Raises OutputError where it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claims = folder / FOLDER / "claims"
        self._jobs = folder / FOLDER / "jobs"
        for place in (self.claims, self._jobs):
            scratch.make_folder(place)

    def now(self) -> float:
        """The time by the clock of the folder's disk, which all machines that share it agree on."""
        with tempfile.TemporaryFile(dir=self.claims) as file:
            return os.fstat(file.fileno()).st_mtime

    def read(self, key: str) -> Record | None:
        """The record of a job; None when there is none that can be read."""
        try:
            facts = json.loads(self._path(key).read_text(encoding="utf-8"))
            known = {field.name for field in fields(Record)}
            facts["warnings"] = tuple(facts["warnings"])
            return Record(**{name: value for name, value in facts.items() if name in known})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def is_newer(self, key: str, moment: float) -> bool:
        """Whether a job's record was written at or after a moment of `now`."""
        try:
            return self._path(key).stat().st_mtime >= moment
        except OSError:
            return False

    def write(self, key: str, record: Record) -> None:
        """Replace a job's record in one act."""
        scratch.write_text(self._path(key), json.dumps(asdict(record), ensure_ascii=False))

    def _path(self, key: str) -> Path:
        return self._jobs / f"{key}.json"


def wanted(options: AnimateOptions, progress: Progress) -> Wanted:
    """What a job's video is made from. Raises an EmoError of the kind that fits where something of it is missing."""
    settings = {name: value for name, value in asdict(options).items() if name not in UNTOLD}
    settings["precision"] = device.choose(options.device, options.dtype).precision
    folder = fetched(options.model, progress) if options.download else weights.locate(options.model)
    inputs = (options.photo, options.sound, *(path for path in (options.pose, options.separator) if path))
    content = [settings, [_hash_of(path) for path in inputs], _model_hash(folder)]
    told = sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return Wanted(told, int(told[:8], 16) % 2**31 if options.seed is None else options.seed)


def first_record(job: Job, status: Status) -> Record:
    """A job's record as far as it is known beforehand."""
    options = job.options
    usual = asdict(AnimateOptions(options.photo, options.sound))
    told = {name: value for name, value in asdict(options).items() if name not in ("output", "device")}
    settings = {name: value for name, value in told.items() if value != usual[name]}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    return Record(job.number, status, str(options.photo), str(options.sound), str(job.output), plain)


def _hash_of(path: Path) -> str:
    try:
        facts = path.stat()
        return _read_hash(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the name and the folder.") from error


@lru_cache(maxsize=4096)
def _read_hash(path: Path, size: int, changed: int) -> str:
    return weights.digest(path)


@lru_cache(maxsize=16)
def _model_hash(folder: Path) -> str:
    return weights.fingerprint(folder)
