"""What `emo evaluate` measures of a model on some cases, beside the published results of another system.

    python benchmarks/evaluation_on_cases.py --cases CASES --out FOLDER [--model mini] [--only 3 5]

CASES is a folder as mini_on_cases.py describes it. Each case's portrait is animated with its sound
(`FOLDER/made/N.mp4`), and that video and the published one (`FOLDER/published/N.mp4`) are measured. What is in FOLDER
already is not done again, so an interrupted run goes on; for other weights name another folder. --seconds: only the
beginning of each case. Prints a Markdown table of the means.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from emo_cli import ffmpeg
from emo_cli.animate import AnimateOptions, Silence, animate
from emo_cli.evaluation.examination import Subject, Tools, examine
from emo_cli.evaluation.judges import Features, Networks
from emo_cli.evaluation.measures import ROWS, Measures, mean
from emo_cli.face import FaceFinder
from emo_cli.sound.encoders import MiniHearing
from emo_cli.weights import locate

MADE, PUBLISHED = "made", "published"


def made(case: Path, target: Path, model: str, seconds: float | None) -> None:
    """The case's portrait with the case's sound, by a model."""
    options = AnimateOptions(
        case / "ref.jpg", case / "aud.mp3", target, model=model, seed=0, duration=seconds, overwrite=True
    )
    animate(options)


def published(case: Path, target: Path, seconds: float | None) -> None:
    """The case's published result, its pictures and sound as they are."""
    limit = [] if seconds is None else ["-t", str(seconds)]
    command = ["-y", *ffmpeg.input_file(case / "gt.mp4"), "-map", "0:v:0", "-map", "0:a:0", "-c", "copy", *limit]
    with ffmpeg.running([*command, f"file:{target}"]) as copier:
        words = copier.failure()
    if words is not None:
        raise SystemExit(f"{case / 'gt.mp4'} cannot be copied: {words}")


def measured(path: Path, tools: Tools) -> Measures:
    """The figures of a video, from the file beside it if it was measured before."""
    known = path.with_suffix(".json")
    if not known.exists():
        found = examine(Subject(path), tools, Features(), Silence())
        known.write_text(json.dumps(asdict(found.measures)))
    return Measures(**json.loads(known.read_text()))


def rows(sets: dict[str, Measures]) -> list[str]:
    """A Markdown table, one row for each figure that can be told."""
    lines = [f"| | {' | '.join(sets)} | unit |", "|---|" + "---:|" * len(sets) + "---|"]
    for row in ROWS:
        values = [getattr(measures, row.field) for measures in sets.values()]
        if any(value is not None for value in values):
            told = ("-" if value is None else f"{value:.{row.digits}f}" for value in values)
            lines.append(f"| {row.title} | {' | '.join(told)} | {row.unit} |")
    return lines


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--only", nargs="*", help="names of cases")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    encoder = MiniHearing.from_pretrained(locate("mini") / "sound_encoder")
    tools = Tools(FaceFinder(), encoder, Networks(torch.device("cpu")))
    found: dict[str, list[Measures]] = {MADE: [], PUBLISHED: []}
    for case in sorted((path for path in chosen.cases.iterdir() if path.is_dir()), key=lambda path: int(path.name)):
        if chosen.only and case.name not in chosen.only:
            continue
        for kind in (PUBLISHED, MADE):
            target = chosen.out / kind / f"{case.name}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                if kind == PUBLISHED:
                    published(case, target, chosen.seconds)
                else:
                    made(case, target, chosen.model, chosen.seconds)
            found[kind].append(measured(target, tools))
            print(json.dumps({"case": case.name, "kind": kind, **asdict(found[kind][-1])}), flush=True)
    print("\n".join(rows({f"{chosen.model}": mean(found[MADE]), "published": mean(found[PUBLISHED])})))


if __name__ == "__main__":
    main()
