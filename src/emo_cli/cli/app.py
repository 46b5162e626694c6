"""`emo`: the commands, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from types import FrameType
from typing import Annotated

import typer

from emo_cli import __version__
from emo_cli.cli.animate import EXAMPLES, animate
from emo_cli.cli.doctor import doctor
from emo_cli.cli.inspect import inspect
from emo_cli.cli.train import train
from emo_cli.cli.weights import weights
from emo_cli.errors import EmoError

app = typer.Typer(
    name="emo",
    help="Make a portrait speak or sing: a photo and a sound in, a video out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=EXAMPLES)(animate)
app.command()(inspect)
app.command()(doctor)
app.command()(train)
app.add_typer(weights)


class Stopped(BaseException):
    """A signal asked the command to stop; not an Exception, so that nothing on the way swallows it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def _stop(number: int, frame: FrameType | None) -> None:
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
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    if not os.environ.get("EMO_DEBUG"):
        warnings.simplefilter("ignore")  # libraries talk to programmers; ours to users is Report.warn
    try:
        app(prog_name="emo")
    except EmoError as error:
        sys.exit(_failed(str(error), error.exit_code, type(error).__name__))
    except Stopped as stop:
        sys.exit(_failed("Stopped; no half-made file is left.", 128 + stop.number, "Stopped"))
    except Exception as error:
        if os.environ.get("EMO_DEBUG"):
            raise
        sys.exit(_failed(_bug(error), 1, "Bug"))


def _bug(error: Exception) -> str:
    return (
        f"This is a bug of ours: {type(error).__name__}: {error}. "
        "Please report it with what `emo doctor` prints; EMO_DEBUG=1 shows where it happened."
    )


def _failed(sentence: str, code: int, kind: str) -> int:
    """Tell of a failure: a sentence on stderr, and with --json the one object that programs wait for."""
    print(f"emo: {sentence}", file=sys.stderr)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"error": sentence, "kind": kind, "exit_code": code}, ensure_ascii=False))
    return code
