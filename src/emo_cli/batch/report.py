"""The reports of a batch: report.jsonl for programs; report.html, a page that needs no other file but the videos."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from emo_cli import __version__, scratch
from emo_cli.batch.ledger import Record

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
article { border: 1px solid #8886; border-radius: .6rem; padding: .8rem; overflow-wrap: anywhere; }
article.failed { border-color: #c33; }
h1 { margin: 0; } h2 { font-size: 1rem; margin: .4rem 0; }
video { width: 100%; aspect-ratio: 1; background: #8883; border-radius: .3rem; object-fit: contain; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .7rem; margin: .4rem 0; font-size: .85rem; }
dt { opacity: .7; } dd { margin: 0; } .error { color: #c33; }
""".strip()
WORDS = {"done": "done", "skipped": "done before", "failed": "failed", "left": "not begun"}


def line(record: Record) -> str:
    """A record as programs get it: one JSON object on one line, without the poster."""
    facts = {name: value for name, value in asdict(record).items() if name not in ("poster", "made_from")}
    return json.dumps(facts, ensure_ascii=True)


def write_reports(page: Path, records: Sequence[Record], seconds: float) -> None:
    """Write the page, and the lines beside it under the same name. Raises OutputError."""
    texts = {page.with_suffix(".jsonl"): "".join(f"{line(record)}\n" for record in records)}
    texts[page] = html(records, seconds, page.parent)
    for path, text in texts.items():
        scratch.write_text(path, text)


def html(records: Sequence[Record], seconds: float, folder: Path) -> str:
    """The page; videos are named as seen from the folder it lies in."""
    counted = {word: sum(record.status == status for record in records) for status, word in WORDS.items()}
    summary = ", ".join(f"{count} {word}" for word, count in counted.items() if count)
    made = sum(record.seconds for record in records if record.good)
    cards = "\n".join(_card(record, folder) for record in records)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>emo batch: {escape(summary)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"<h1>{len(records)} videos</h1>\n"
        f"<p>{escape(summary)}. {made:.1f} s of video; this run took {seconds:.1f} s. "
        f"Made by a generative model with emo {escape(__version__)}: these are not recordings.</p>\n"
        f"<main>\n{cards}\n</main>\n</body>\n</html>\n"
    )


def _card(record: Record, folder: Path) -> str:
    output = Path(record.output)
    facts: dict[str, Any] = {"photo": record.photo, "sound": record.sound}
    if record.good:
        facts["video"] = f"{record.seconds:.2f} s, {record.frames} frames at {record.fps:g}"
        facts["model"] = f"{record.model}, seed {record.seed}"
    facts |= {name: value for name, value in record.settings.items() if name not in ("model", "seed")}
    if record.took:
        facts["time"] = f"{record.took:.1f} s" + (f", {record.tries} tries" if record.tries > 1 else "")
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    told = [f"<p>{escape(sentence)}</p>" for sentence in record.warnings]
    if record.error:
        told.append(f'<p class="error">{escape(record.error)} (code {record.exit_code})</p>')
    return (
        f'<article class="{record.status}">{_player(record, output, folder)}<h2>{escape(output.name)}</h2>'
        f"<p>{WORDS[record.status]}</p>{''.join(told)}<dl>{listed}</dl></article>"
    )


def _player(record: Record, output: Path, folder: Path) -> str:
    if not record.good:
        return ""
    poster = f' poster="data:image/jpeg;base64,{record.poster}"' if record.poster else ""
    return f'<video controls preload="none" src="{escape(address(output, folder))}"{poster}></video>'


def address(file: Path, folder: Path) -> str:
    """A file's place as seen from a folder, as an address that works whatever its name is."""
    try:
        seen = os.path.relpath(file.absolute(), folder.absolute())
    except ValueError:  # on another drive of Windows
        return file.absolute().as_uri()
    return "./" + quote(Path(seen).as_posix().encode("utf-8", "surrogateescape"))
