"""From a model's name to the folder with its weights, and whether what lies there is whole.

A fetched model is a folder of links into the Hub's cache, laid out as its authors do it, with a `weights.lock` that
says which file of which commit each link is. A folder on disk that holds a model is a model too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from emo_cli.catalogue import PACKAGE, Model, find, known_models, readable
from emo_cli.errors import OutputError, WeightsError
from emo_cli.family import FILE

LOCK = "weights.lock"
POINTER = b"version https://git-lfs.github.com/spec/"  # how a file begins that stands for one in Git LFS
CHUNK = 2**22

State = Literal["in the package", "fetched", "incomplete", "not fetched"]
BytesTold = Callable[[int], None]
"""Is told how many more bytes have been read, or received."""


@dataclass(frozen=True)
class Locked:
    """What was fetched for one place of a model's folder. ours: emo brought it into the cache, so emo may remove it."""

    place: str
    repository: str
    commit: str
    path: str
    size: int
    sha256: str
    ours: bool


@dataclass(frozen=True)
class Status:
    """How much of a model is on this machine. size: bytes on disk, or about how many it takes to fetch it."""

    name: str
    state: State
    size: float
    folder: Path
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """One file of a model after its bytes were read and compared; problem: None when it is as published."""

    model: str
    file: Path
    problem: str | None


@dataclass(frozen=True)
class Removed:
    """A model that was on this machine, and how many bytes its removal freed."""

    name: str
    freed: int


def home() -> Path:
    """Where the folders of fetched models lie: beside the Hub's cache, so that HF_HOME moves both."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "emo"


def folder_of(model: Model) -> Path:
    """Where a model's files are, or will be once they are fetched."""
    return PACKAGE / model.name if model.bundled else home() / model.name


def locate(name: str) -> Path:
    """The folder of a model that can be run: a known name, or the path of a model folder.

    Raises WeightsError when there is no such model, or when its files are missing or cut short.
    """
    models = {model.name: model for model in known_models()}
    if name in models:
        return _folder_with_weights(models[name])
    path = Path(name).expanduser()
    if not path.is_dir():
        raise WeightsError(
            f"There is no model called {name!r}. Give the path of a model folder, or one of: {', '.join(models)}."
        )
    published = {file.place for model in models.values() for file in model.all_files()}
    found = [path / place for place in published if (path / place).is_file()]
    if not found and not (path / FILE).is_file():
        raise WeightsError(
            f"{path} holds no model: it has neither a {FILE} nor published weights. "
            "Give the folder that `emo train` or `emo weights import` wrote, or a clone of the authors'."
        )
    for file in found:
        if is_pointer(file):
            raise WeightsError(
                f"{file} is a Git LFS pointer, not the weights themselves. Run `git lfs pull` where it was cloned."
            )
    return path


def _folder_with_weights(model: Model) -> Path:
    found = status(model)
    command = f"`emo weights get {model.name}`"
    if found.state == "not fetched":
        raise WeightsError(
            f"The weights of {model.name} are not on this machine (about {readable(model.size)}). "
            f"Fetch them with {command}, or add --download."
        )
    if found.state == "incomplete" and model.bundled:
        raise WeightsError(
            f"The files of {model.name} are missing from {found.folder}. Install emo again, "
            "or give the folder of another model with --model."
        )
    if found.state == "incomplete":
        raise WeightsError(f"The weights of {model.name} are not whole: {found.problems[0]}. Mend them with {command}.")
    return found.folder


def status(model: Model) -> Status:
    """How much of a model is here; looks at names and sizes only, so it is quick."""
    folder = folder_of(model)
    if model.bundled:
        whole = (folder / FILE).is_file()
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return Status(model.name, "in the package" if whole else "incomplete", size, folder)
    locked = read_lock(folder)
    if not locked:
        return Status(model.name, "not fetched", model.size, folder)
    places = dict.fromkeys((*(file.place for file in model.files), *locked))
    problems = tuple(problem for place in places if (problem := fault(folder / place, locked.get(place))))
    return Status(
        name=model.name,
        state="incomplete" if problems else "fetched",
        size=sum(entry.size for entry in locked.values()),
        folder=folder,
        problems=problems,
    )


