"""What the one printer says, on a terminal, in a pipe, quietly, and to programs."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from emo_cli.cli import report as reports
from emo_cli.cli.report import Report


@dataclass(frozen=True)
class Result:
    """A small record of the kind that commands end with."""

    path: Path
    frames: int


RESULT = Result(Path("überall.mp4"), 3)


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def _work(report: Report) -> None:
    with report:
        report.stage("making frames")
        report.step(1, 2)
        for done in range(1, 4):
            report.frame(done, 3)
        report.warn("Something is odd.")
        report.result(RESULT, "all done")


def test_in_a_pipe_there_are_plain_lines_and_the_result_alone_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _work(Report())
    told = capsys.readouterr()
    assert told.out == "all done\n"
    assert told.err == "making frames\nwarning: Something is odd.\n"


def test_in_a_pipe_long_work_speaks_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(reports.time, "perf_counter", lambda: next(clock))
    report = Report()
    report.stage("making frames")
    report.step(1, 2)
    report.step(2, 2)
    for done in range(1, 6):
        report.frame(done, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "making frames",
        "first frames, step 2 of 2",
        "frame 2 of 10, 0.1 frames/s, 64 s left",
        "frame 4 of 10, 0.2 frames/s, 36 s left",
    ]


def test_in_a_pipe_a_long_fetch_tells_sizes_speed_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(reports.time, "perf_counter", lambda: next(clock))
    report = Report()
    report.stage("fetching net.pth")
    for done in range(1, 6):
        report.received(done * 10**9, 9 * 10**9)
    report.stage("fetching small.pth")  # what came before it does not count into its speed
    for done in (51, 52, 53):
        report.received(done * 10**8, 9 * 10**9)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fetching net.pth",
        "2.0 GB of 9.0 GB, 125 MB/s, 56 s left",
        "4.0 GB of 9.0 GB, 188 MB/s, 27 s left",
        "fetching small.pth",
        "5.2 GB of 9.0 GB, 12 MB/s, 5 min left",
    ]


def test_on_a_terminal_a_line_shows_how_much_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Report() as report:
        report.stage("fetching net.pth")
        report.received(10**9, 9 * 10**9)
        report.received(9 * 10**9, 9 * 10**9)
    assert "fetching net.pth" in screen.getvalue() and "9.0 GB of 9.0 GB" in screen.getvalue()
    assert "frames" not in screen.getvalue()


def test_where_there_is_no_keyboard_a_question_is_answered_with_no() -> None:
    assert Report().ask("Do you accept?") is False


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _work(Report(quiet=True))
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


def test_json_is_one_object_even_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    _work(Report(quiet=True, as_json=True))
    told = capsys.readouterr()
    assert json.loads(told.out) == {"path": "überall.mp4", "frames": 3}
    assert told.out.count("\n") == 1
    assert told.err == ""


def test_on_a_terminal_a_line_shows_stage_frames_and_speed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    _work(Report())
    shown = screen.getvalue()
    assert "making frames" in shown and "3/3 frames" in shown and "frames/s" in shown
    assert "\x1b[" in shown
    assert "warning: Something is odd." in shown
    assert capsys.readouterr().out == "all done\n"


def test_brackets_in_a_sentence_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Report() as report:
        report.warn("The file [bold].mp4 is odd.")
    assert "[bold].mp4" in screen.getvalue()
