"""Fetching a model: what is missing, whether there is room and leave, then file after file into its folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emo_cli import hub
from emo_cli.catalogue import File, Licence, Model, known_models, readable
from emo_cli.errors import OutputError, WeightsError
from emo_cli.hub import Remote, Unreachable
from emo_cli.weights import Locked, digest, fault, folder_of, home, locate, read_lock, status, write_lock

ACCEPTED = "accepted-licences.json"
Consent = Callable[[Licence], bool]


class Progress(Protocol):
    """What a caller may want to hear while a model is being fetched."""

    def stage(self, name: str) -> None:
        """A new part of the work begins."""

    def received(self, done: int, total: int) -> None:
        """So many bytes of all that are to come have arrived."""


@dataclass(frozen=True)
class Fetched:
    """A model that is whole on this machine now. received: bytes that came over the network for it."""

    name: str
    folder: Path
    files: int
    size: int
    received: int


def fetch(model: Model, extras: tuple[str, ...], consent: Consent, progress: Progress) -> Fetched:
    """Bring a model's files, and those of the named extras, into its folder; those that are there and whole stay.

    consent: asked once for each restricted licence; a yes is remembered. Every byte is compared with its published
    hash, also of files that are there already. Raises WeightsError, OutputError when there is no room for them.
    """
    folder = folder_of(model)
    if model.bundled:
        return Fetched(model.name, folder, 0, 0, 0)
    known = {file.place for file in model.all_files()}
    locked = {place: entry for place, entry in read_lock(folder).items() if place in known}
    had = (extra.name for extra in model.extras if any(file.place in locked for file in extra.files))
    wanted = model.with_extras(tuple(dict.fromkeys((*extras, *had))))
    _agree(wanted, consent)
    missing = _missing(wanted, folder, locked, progress)
    remotes = _ask(missing, locked, folder, progress)
    received = _receive(remotes, folder, locked, progress)
    size = sum(entry.size for entry in locked.values())
    return Fetched(model.name, folder, len(locked), size, received)


def fetched(name: str, progress: Progress) -> Path:
    """The folder of a model; a known one that is not whole on this machine is fetched first."""
    models = {model.name: model for model in known_models()}
    if name in models and status(models[name]).state in ("not fetched", "incomplete"):
        progress.stage(f"fetching the weights of {name}, about {readable(models[name].size)}")
        fetch(models[name], (), lambda licence: False, progress)
    return locate(name)


def _agree(files: Iterable[File], consent: Consent) -> None:
    """Have every restricted licence accepted, now or earlier."""
    try:
        accepted = set(json.loads((home() / ACCEPTED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        accepted = set()
    for licence in dict.fromkeys(file.licence for file in files):
        if not licence.restricted or licence.name in accepted:
            continue
        if not consent(licence):
            raise WeightsError(
                f"These weights are under a licence that restricts their use: {licence.text} ({licence.address}). "
                "If you accept it, run the command again with --accept-license."
            )
        accepted.add(licence.name)
        with _writing(home()):
            home().mkdir(parents=True, exist_ok=True)
            (home() / ACCEPTED).write_text(json.dumps(sorted(accepted)) + "\n", encoding="utf-8")


def _missing(
    wanted: tuple[File, ...], folder: Path, locked: dict[str, Locked], progress: Progress
) -> tuple[File, ...]:
    """The files that are not in the folder, or not whole."""
    there = sum(entry.size for entry in locked.values())
    if there:
        progress.stage("checking what is here")
    count = Counter(there, progress)
    return tuple(file for file in wanted if _unfit(file, folder, locked.get(file.place), count))


def _unfit(file: File, folder: Path, entry: Locked | None, count: Counter) -> bool:
    if entry is not None and file.sha256 not in (None, entry.sha256):
        return True  # the table names other bytes than the version of emo that fetched these
    return fault(folder / file.place, entry, count) is not None


def _ask(
    missing: tuple[File, ...], locked: dict[str, Locked], folder: Path, progress: Progress
) -> tuple[Remote, ...]:
    """What the Hub says of the missing files; those that it cannot be asked about may be in its cache already."""
    commits = {entry.repository: entry.commit for entry in locked.values()}
    remotes = []
    for file in missing:
        progress.stage(f"asking for {file.path}")
        revision = commits.get(file.repository, file.revision)
        try:
            remote = hub.ask(file, revision)
        except Unreachable:
            if not _adopt(file, revision, folder, locked):
                raise
            continue
        if file.sha256 and remote.sha256 and file.sha256 != remote.sha256:
            raise WeightsError(
                f"{file.path} of {file.repository} is not the file that emo knows: its hash differs. "
                "Look for a newer emo; nothing was fetched."
            )
        commits[file.repository] = remote.commit
        remotes.append(remote)
    return tuple(remotes)


def _adopt(file: File, revision: str, folder: Path, locked: dict[str, Locked]) -> bool:
    """Take a file from the Hub's cache if it is there and whole, without asking the Hub."""
    found = hub.cached(file, revision)
    if found is None:
        return False
    blob, commit = found
    size = blob.stat().st_size
    _place(file, blob, folder)
    locked[file.place] = Locked(file.place, file.repository, commit, file.path, size, digest(blob), ours=False)
    write_lock(folder, locked)
    return True


