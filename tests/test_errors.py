"""Every kind of mistake has its own exit code, and tells what to do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from emo_cli import errors
from emo_cli.cli import app as command

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EmoError)
]


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Whatever main() does to signals is undone afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield monkeypatch
    for number, handler in kept.items():
        signal.signal(number, handler)


def _leave(patch: pytest.MonkeyPatch, problem: BaseException, *arguments: str) -> int:
    """The exit code of `emo` when the command raises `problem`."""

    def raising(**_: object) -> None:
        raise problem

    patch.setattr(sys, "argv", ["emo", *arguments])
    patch.setattr(command, "app", raising)
    with pytest.raises(SystemExit) as left:
        command.main()
    assert isinstance(left.value.code, int)
    return left.value.code


def test_exit_codes_are_those_of_the_documentation() -> None:
    codes = {kind.__name__: kind.exit_code for kind in KINDS}
    assert codes == {
        "EmoError": 1,
        "UsageError": 2,
        "InputError": 3,
        "FaceError": 4,
        "WeightsError": 5,
        "IncompatibleCheckpoint": 5,
        "DeviceError": 6,
        "OutputError": 7,
        "BatchError": 8,
        "ModelError": 9,
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_of_the_user_ends_in_its_sentence_and_its_code(
    kind: type[errors.EmoError], undisturbed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _leave(undisturbed, kind("Do this instead.")) == kind.exit_code
    told = capsys.readouterr()
    assert told.err == "emo: Do this instead.\n"
    assert told.out == ""


def test_with_json_a_failure_is_one_object_too(
    undisturbed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _leave(undisturbed, errors.InputError("No."), "animate", "--json") == 3
    assert json.loads(capsys.readouterr().out) == {"error": "No.", "kind": "InputError", "exit_code": 3}


def test_a_bug_of_ours_is_called_one_and_shows_no_traceback(
    undisturbed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed.delenv("EMO_DEBUG", raising=False)
    assert _leave(undisturbed, ZeroDivisionError("oh")) == 1
    told = capsys.readouterr().err
    assert "bug of ours" in told and "ZeroDivisionError: oh" in told and "EMO_DEBUG=1" in told
    assert "Traceback" not in told


def test_with_emo_debug_a_bug_shows_where_it_is(undisturbed: pytest.MonkeyPatch) -> None:
    undisturbed.setenv("EMO_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        undisturbed.setattr(sys, "argv", ["emo"])
        undisturbed.setattr(command, "app", lambda **_: 1 / 0)
        command.main()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_the_command_with_its_own_code(name: str, code: int) -> None:
    program = (
        "import os, signal, time\n"
        "from emo_cli.cli import app as command\n"
        f"def work(**_): os.kill(os.getpid(), signal.{name}); time.sleep(20)\n"
        "command.app = work\n"
        "command.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert done.stderr == "emo: Stopped; no half-made file is left.\n"


def test_a_stop_that_a_library_turns_into_its_own_error_is_still_a_stop() -> None:
    program = (
        "import os, signal\n"
        "from emo_cli.cli import app as command\n"
        "def work(**_):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    except BaseException: raise ValueError('could not determine the shape') from None\n"
        "command.app = work\n"
        "command.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == "emo: Stopped; no half-made file is left.\n"
