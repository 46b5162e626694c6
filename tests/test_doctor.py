"""`emo doctor` tells what a maintainer would ask for, and never fails for what it finds."""

from __future__ import annotations

from emo_cli import __version__, doctor
from emo_cli.doctor import Finding, Health


def test_all_parts_are_looked_at() -> None:
    found = {finding.name: finding for finding in doctor.examine().findings}
    assert found["emo"].value == __version__
    assert found["torch"].value.startswith("2.")
    assert "CPU" in found["device cpu"].value
    assert "libx264" in found["encoders"].value and "aac" in found["encoders"].value
    assert {"python", "ffmpeg", "model mini", "cached weights"} <= set(found)


def test_a_problem_always_has_a_next_step_and_an_exit_code() -> None:
    for finding in doctor.examine().findings:
        assert (finding.problem is None) == (finding.exit_code == 0)


def test_the_first_problem_decides_the_exit_code() -> None:
    well = Finding("a", "b")
    assert Health((well,)).exit_code == 0
    assert Health((well, Finding("c", "d", "Mend it.", 7), Finding("e", "f", "Also.", 5))).exit_code == 7