def fault(path: Path, entry: Locked | None, heard: BytesTold | None = None) -> str | None:
    """What is wrong with a fetched file, as part of a sentence, or None.

    heard: read every byte and compare the hash too, and tell after each chunk how many bytes that were.
    """
    if entry is None or not path.is_file():
        return f"{path.name} is missing"
    size = path.stat().st_size
    if size < 1024 and size != entry.size and is_pointer(path):
        return f"{path.name} is a Git LFS pointer, not the weights themselves"
    if size != entry.size:
        return f"{path.name} has {size} of {entry.size} bytes"
    if heard is not None and digest(path, heard) != entry.sha256:
        return f"{path.name} was altered: its bytes are not those that were published"
    return None


def digest(path: Path, heard: BytesTold = lambda count: None) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
            heard(len(chunk))
    return total.hexdigest()


def fingerprint(folder: Path) -> str:
    """One hash of all files of a model: the sha256 of lines `sha256  place`, sorted by place, as sha256sum writes them.

    What was fetched has been hashed before; other files are read.
    """
    locked = read_lock(folder)
    places = locked or sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    known = {place: locked[place].sha256 if place in locked else digest(folder / place) for place in places}
    lines = "".join(f"{known[place]}  {place}\n" for place in sorted(known))
    return hashlib.sha256(lines.encode()).hexdigest()


def is_pointer(path: Path) -> bool:
    """Whether a file is the small text that Git keeps in the place of a large file."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def verify(model: Model, heard: BytesTold = lambda count: None) -> Iterator[Checked]:
    """Read every byte of a fetched model and compare it with what was published. Bundled models have no lock."""
    folder = folder_of(model)
    locked = read_lock(folder)
    for place in dict.fromkeys((*(file.place for file in model.files), *locked)):
        yield Checked(model.name, folder / place, fault(folder / place, locked.get(place), heard))


def read_lock(folder: Path) -> dict[str, Locked]:
    """What was fetched into a model's folder, by place; empty when nothing was, or the lock cannot be read."""
    try:
        entries = json.loads((folder / LOCK).read_text(encoding="utf-8"))["files"]
        return {entry["place"]: Locked(**entry) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_lock(folder: Path, locked: dict[str, Locked]) -> None:
    """Record what was fetched; the old record stays until the new one is whole."""
    beside = folder / f"{LOCK}.part"
    record = {"files": [asdict(entry) for entry in locked.values()]}
    beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, folder / LOCK)


def remove(model: Model) -> Removed:
    """Delete a fetched model, and those of its files in the Hub's cache that nothing else of emo uses."""
    folder = folder_of(model)
    if model.bundled:
        raise WeightsError(f"{model.name} is part of emo itself and cannot be removed.")
    locked = read_lock(folder)
    if not locked:
        raise WeightsError(f"{model.name} is not on this machine, so there is nothing to remove.")
    used = {path.resolve() for other in known_models() if other.name != model.name for path in _files(folder_of(other))}
    own = [(folder / place).resolve() for place, entry in locked.items() if entry.ours]
    spare = [path for path in own if path.is_file() and path not in used]
    freed = sum(path.stat().st_size for path in spare)
    try:
        shutil.rmtree(folder)
        for path in spare:
            _forget(path)
    except OSError as problem:
        raise OutputError(f"{model.name} cannot be removed ({problem}). Check who owns {folder}.") from problem
    return Removed(model.name, freed)


def _files(folder: Path) -> Iterator[Path]:
    return (folder / place for place in read_lock(folder))


def _forget(blob: Path) -> None:
    """Delete a file from the Hub's cache: the blob, and the names that snapshots give it."""
    if not blob.is_file():
        return  # a copy inside the model's folder, gone with it
    for pointer in blob.parent.parent.glob("snapshots/**/*"):
        if pointer.is_symlink() and pointer.resolve() == blob:
            pointer.unlink()
    blob.unlink()


def find_fetched(names: tuple[str, ...]) -> tuple[Model, ...]:
    """The named models, or all that were fetched when none is named; WeightsError if a named one was not."""
    models = [find(name) for name in names] or [model for model in known_models() if read_lock(folder_of(model))]
    for model in models:
        if not read_lock(folder_of(model)):
            raise WeightsError(f"{model.name} was not fetched, so there is nothing to check. See `emo weights list`.")
    return tuple(models)