def _receive(remotes: tuple[Remote, ...], folder: Path, locked: dict[str, Locked], progress: Progress) -> int:
    """Receive file after file; the lock grows with each, so that a later run asks only for the rest."""
    there = {remote: remote.blob.is_file() and remote.blob.stat().st_size == remote.size for remote in remotes}
    coming = [remote for remote in remotes if not there[remote]]
    total = sum(remote.size - hub.arrived(remote) for remote in coming)
    _check_room(total)
    count = Counter(total, progress)
    for number, remote in enumerate(remotes, start=1):
        progress.stage(f"fetching {remote.file.path}, file {number} of {len(remotes)} ({readable(remote.size)})")
        before = count.done
        blob = hub.receive(remote, count)
        _place(remote.file, blob, folder)
        locked[remote.file.place] = Locked(
            place=remote.file.place,
            repository=remote.file.repository,
            commit=remote.commit,
            path=remote.file.path,
            size=remote.size,
            sha256=remote.sha256 or digest(blob),
            ours=count.done > before or _ours(remote, folder),
        )
        write_lock(folder, locked)
    return count.done


def _ours(remote: Remote, folder: Path) -> bool:
    """Whether another of emo's models brought a file that lay in the cache already."""
    others = (read_lock(other).values() for other in folder.parent.iterdir() if other.is_dir() and other != folder)
    same = (remote.file.repository, remote.commit, remote.file.path)
    found = (entry for entries in others for entry in entries if entry.ours)
    return any((entry.repository, entry.commit, entry.path) == same for entry in found)


def _check_room(size: int) -> None:
    place = hub.cache()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if size > free:
        raise OutputError(
            f"Fetching this takes {readable(size)}, and {place} has {readable(free)} free. "
            "Make room, or let HF_HOME name a folder on a larger disk."
        )


def _place(file: File, blob: Path, folder: Path) -> None:
    """Let a place in the model's folder be the file: a link, or where links cannot be made a copy."""
    target = folder / file.place
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{target.name}.part")
        beside.unlink(missing_ok=True)
        try:
            # Relative, so that the Hub's cache and these folders can be moved together.
            beside.symlink_to(os.path.relpath(blob, target.parent.resolve()))
        except OSError:
            shutil.copyfile(blob, beside)
        os.replace(beside, target)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Within it, a folder that cannot be written is told as such."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}). Choose another HF_HOME.") from error


class Counter:
    """Adds up bytes and tells their sum."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.done = 0
        self._total = total
        self._progress = progress

    def __call__(self, count: int) -> None:
        self.done += count
        self._progress.received(self.done, max(self._total, self.done))
