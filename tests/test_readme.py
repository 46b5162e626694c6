"""What the README promises is what CI runs, and what the package has."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from emo_cli import __version__

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = ROOT / ".ci" / "run"
TRY = "pip install . && emo animate examples/portrait.jpg examples/song.wav"
TEST = "pip install '.[dev]' && pytest"


def _commands() -> list[str]:
    """Every line of the README's shell blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return [line.split("  #")[0].split(" # ")[0].strip() for block in blocks for line in block.splitlines()]


def test_two_commands_install_try_and_test_it() -> None:
    assert [command for command in _commands() if command.startswith("pip")] == [TRY, TEST]


def test_ci_runs_the_readme_s_commands_as_they_stand_there(tmp_path: Path) -> None:
    """Run .ci/run with stand-ins for every program that write down how they were called."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    log, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    for name in ("python3", "pip", "emo", "pytest", "ruff", "mypy", "chromium"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> "{log}"\n{_effect(name)}')
        program.chmod(0o755)
    copy = tmp_path / "project"
    (copy / ".ci").mkdir(parents=True)
    shutil.copy(CI, copy / ".ci" / "run")
    shutil.copy(ROOT / "README.md", copy)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", copy / ".ci" / "run"], check=True, env=os.environ | {"PATH": path}, timeout=60)
    called = [call.strip() for call in log.read_text().splitlines()]
    expected = [" ".join(shlex.split(call)) for command in (TRY, TEST) for call in command.split(" && ")]
    assert [call for call in called if call in expected] == expected
    assert called[0].startswith("python3 -m venv ")
    assert called[-2:] == ["ruff check .", "mypy"]


def _effect(name: str) -> str:
    """What a stand-in leaves behind, where the script goes on from it."""
    if name == "python3":
        return 'mkdir -p "$3/bin" && : > "$3/bin/activate"\n'
    return "echo video > portrait-song.mp4\n" if name == "emo" else ""


def test_ci_can_be_run_as_it_lies_there() -> None:
    assert CI.stat().st_mode & stat.S_IXUSR
    assert CI.read_text().startswith("#!/usr/bin/env bash\n")


@pytest.mark.parametrize("command", [line for line in _commands() if line.startswith("emo ")])
def test_every_option_in_the_readme_exists(command: str) -> None:
    from emo_cli.cli import animate, batch, inspect

    words = shlex.split(command)
    known = {name for function in (animate.animate, batch.batch, inspect.inspect) for name in function.__annotations__}
    options = {word.removeprefix("--") for word in words if word.startswith("--")}
    assert words[1] in ("animate", "batch", "inspect", "doctor", "weights", "evaluate", "dataset", "train")
    assert options <= known


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("http")]
    missing = [target for target in targets if not (ROOT / page).parent.joinpath(target.split("#")[0]).exists()]
    assert missing == []


def test_the_examples_are_there_with_their_sources() -> None:
    sources = (ROOT / "examples" / "SOURCES.md").read_text(encoding="utf-8")
    for example in ("portrait.jpg", "song.wav"):
        assert (ROOT / "examples" / example).stat().st_size > 10_000
        assert f"`{example}`" in sources


def test_the_version_is_said_once() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert __version__ not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
