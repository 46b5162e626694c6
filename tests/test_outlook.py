"""What is told about the time before there is a frame."""

from __future__ import annotations

import pytest

from emo_cli.cli.report import Report
from emo_cli.outlook import Outlook


def test_the_time_left_follows_from_the_steps_after_the_first() -> None:
    moments = iter([10.0, 12.0, 14.0, 19.0])
    outlook = Outlook(steps=3, segments=4, clock=lambda: next(moments))
    assert [outlook.step() for _ in range(4)] == [None, 20.0, 18.0, 24.0]


def test_after_the_last_step_nothing_is_left() -> None:
    outlook = Outlook(steps=1, segments=2, clock=lambda: 1.0)
    assert [outlook.step() for _ in range(3)] == [None, 0.0, 0.0]


def test_in_a_pipe_the_first_estimate_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with Report() as report:
        report.outlook(400.0)
        report.outlook(399.0)
    assert capsys.readouterr().err == "about 6 min left\n"
