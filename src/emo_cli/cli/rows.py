"""A row of a batch's table, read as `emo animate` reads its command line: same options, same limits, same words."""

from __future__ import annotations

from typing import Any

import typer
from typer.main import get_command

from emo_cli.cli import animate
from emo_cli.errors import UsageError

ARGUMENTS = ("photo", "sound")
FLAGS = ("overwrite", "download")
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


def parse(words: dict[str, str]) -> dict[str, Any]:
    """{"motion": "0.5"} -> {"motion": 0.5}. Raises UsageError as the command would."""
    given = [*_options(words), "--", *(words.get(name, ".") for name in ARGUMENTS)]
    program = typer.Typer(add_completion=False)
    program.command()(animate.animate)
    try:
        with get_command(program).make_context("emo animate", given) as context:
            return {name: context.params[name] for name in words}
    except Exception as error:
        if (tell := getattr(error, "format_message", None)) is None:
            raise
        raise UsageError(f"{tell().rstrip('.')}; see `emo animate --help`.") from error


def _options(words: dict[str, str]) -> list[str]:
    given = []
    for name, word in words.items():
        if name in FLAGS:
            if word.lower() not in (*YES, *NO):
                raise UsageError(f"{name} is true or false, not {word!r}.")
            given += [f"--{name}"] if word.lower() in YES else []
        elif name not in ARGUMENTS:
            given.append(f"--{name.replace('_', '-')}={word}")
    return given
