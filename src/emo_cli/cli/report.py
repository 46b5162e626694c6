"""The one printer: progress and warnings on stderr, the result on stdout, for people or for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, is_dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from typer import Exit

from emo_cli.catalogue import readable

if TYPE_CHECKING:
    from rich.progress import Progress

PAUSE = 5.0  # seconds between two lines about the same work where there is no terminal


class Report:
    """Tells how the work goes: a live line on a terminal, plain lines in a pipe, nothing when quiet.

    stdout_taken: the work itself goes to standard output, so that its result must be told on stderr.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False, stdout_taken: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self.stdout_taken = stdout_taken
        self._heard = True
        self._live = _live_line() if sys.stderr.isatty() and not quiet else None
        self._task = self._live.add_task("starting", total=None, unit="") if self._live else None
        self._began = self._spoke = time.perf_counter()
        self._done, self._total, self._step, self._left = 0, 0, "", ""
        self._earlier: int | None = None  # bytes that had come before the present stage

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        if isinstance(error, BrokenPipeError):  # who reads our output has had enough, as `head` does: no failure
            forget_stdout()
            raise Exit(0)

    def stage(self, name: str) -> None:
        """A new part of the work begins."""
        self._began = self._spoke = time.perf_counter()
        self._earlier = None
        if self._live and self._task is not None:
            self._live.reset(self._task, description=name, total=None, unit="")
        else:
            self.line(name)

    def step(self, done: int, total: int) -> None:
        """One more denoising step of the present frames is finished."""
        self._step = f"step {done} of {total}"
        if self._live and self._task is not None:
            self._live.update(self._task, description=f"making frames, {self._step}{self._left}")
        else:
            self._now_and_then()

    def outlook(self, seconds: float) -> None:
        """Before the first frame: about how long all of them take."""
        unknown, self._left = not self._left, f", about {_time(round(seconds))} left"
        if unknown and not self._live:
            self.line(self._left.removeprefix(", "))

    def frame(self, done: int, total: int) -> None:
        """One more frame is finished."""
        self._done, self._total, self._left = done, total, ""
        if self._live and self._task is not None:
            self._live.update(self._task, completed=done, total=total, unit="frames")
        else:
            self._now_and_then()

    def received(self, done: int, total: int) -> None:
        """So many bytes of all that are to come have arrived, or have been read again."""
        if self._earlier is None:
            self._earlier = done
            if self._live and self._task is not None:  # what came before must not count into the speed
                self._live.reset(self._task, completed=done, total=total, unit="bytes")
        if self._live and self._task is not None:
            self._live.update(self._task, completed=done, total=total)
            return
        now = time.perf_counter()
        if now - self._spoke >= PAUSE:
            self._spoke = now
            speed = (done - self._earlier) / (now - self._began)
            left = f", {_time(round((total - done) / speed))} left" if speed > 0 else ""
            self.line(f"{readable(done)} of {readable(total)}, {readable(speed)}/s{left}")

    def share(self, description: str, done: float, total: float) -> None:
        """So much of a work of many parts is done; the description tells it in words."""
        if self._live and self._task is not None:
            self._live.update(self._task, description=description, completed=done, total=total, unit="")
            return
        now = time.perf_counter()
        if now - self._spoke >= PAUSE and done:
            self._spoke = now
            left = (now - self._began) * (total - done) / done
            self.line(f"{description}, about {_time(round(left))} left")

    def _now_and_then(self) -> None:
        """Where there is no terminal: one line about frames, if the last one is long enough ago."""
        now = time.perf_counter()
        if now - self._spoke < PAUSE:
            return
        self._spoke = now
        if not self._done:
            self.line(f"first frames, {self._step}{self._left}")
            return
        speed = self._done / (now - self._began)
        left = (self._total - self._done) / speed
        self.line(f"frame {self._done} of {self._total}, {speed:.1f} frames/s, {left:.0f} s left")

    def warn(self, sentence: str) -> None:
        """Something is not as the user asked, or looks doubtful."""
        self.line(f"warning: {sentence}")

    def ask(self, question: str) -> bool:
        """A yes or a no from the person at the keyboard; no where there is none."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        from typer import confirm

        if self._live:
            self._live.stop()
        answer = confirm(question, err=True)
        if self._live:
            self._live.start()
        return answer

    def line(self, text: str) -> None:
        """One line for a person, beside the result."""
        if self.quiet or not self._heard:
            return
        if self._live:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            try:
                print(text, file=sys.stderr, flush=True)
            except BrokenPipeError:  # nobody listens any more, but the work is still wanted
                self._heard = False

    def result(self, record: Any, text: str) -> None:
        """The end of a command: a record (a dataclass) for programs, or its text for people."""
        if self._live:
            self._live.stop()
        place = sys.stderr if self.stdout_taken else sys.stdout
        if self.as_json:
            plain = asdict(record) if is_dataclass(record) and not isinstance(record, type) else record
            print(json.dumps(plain, ensure_ascii=False, default=str), file=place, flush=True)
        elif not self.quiet:
            print(text, file=place, flush=True)


def forget_stdout() -> None:
    """Send what Python still holds for a closed pipe nowhere: it would be an error when the program ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _time(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def _live_line() -> Progress:
    """A line that renews itself: stage, bar, frames or bytes, speed, time left. It vanishes when the work is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            if not task.total or not task.fields["unit"]:
                return Text("")
            if task.fields["unit"] == "bytes":
                return Text(f"{readable(task.completed)} of {readable(task.total)}")
            return Text(f"{task.completed:.0f}/{task.total:.0f} frames")

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            if task.fields["unit"] == "bytes":
                return Text(f"{readable(task.speed)}/s" if task.speed else "")
            return Text(f"{task.speed:.1f} frames/s" if task.speed and task.fields["unit"] else "")

    class Left(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            return Text("") if task.total is None else super().render(task)

    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), Count(), Speed(), Left(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
