"""Jobs from a table: CSV with a line of names, or a JSON object a line; every option of `emo animate` is a column."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from emo_cli import pipes
from emo_cli.animate import AnimateOptions
from emo_cli.batch.jobs import Job, checked
from emo_cli.errors import EmoError, InputError, UsageError

COLUMNS = tuple(field.name for field in fields(AnimateOptions))
FILES = ("photo", "sound", "pose", "separator")
Parse = Callable[[dict[str, str]], dict[str, Any]]
"""Reads words as `emo animate` reads its options: {"motion": "0.5"} -> {"motion": 0.5}; UsageError for nonsense."""


@dataclass(frozen=True)
class Row:
    """One line of a table. line: its number in the file, from 1; words: by column, the empty ones left out."""

    line: int
    words: dict[str, str]


def is_manifest(source: str) -> bool:
    """Whether the user names a table: by its ending, or - for standard input."""
    return source == "-" or Path(source).suffix.lower() in (".csv", ".jsonl")


def read(source: str) -> tuple[str, list[Row]]:
    """A table's name and rows. - is standard input, JSON if it begins with {. Raises InputError, UsageError."""
    path = Path(source)
    try:
        content = pipes.incoming().read() if path == pipes.STANDARD else path.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"The manifest {source} cannot be read ({error}); give CSV or JSONL in UTF-8.") from error
    name = "standard input" if path == pipes.STANDARD else path.name
    as_json = path.suffix.lower() == ".jsonl" or (path == pipes.STANDARD and text.lstrip().startswith("{"))
    rows = list((_objects if as_json else _table)(name, text))
    if not rows:
        raise UsageError(f"The manifest {name} has no jobs; give a line for each video.")
    return name, rows


def jobs(source: str, parse: Parse, common: AnimateOptions, folder: Path) -> list[Job]:
    """A job for each row. Its photo and sound are looked for beside the manifest; its video goes into the folder."""
    name, rows = read(source)
    beside = Path() if source == "-" else Path(source).parent
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            options = _options(row.words, parse, common, beside, folder)
        except EmoError as error:
            raise UsageError(f"Line {row.line} of {name}: {error}") from error
        found.append(Job(number, options))
    return checked(found)


def _options(
    words: dict[str, str], parse: Parse, common: AnimateOptions, beside: Path, folder: Path
) -> AnimateOptions:
    unknown = [column for column in words if column not in COLUMNS]
    if unknown:
        raise UsageError(f"there is no option called {unknown[0]!r}; a row may have: {', '.join(COLUMNS)}.")
    lacking = [column for column in ("photo", "sound") if column not in words and getattr(common, column) == Path()]
    if lacking:
        raise UsageError(f"it names no {lacking[0]}; give one in the column {lacking[0]}.")
    wishes = parse(words)
    for column in FILES:
        if column in wishes and wishes[column] != pipes.STANDARD:
            wishes[column] = beside / wishes[column]
    options = replace(common, **wishes)
    named = options if options.output else replace(options, output=options.path)
    return named if named.path == pipes.STANDARD else replace(named, output=folder / named.path)


def _table(name: str, text: str) -> Iterator[Row]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        for record in reader:
            if None in record or None in record.values():
                raise UsageError(f"Line {reader.line_num} of {name} has not as many cells as the first line has names.")
            yield Row(reader.line_num, {column.strip(): cell for column, cell in record.items() if cell != ""})
    except csv.Error as error:
        raise UsageError(f"{name} is not a CSV table ({error}); check the quotes.") from error


def _objects(name: str, text: str) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except ValueError as error:
            raise UsageError(f"Line {line} of {name} is not JSON ({error}); give one object a line.") from error
        if not isinstance(record, dict):
            raise UsageError(f"Line {line} of {name} is not an object; write it like " '{"photo": "a.jpg", ...}.')
        yield Row(line, {column: _word(value) for column, value in record.items() if value not in (None, "")})


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)
