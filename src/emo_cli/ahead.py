"""Make the next piece of a stream while the last one is being used: one thread, a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 0.1  # seconds between two looks at whether anybody still listens


@dataclass(frozen=True)
class _Failure:
    problem: BaseException


class _End:
    """Nothing more comes."""


def ahead(source: Iterator[T], depth: int = 1) -> Iterator[T]:
    """The items of `source` in order, at most `depth` of them made before they are asked for.

    What `source` raises is raised here. When the reader stops early, the thread ends before its next item.
    """
    line: queue.Queue[T | _Failure | type[_End]] = queue.Queue(depth)
    closed = threading.Event()
    worker = threading.Thread(target=_fill, args=(source, line, closed), name="emo-ahead", daemon=True)
    worker.start()
    try:
        while True:
            item = line.get()
            if item is _End:
                return
            if isinstance(item, _Failure):
                raise item.problem
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        worker.join()


def _fill(source: Iterator[T], line: queue.Queue[T | _Failure | type[_End]], closed: threading.Event) -> None:
    try:
        for item in source:
            if not _put(line, item, closed):
                return
        _put(line, _End, closed)
    except BaseException as problem:  # whatever it is belongs to the reader
        _put(line, _Failure(problem), closed)


def _put(
    line: queue.Queue[T | _Failure | type[_End]], item: T | _Failure | type[_End], closed: threading.Event
) -> bool:
    while not closed.is_set():
        try:
            line.put(item, timeout=PATIENCE)
            return True
        except queue.Full:
            continue
    return False
