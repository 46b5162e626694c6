"""A whole batch: find out how many shall work, have all jobs done, write the reports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from emo_cli import device as devices
from emo_cli.batch import crew
from emo_cli.batch.jobs import Job
from emo_cli.batch.ledger import Ledger, Record, first_record
from emo_cli.batch.maker import Hear, Orders
from emo_cli.batch.report import write_reports
from emo_cli.errors import UsageError

Executor = Literal["local", "ray"]


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is run.

    folder: where videos, reports and the memory of what is done go. workers: a number, or auto for one per graphics
    card. max_failures: failed jobs after which no more are begun. report: ending of the reports' names, for the parts
    of a batch that share a folder. address: of a Ray cluster.
    """

    folder: Path
    workers: str = "auto"
    device: str = "auto"
    retry: int = 0
    max_failures: int | None = None
    fresh: bool = False
    executor: Executor = "local"
    address: str | None = None
    report: str = ""


@dataclass(frozen=True)
class Batch:
    """The end of a batch: a record per job, in the jobs' order, the time it took, and where its report is."""

    records: tuple[Record, ...]
    seconds: float
    report: Path

    def count(self, status: str) -> int:
        """How many jobs ended so."""
        return sum(record.status == status for record in self.records)


class Progress(Hear, Protocol):
    """What a caller may want to hear while a batch is being made."""

    def ended(self, record: Record) -> None:
        """One more job has ended."""


def run(jobs: Sequence[Job], options: BatchOptions, progress: Progress) -> Batch:
    """Make all videos of a batch. A job that fails is recorded, and the others go on; nothing of it is raised.

    Raises UsageError, OutputError for the batch's folder. However it ends, the reports tell what was done.
    """
    began = time.perf_counter()
    ledger = Ledger(options.folder)
    orders = Orders(options.folder, options.retry, options.fresh, ledger.now())
    work = crew.Round(jobs, orders, options.max_failures, progress.ended)

    def summed() -> Batch:
        records = tuple(work.records.get(job.number) or first_record(job, "left") for job in jobs)
        return Batch(records, time.perf_counter() - began, options.folder / f"report{options.report}.html")

    try:
        _work(work, orders, options, progress)
    finally:
        batch = summed()
        write_reports(batch.report, batch.records, batch.seconds)
    return batch


def _work(work: crew.Round, orders: Orders, options: BatchOptions, progress: Progress) -> None:
    number = _number(options.workers)
    if options.executor == "ray":
        from emo_cli.batch.on_ray import on_cluster

        on_cluster(work, orders, progress, options.address, number, options.device)
        return
    places = _places(number, options.device)
    if len(places) == 1:
        crew.alone(work, orders, progress, places[0])
    else:
        crew.together(work, orders, progress, places)


def _number(workers: str) -> int | None:
    if workers == "auto":
        return None
    if not workers.isdecimal() or int(workers) < 1:
        raise UsageError(f"--workers {workers} is not understood; give a number from 1, or auto.")
    return int(workers)


def _places(number: int | None, device: str) -> list[str]:
    """A device for each worker: the graphics cards in turn, if the user leaves it open."""
    cards = devices.cards(device)
    if not cards:
        there = str(devices.choose(device).device) if device == "auto" else device
        return [there] * (number or 1)
    return [cards[index % len(cards)] for index in range(number or len(cards))]
