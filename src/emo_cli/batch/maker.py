"""One who makes videos, job after job, with a model that stays loaded: claims, skips what is finished, tries again."""

from __future__ import annotations

import base64
import io
import os
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from PIL import Image

from emo_cli import __version__, footage, video
from emo_cli.animate import Video, animate
from emo_cli.batch.claims import Claim, claim
from emo_cli.batch.jobs import Job
from emo_cli.batch.ledger import Ledger, Record, Wanted, first_record, wanted
from emo_cli.errors import EmoError, ModelError, OutputError
from emo_cli.loading.loaded import Loaded
from emo_cli.unfinished import discard

POSTER = 320  # longer side in pixels


@dataclass(frozen=True)
class Orders:
    """What all makers of a batch have in common.

    folder: the batch's; retry: how often a failed job is tried again; fresh: make all anew; since: when this run began,
    by the folder's clock.
    """

    folder: Path
    retry: int = 0
    fresh: bool = False
    since: float = 0.0


class Hear(Protocol):
    """What a caller may want to hear while a job is being done."""

    def frame(self, job: Job, done: int, total: int) -> None:
        """One more frame is finished."""

    def warn(self, job: Job, sentence: str) -> None:
        """Something is not as the user asked, or looks doubtful."""


class TakenOver(Exception):
    """Another process took this one for dead and does its job."""


class Maker:
    """Does jobs one after another. device: where, for jobs that leave it open."""

    def __init__(self, orders: Orders, device: str = "auto") -> None:
        self._orders = orders
        self._device = device
        self._ledger = Ledger(orders.folder)
        self._loaded = Loaded()

    def make(self, job: Job, hear: Hear) -> Record | None:
        """What became of a job; None while another process has it. A failure is a record too, never raised."""
        key = job.key(self._orders.folder)
        claimed = claim(self._ledger.claims, key)
        if claimed is None:
            return None
        with claimed:
            began = time.perf_counter()
            try:
                record = self._made(job, key, _Progress(job, hear, claimed))
            except TakenOver:
                return None
            if record.status != "skipped":
                record = replace(record, took=round(time.perf_counter() - began, 3))
            return record

    def _made(self, job: Job, key: str, progress: _Progress) -> Record:
        if job.options.device == "auto":
            job = replace(job, options=replace(job.options, device=self._device))
        tries = 0
        while True:
            tries += 1
            try:
                return replace(self._tried(job, key, progress), tries=tries)
            except TakenOver:
                raise
            except EmoError as error:
                failed = _failure(job, str(error), type(error).__name__, error.exit_code)
            except Exception as error:
                sentence = f"This is a bug of ours: {type(error).__name__}: {error}. Please report it."
                failed = _failure(job, sentence, "Bug", 1)
            if tries > self._orders.retry:
                failed = _with_earlier(replace(failed, tries=tries), self._ledger.read(key))
                self._ledger.write(key, failed)
                return failed
            progress.warn(f"{failed.error} Trying again.")

    def _tried(self, job: Job, key: str, progress: _Progress) -> Record:
        known, settled = self._ledger.read(key), self._ledger.is_newer(key, self._orders.since)
        if known is not None and settled and known.status == "failed":
            return replace(known, number=job.number)  # another process of this run has tried it
        wish = wanted(job.options, progress)
        wished = known is not None and known.made_from == wish.made_from and (settled or not self._orders.fresh)
        if known is not None and wished and _is_there(job, known):
            discard(_place(job, key, wish))
            return replace(known, number=job.number, status="skipped", error=None, kind=None, exit_code=0)
        _check(job, known, self._orders.fresh)
        return self._finished(job, key, wish, progress)

    def _finished(self, job: Job, key: str, wish: Wanted, progress: _Progress) -> Record:
        """Make the video in a folder of its own, then put it in its place."""
        place = _place(job, key, wish)
        for old in place.parent.glob(f".*.emo-{key[:10]}-*"):
            if old != place or self._orders.fresh:
                discard(old)
        place.mkdir(mode=0o700, exist_ok=True)
        whole = place / f"video{job.output.suffix}"
        options = replace(job.options, output=whole, overwrite=True, seed=wish.seed)
        try:
            made = animate(options, progress, self._loaded, place)
        except ModelError:
            discard(place)
            raise
        finally:
            _remove_if_empty(place)
        record = _success(job, wish, made)
        # First the record: whoever is killed between the two finds no video, and puts the pieces together again.
        self._ledger.write(key, record)
        if job.output.exists() and not (job.options.overwrite or self._orders.fresh):
            raise OutputError(f"{job.output} appeared during the work and was left alone; choose another name.")
        os.replace(whole, job.output)
        discard(place)
        return record


class _Progress:
    """Passes on what a job's owner wants to hear; stops the work when the job has another owner."""

    def __init__(self, job: Job, hear: Hear, claimed: Claim) -> None:
        self._job, self._hear, self._claim = job, hear, claimed

    def stage(self, name: str) -> None: ...

    def step(self, done: int, total: int) -> None:
        if self._claim.lost.is_set():
            raise TakenOver

    def frame(self, done: int, total: int) -> None:
        if self._claim.lost.is_set():
            raise TakenOver
        self._hear.frame(self._job, done, total)

    def outlook(self, seconds: float) -> None: ...

    def received(self, done: int, total: int) -> None: ...

    def warn(self, sentence: str) -> None:
        self._hear.warn(self._job, sentence)


def _place(job: Job, key: str, wish: Wanted) -> Path:
    """The folder for what is finished of a video; another version of emo would not go on with it."""
    mark = sha256(f"{wish.made_from} {wish.seed} {__version__}".encode()).hexdigest()[:10]
    return job.output.absolute().parent / f".{job.output.stem[:30]}.emo-{key[:10]}-{mark}"


def _check(job: Job, known: Record | None, fresh: bool) -> None:
    """Raises OutputError when the video could not be written, before the long work begins."""
    job.output.absolute().parent.mkdir(parents=True, exist_ok=True)
    if known is not None and job.output.exists() and not (job.options.overwrite or fresh):
        raise OutputError(f"{job.output} was made from other inputs or settings; add --overwrite to replace it.")
    video.check_output(job.output, overwrite=job.options.overwrite or fresh)


def _is_there(job: Job, known: Record) -> bool:
    return job.output.is_file() and job.output.stat().st_size == known.size


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _success(job: Job, wish: Wanted, made: Video) -> Record:
    return replace(
        first_record(job, "done"),
        made_from=wish.made_from,
        size=made.path.stat().st_size,
        frames=made.frames,
        seconds=made.seconds,
        fps=made.fps,
        model=made.model,
        seed=made.seed,
        warnings=made.warnings,
        poster=_poster(made.path),
    )


def _failure(job: Job, sentence: str, kind: str, code: int) -> Record:
    return replace(first_record(job, "failed"), error=sentence, kind=kind, exit_code=code)


def _with_earlier(failed: Record, known: Record | None) -> Record:
    """The failure, with what is known about the video that an earlier run has made."""
    if known is None:
        return failed
    kept = ("made_from", "size", "frames", "seconds", "fps", "model", "seed", "poster")
    return replace(failed, **{name: getattr(known, name) for name in kept})


def _poster(path: Path) -> str:
    """The first frame, small."""
    picture = Image.fromarray(next(footage.read(path)))
    picture.thumbnail((POSTER, POSTER))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode("ascii")
