"""Is a batch that was killed the same in the end? SIGKILL at random moments, then the same command again.

    python benchmarks/batch_kills.py [--kills 25] [--seed 1] [--model FOLDER]

One undisturbed run of six short jobs gives the videos to compare with, and its length. Then a batch is begun in a new
folder and killed at a random moment of that length; the same command goes on there and is killed too, until one comes
to its end before it is killed: its videos are compared, and a new folder is begun, until there were so many kills.
Prints a JSON object. Without --model a small untrained one is used. Every run is a process of its own, forked from one
that has only imported the command, so that most of its time is work that a kill can disturb.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from batch_bench import QUICK, leftovers, people, tone, videos
from tiny_model import save_tiny_model

NAMES = ["anna", "ben", "carla", "dora", "emil", "fritz"]
SECONDS = [0.4, 0.6, 1.0, 0.3, 10.6, 0.5]  # one longer than a piece


def emo(words: list[str]) -> None:
    """The command, in a process that has imported it already."""
    from emo_cli.cli.app import main

    sys.argv = ["emo", *words]
    main()


def begun(context: ForkServerContext, *words: str | Path) -> multiprocessing.context.ForkServerProcess:
    """A process that works on the batch."""
    process = context.Process(target=emo, args=(["batch", *map(str, words)],))
    process.start()
    return process


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = people(folder / "in", NAMES)
        for person, seconds in zip(NAMES, SECONDS, strict=True):
            tone(given / f"{person}.wav", seconds)
        model = chosen.model or save_tiny_model(folder / "model")
        words = (given, "--model", model, *QUICK, "--quiet", "-o")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["emo_cli.cli.app", "emo_cli.batch.runner"])
        first = context.Process(target=int)
        first.start()  # when it has ended, the imports are done
        first.join()
        began = time.perf_counter()
        process = begun(context, *words, folder / "whole")
        process.join()
        assert process.exitcode == 0
        length = time.perf_counter() - began
        whole = videos(folder / "whole")
        assert len(whole) == len(NAMES)
        kills, hits = 0, []
        rounds: list[dict[str, Any]] = []
        while kills < chosen.kills or hits:
            out = folder / f"killed-{len(rounds)}"
            process = begun(context, *words, out)
            moment = chance.uniform(0, length) if kills < chosen.kills else None
            process.join(moment)
            if process.is_alive():
                process.kill()
                process.join()
                kills += 1
                hits.append({"moment": round(moment or 0, 2), "finished": len(videos(out))})
                continue
            same = sum(videos(out).get(person) == content for person, content in whole.items())
            rounds.append({"code": process.exitcode, "same": same, "left": leftovers(out), "kills": hits})
            print(rounds[-1], file=sys.stderr, flush=True)
            hits = []
    result = {
        "undisturbed_seconds": round(length, 2),
        "kills": kills,
        "kills_with_some_jobs_finished": sum(hit["finished"] > 0 for row in rounds for hit in row["kills"]),
        "batches": len(rounds),
        "batches_identical": sum(row["code"] == 0 and row["same"] == len(whole) and not row["left"] for row in rounds),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
