"""`emo` among other programs: pipes in and out, signals, terminals, the environment, completion."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from typer.main import get_command

from emo_cli import footage
from emo_cli.cli import app
from emo_cli.pipes import reader_is_gone
from emo_process import EMO, begin, emo, start, surroundings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, signals and terminals of POSIX")

EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTO, SONG = EXAMPLES / "portrait.jpg", EXAMPLES / "song.wav"
SHORT = ["--duration", "0.3", "--size", "128", "--seed", "7"]


@pytest.fixture
def animate(model: Path) -> list[str]:
    """The beginning of a command that needs no more than photo and sound."""
    return ["animate", "--model", str(model)]


def run(
    words: Sequence[str | Path], feed: bytes = b"", folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """The command between two pipes."""
    with tempfile.TemporaryFile() as fed, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        fed.write(feed)
        fed.seek(0)
        with (
            subprocess.Popen(["cat"], stdin=fed, stdout=subprocess.PIPE) as before,
            subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out) as behind,
        ):
            assert before.stdout is not None and behind.stdin is not None
            running = start(words, (before.stdout, behind.stdin, err), folder, surroundings(**variables))
            before.stdout.close()
            behind.stdin.close()
            code = running.wait(120)
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def on_terminal(words: Sequence[str | Path], **variables: str) -> tuple[int, str]:
    """Exit code and everything shown, with a terminal in the place of all three streams."""
    import pty

    ours, theirs = pty.openpty()
    running = start(words, (theirs, theirs, theirs), environment=surroundings(**variables))
    os.close(theirs)
    shown = bytearray()
    with contextlib.suppress(OSError):  # how a terminal says on Linux that its last user has gone
        while data := os.read(ours, 65536):
            shown.extend(data)
    os.close(ours)
    return running.wait(60), shown.decode()


def test_a_voice_comes_from_a_pipe_and_the_video_goes_into_one(animate: list[str], tmp_path: Path) -> None:
    speak = ["espeak-ng", "--stdout", "hello"] if shutil.which("espeak-ng") else ["cat", str(SONG)]
    with subprocess.Popen(speak, stdout=subprocess.PIPE) as voice:
        command = [*EMO, *animate, str(PHOTO), "-", "-o", "-", "--size", "128", "--duration", "0.4"]
        with (tmp_path / "heard.mp4").open("wb") as end:
            made = subprocess.Popen(
                command, stdin=voice.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=surroundings()
            )
            subprocess.run(["cat"], stdin=made.stdout, stdout=end, timeout=120, check=True)
        told = made.communicate()[1].decode()
    assert made.returncode == 0, told
    assert "standard output: 0.40 s of video (10 frames)" in told
    probed = footage.probe(tmp_path / "heard.mp4")
    assert (probed.frames, probed.width) == (10, 128)
    assert probed.sound_seconds == pytest.approx(0.4, abs=0.03)


def test_a_photo_comes_from_a_pipe(animate: list[str], tmp_path: Path) -> None:
    done = run([*animate, "-", SONG, *SHORT, "-q"], PHOTO.read_bytes(), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["stdin-song.mp4"]


def test_beside_a_video_on_stdout_json_is_told_on_stderr(animate: list[str], tmp_path: Path) -> None:
    done = run([*animate, PHOTO, SONG, *SHORT, "-q", "--json", "-o", "-"])
    told = json.loads(done.stderr)
    assert (told["file"], told["frames"], told["seed"]) == ("-", 8, 7)
    (tmp_path / "out.mp4").write_bytes(done.stdout)
    assert footage.probe(tmp_path / "out.mp4").frames == 8


def test_beside_a_video_on_stdout_a_failure_is_told_on_stderr() -> None:
    done = run(["animate", PHOTO, SONG, "--model", "huge", "-q", "--json", "-o", "-"])
    sentence, record = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (5, b"")
    assert sentence == f"emo: {json.loads(record)['error']}"


@pytest.mark.parametrize("words", ["-o -", "-o-", "--output -", "--output=-"])
def test_every_way_to_say_standard_output_is_understood(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["emo", "animate", *words.split(), "-q"])
    assert app.stdout_taken()
    monkeypatch.setattr(sys, "argv", ["emo", "animate", "-", "x.wav", "-o", "-.mp4"])
    assert not app.stdout_taken()


def test_photo_and_sound_cannot_come_from_the_same_pipe(animate: list[str]) -> None:
    done = run([*animate, "-", "-", "-q"], b"x")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"cannot both come from standard input" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [((PHOTO, "-", "-o", "x.mp4"), 3, b"is empty"), (("-", SONG, "-o", "x.mp4"), 3, b"photo stdin is empty")],
)
def test_an_empty_pipe_is_an_input_that_cannot_be_read(
    animate: list[str], tmp_path: Path, words: Sequence[str | Path], code: int, sentence: bytes
) -> None:
    done = run([*animate, *words, "-q"], b"", tmp_path)
    assert done.returncode == code
    assert sentence in done.stderr and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"), [((PHOTO, "-"), "Nothing comes in"), ((PHOTO, SONG, "-o", "-"), "A video is nothing")]
)
def test_a_terminal_neither_gives_a_sound_nor_takes_a_video(
    animate: list[str], words: Sequence[str | Path], sentence: str
) -> None:
    code, shown = on_terminal([*animate, *words, "-q"])
    assert code == 2
    assert sentence in shown


def test_a_reader_who_has_had_enough_is_no_failure(animate: list[str]) -> None:
    read, write = os.pipe()
    with tempfile.TemporaryFile() as err, open(os.devnull) as nothing:
        words = [*animate, PHOTO, SONG, "-o", "-", "--fps", "100", "--size", "128", "-q"]
        running = start(words, (nothing, write, err))
        os.close(write)
        with os.fdopen(read, "rb") as some:
            assert len(some.read(5000)) == 5000
        assert running.wait(60) == 0
        assert err.tell() == 0


def unheard(words: Sequence[str | Path], number: int) -> tuple[int, str]:
    """Exit code, and what comes out of one stream, when nobody listens to the other. number: 1 for stdout, 2 stderr."""
    read, write = os.pipe()
    os.close(read)
    with tempfile.TemporaryFile() as heard, open(os.devnull) as nothing:
        running = start(words, (nothing, write, heard) if number == 1 else (nothing, heard, write))
        os.close(write)
        code = running.wait(120)
        heard.seek(0)
        return code, heard.read().decode()


def test_who_reads_no_result_does_not_make_it_fail(animate: list[str], tmp_path: Path) -> None:
    code, told = unheard([*animate, PHOTO, SONG, *SHORT, "-o", tmp_path / "x.mp4"], 1)
    assert code == 0
    assert "making frames" in told and "Broken" not in told and "Traceback" not in told
    assert (tmp_path / "x.mp4").is_file()


def test_without_anyone_to_hear_the_messages_the_work_goes_on(animate: list[str], tmp_path: Path) -> None:
    code, told = unheard([*animate, PHOTO, SONG, *SHORT, "-o", tmp_path / "x.mp4"], 2)
    assert code == 0
    assert told.startswith(str(tmp_path))
    assert (tmp_path / "x.mp4").is_file()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_leaves_nothing(
    model: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    running = begin("animate", "--model", model, PHOTO, SONG, "--fps", "100", "-q", folder=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)  # until ffmpeg has begun its file
    assert list(tmp_path.iterdir()), "no partial file ever appeared"
    running.send(number)
    said = running.end(60)
    assert (said.code, said.err) == (code, "emo: Stopped; no half-made file is left.\n")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_sets_defaults_and_the_command_line_wins(model: Path, tmp_path: Path) -> None:
    words = ["animate", PHOTO, SONG, "--duration", "0.2", "--json"]
    settings = {"EMO_MODEL": str(model), "EMO_SEED": "5", "EMO_SIZE": "128", "EMO_QUIET": "1", "EMO_FPS": "50"}
    said = emo(*words, "--fps", "25", folder=tmp_path, environment=surroundings(**settings))
    assert said.err == ""
    told = json.loads(said.out)
    assert (told["model"], told["seed"], told["fps"]) == ("tiny", 5, 25)


def test_every_variable_that_sets_a_default_stands_in_the_manual() -> None:
    def variables(command: click.Command) -> Iterator[str]:
        yield from (name for option in command.params if (name := option.envvar) and isinstance(name, str))
        for part in getattr(command, "commands", {}).values():
            yield from variables(part)

    manual = "".join(page.read_text(encoding="utf-8") for page in (EXAMPLES.parent / "docs").glob("*.md"))
    known = set(variables(get_command(app.app)))
    assert len(known) > 20
    assert sorted(name for name in known if f"`{name}`" not in manual) == []


def test_a_wrong_word_in_the_environment_is_a_usage_error_that_names_the_variable() -> None:
    said = emo("animate", PHOTO, SONG, environment=surroundings(EMO_FRAMING="legs"))
    assert said.code == 2
    assert "EMO_FRAMING" in said.err


def test_no_color_turns_colours_off() -> None:
    words = ["animate", "--help"]
    colourful, plain = (on_terminal(words, TERM="xterm-256color", NO_COLOR=wish) for wish in ("", "1"))
    assert colourful[0] == plain[0] == 0
    assert "\x1b[3" in colourful[1] or "\x1b[1;3" in colourful[1]
    assert "\x1b[3" not in plain[1] and "\x1b[1;3" not in plain[1]


@pytest.mark.parametrize(
    ("line", "offered"),
    [("emo anim", ["animate"]), ("emo animate --fram", ["--framing"]), ("emo animate --framing f", ["face", "full"]),
     ("emo animate --model mi", ["mini"])],
)  # fmt: skip
def test_the_shell_completes_commands_options_and_their_values(line: str, offered: list[str], tmp_path: Path) -> None:
    words = {"_EMO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    assert run([], folder=tmp_path, **words).stdout.decode().split() == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_completion_once_installed_is_there_in_every_new_bash(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = tmp_path / "emo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m emo_cli "$@"\n')
    program.chmod(0o755)
    settings = surroundings(HOME=str(home), PATH=f"{tmp_path}:{os.environ['PATH']}")

    def bash(line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["bash", "-c", line], capture_output=True, env=settings, timeout=120)

    # The command asks which shell it was called from; the second line keeps bash from handing its place over.
    shown, done = (bash(f"emo --{wish}-completion bash\nexit $?") for wish in ("show", "install"))
    assert (shown.returncode, done.returncode) == (0, 0)
    assert b"complete" in shown.stdout
    words = 'COMP_WORDS=(emo batch --pair z); COMP_CWORD=3; _emo_completion emo; echo "${COMPREPLY[@]}"'
    assert bash(f"source ~/.bashrc; {words}").stdout == b"zip\n"
    assert {path.relative_to(home).parts[0] for path in home.rglob("*")} == {".bashrc", ".bash_completions"}


@pytest.mark.parametrize("command", [[], ["animate"], ["inspect"], ["doctor"], ["train"], ["weights"]], ids=str)
def test_every_command_s_help_shows_examples(command: list[str]) -> None:
    shown = emo(*command, "--help").out
    assert "Examples:" in shown
    assert f"emo {' '.join(command)}".strip() in shown.split("Examples:")[1]


def test_every_command_and_every_part_of_one_has_examples_of_itself() -> None:
    def lacking(command: click.Command, *path: str) -> Iterator[str]:
        words = " ".join(("emo", *path))
        if words not in str(command.epilog).partition("Examples:")[2]:
            yield words
        for name, part in getattr(command, "commands", {}).items():
            yield from lacking(part, *path, name)

    assert list(lacking(get_command(app.app))) == []


def test_a_pipe_knows_whether_anybody_reads_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as pipe:
        assert not reader_is_gone(pipe)
        os.close(read)
        assert reader_is_gone(pipe)
    with (tmp_path / "file").open("wb") as file:
        assert not reader_is_gone(file)
