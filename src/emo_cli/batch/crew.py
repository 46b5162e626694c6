"""Who works on a batch: this process alone, or one process for each graphics card; and the list of what is left."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from emo_cli import device, orphans
from emo_cli.batch.jobs import Job
from emo_cli.batch.ledger import Ledger, Record, first_record
from emo_cli.batch.maker import Hear, Maker, Orders

PAUSE = 1.0  # seconds until a job that another process has is looked at again


class Round:
    """The jobs of one run: which are waiting, and what became of the others.

    heard: called with each job's record. Stops handing out jobs after `most` failures.
    """

    def __init__(self, jobs: Sequence[Job], orders: Orders, most: int | None, heard: Callable[[Record], None]) -> None:
        self.records: dict[int, Record] = {}
        self._waiting = deque(jobs)
        self._elsewhere: deque[tuple[float, Job]] = deque()
        self._deaths: dict[int, int] = {}
        self._orders, self._most, self._heard = orders, most, heard

    @property
    def stopped(self) -> bool:
        """Whether too many jobs have failed."""
        failures = sum(record.status == "failed" for record in self.records.values())
        return self._most is not None and failures >= self._most

    @property
    def over(self) -> bool:
        """Whether nothing is left to hand out, now or later."""
        return self.stopped or not (self._waiting or self._elsewhere)

    def take(self) -> Job | None:
        """The next job, or None when there is none at this moment."""
        if self.stopped:
            return None
        if self._waiting:
            return self._waiting.popleft()
        if self._elsewhere and self._elsewhere[0][0] <= time.monotonic():
            return self._elsewhere.popleft()[1]
        return None

    def settle(self, job: Job, record: Record | None) -> None:
        """A job has come back; without a record another process has it, and it is asked for again later."""
        if record is None:
            self._elsewhere.append((time.monotonic() + PAUSE, job))
            return
        self.records[job.number] = record
        self._heard(record)

    def died(self, job: Job, how: str) -> None:
        """Whoever did a job is gone: it is tried again as often as any other failure."""
        deaths = self._deaths[job.number] = self._deaths.get(job.number, 0) + 1
        if deaths <= self._orders.retry:
            self._waiting.append(job)
            return
        sentence = f"The process that made it ended ({how}), perhaps for want of memory; try fewer --workers."
        record = replace(first_record(job, "failed"), error=sentence, kind="DeviceError", exit_code=6, tries=deaths)
        Ledger(self._orders.folder).write(job.key(self._orders.folder), record)
        self.settle(job, record)


def alone(work: Round, orders: Orders, hear: Hear, place: str) -> None:
    """Do all jobs in this process."""
    maker = Maker(orders, place)
    while not work.over:
        job = work.take()
        if job is None:
            time.sleep(PAUSE / 4)
            continue
        work.settle(job, maker.make(job, hear))


@dataclass
class _Member:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None


def together(work: Round, orders: Orders, hear: Hear, places: Sequence[str]) -> None:
    """Do all jobs in several processes, one for each of the places (a graphics card each, or cpu several times)."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, device.cores() // len(places)) if places[0] == "cpu" else None

    def hired(place: str) -> _Member:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, orders, place, threads), daemon=True)
        process.start()
        theirs.close()
        return _Member(process, ours)

    crew = {place_number: hired(place) for place_number, place in enumerate(places)}
    try:
        while not work.over or any(member.job for member in crew.values()):
            for member in crew.values():
                if member.job is None and (job := work.take()) is not None:
                    member.job = job
                    member.pipe.send(job)
            wait([member.pipe for member in crew.values()], timeout=PAUSE / 4)
            for number, member in crew.items():
                if not _heard_all(member, work, hear) and not work.over:
                    crew[number] = hired(places[number])
    finally:
        for member in crew.values():
            _dismiss(member)


def _heard_all(member: _Member, work: Round, hear: Hear) -> bool:
    """Take in what a member has to say; False when it is gone."""
    try:
        while member.pipe.poll():
            what, *said = member.pipe.recv()
            assert member.job is not None
            if what == "frame":
                hear.frame(member.job, *said)
            elif what == "warn":
                hear.warn(member.job, *said)
            elif what == "end":
                job, member.job = member.job, None
                work.settle(job, *said)
    except (EOFError, ConnectionResetError):
        member.process.join()
        if member.job is not None:
            job, member.job = member.job, None
            work.died(job, f"exit code {member.process.exitcode}")
        return False
    return True


def _dismiss(member: _Member) -> None:
    member.pipe.close()
    if member.job is not None:
        member.process.terminate()
    member.process.join(10)
    if member.process.is_alive():
        member.process.kill()
        member.process.join()


class _Sender:
    """A Hear whose listener is in another process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def frame(self, job: Job, done: int, total: int) -> None:
        if done % 8 == 0 or done == total:
            self._pipe.send(("frame", done, total))

    def warn(self, job: Job, sentence: str) -> None:
        self._pipe.send(("warn", sentence))


def _serve(pipe: Connection, orders: Orders, place: str, threads: int | None) -> None:
    """What a member does: jobs, until nobody gives it any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears Ctrl-C and ends this one
    signal.signal(signal.SIGTERM, _leave)
    orphans.end_with_parent()
    if threads is not None and not os.environ.get("OMP_NUM_THREADS"):
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
    with contextlib.suppress(EOFError, BrokenPipeError):
        maker, sender = Maker(orders, place), _Sender(pipe)
        while True:
            job = pipe.recv()
            pipe.send(("end", maker.make(job, sender)))


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)
