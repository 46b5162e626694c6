"""`emo`: the commands, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import warnings
from itertools import pairwise
from types import FrameType
from typing import Annotated

import typer

from emo_cli import __version__
from emo_cli.cli import animate, batch, bench, doctor, evaluate, inspect, train
from emo_cli.cli.dataset import dataset
from emo_cli.cli.weights import weights
from emo_cli.errors import EmoError

ABOUT = """Examples:

[bold]emo animate photo.jpg song.wav[/bold]  makes photo-song.mp4

[bold]emo inspect photo.jpg song.wav[/bold]  which faces are found, what the sound holds, how long it would take

[bold]espeak-ng --stdout hello | emo animate photo.jpg - -o - | mpv -[/bold]  from a pipe, into a pipe

Exit codes: 0 done, 2 usage, 3 photo or sound unreadable, 4 no face, 5 weights, 6 device or memory, 7 output, \
8 some jobs of a batch failed, 9 bad result of the model, 130 Ctrl-C, 143 SIGTERM, 1 a bug of ours.

Environment: most options have a variable that sets their default (EMO_MODEL, EMO_DEVICE, ...; each --help names \
them); NO_COLOR turns colours off; EMO_DEBUG=1 shows where a bug happened. The manual is docs/command-line.md."""

app = typer.Typer(
    name="emo",
    epilog=ABOUT,
    help="Make a portrait speak or sing: a photo and a sound in, a video out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=animate.EXAMPLES)(animate.animate)
app.command(epilog=batch.EXAMPLES)(batch.batch)
app.command(epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(epilog=bench.EXAMPLES)(bench.bench)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
app.command(epilog=train.EXAMPLES)(train.train)
app.add_typer(weights)
app.add_typer(dataset)


class Stopped(BaseException):
    """A signal asked the command to stop; not an Exception, so that nothing on the way swallows it."""


class Stops:
    """Hears the signals that ask the command to stop. asked: the number of the last one, None before the first."""

    def __init__(self) -> None:
        self.asked: int | None = None

    def hear(self) -> None:
        """From now on, Ctrl-C and SIGTERM raise Stopped in whatever the first thread is doing."""
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        raise Stopped(number)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emo {__version__}")
        raise typer.Exit()


@app.callback()
def emo(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Make a portrait speak or sing: a photo and a sound in, a video out."""


def main() -> None:
    """Run the command that the arguments name, and leave with its exit code (see docs/development.md)."""
    stops = Stops()
    stops.hear()
    if not os.environ.get("EMO_DEBUG"):
        warnings.simplefilter("ignore")  # libraries talk to programmers; ours to users is Report.warn
    try:
        app(prog_name="emo")
    except (Stopped, Exception) as error:
        sys.exit(_ended(error, stops.asked))


def _ended(error: BaseException, asked: int | None) -> int:
    """Tell why a command ended, and give its exit code. asked: the signal that had asked it to stop, if any did.

    After a stop any error is that stop: compiled libraries turn what is raised inside them into errors of their own.
    """
    if asked is not None:
        return _failed("Stopped; no half-made file is left.", 128 + asked, "Stopped")
    if isinstance(error, EmoError):
        return _failed(str(error), error.exit_code, type(error).__name__)
    if os.environ.get("EMO_DEBUG"):
        raise error
    return _failed(_bug(error), 1, "Bug")


def _bug(error: BaseException) -> str:
    return (
        f"This is a bug of ours: {type(error).__name__}: {error}. "
        "Please report it with what `emo doctor` prints; EMO_DEBUG=1 shows where it happened."
    )


def _failed(sentence: str, code: int, kind: str) -> int:
    """Tell of a failure: a sentence on stderr, and with --json the one object that programs wait for."""
    with contextlib.suppress(BrokenPipeError):
        print(f"emo: {sentence}", file=sys.stderr, flush=True)
        if "--json" in sys.argv[1:]:
            record = json.dumps({"error": sentence, "kind": kind, "exit_code": code}, ensure_ascii=False)
            print(record, file=sys.stderr if stdout_taken() else sys.stdout, flush=True)
    return code


def stdout_taken() -> bool:
    """Whether the command line sends the video itself to standard output."""
    words = sys.argv[1:]
    return any(word in ("-o-", "--output=-") for word in words) or any(
        option in ("-o", "--output") and value == "-" for option, value in pairwise(words)
    )
