"""Is a batch that was killed the same in the end? SIGKILL at random moments, then the same command again.

    python benchmarks/batch_kills.py [--kills 25] [--seed 1] [--model FOLDER]

One undisturbed run of six short jobs gives the videos to compare with, and its length. Then a batch is begun in a new
folder and killed at a random moment of that length; the same command goes on there and is killed too, until one comes
to its end before it is killed: its videos are compared, and a new folder is begun, until there were so many kills.
Prints a JSON object. Without --model a small untrained one is used.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from batch_bench import QUICK, SURROUNDINGS, batch, command, leftovers, people, tone, videos
from tiny_model import save_tiny_model

NAMES = ["anna", "ben", "carla", "dora", "emil", "fritz"]
SECONDS = [0.4, 1.0, 2.0, 0.8, 11.0, 1.5]  # one longer than a piece


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
        began = time.perf_counter()
        assert batch(*words, folder / "whole").code == 0
        length = time.perf_counter() - began
        whole = videos(folder / "whole")
        assert len(whole) == len(NAMES)
        kills, hits = 0, []
        rounds: list[dict[str, Any]] = []
        while kills < chosen.kills or hits:
            out = folder / f"killed-{len(rounds)}"
            process = subprocess.Popen(command(*words, out), env=SURROUNDINGS)
            moment = chance.uniform(0, length) if kills < chosen.kills else None
            try:
                code = process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                hits.append({"moment": round(moment or 0, 2), "finished": len(videos(out))})
                continue
            same = sum(videos(out).get(person) == content for person, content in whole.items())
            rounds.append({"code": code, "same": same, "left": leftovers(out), "kills": hits})
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
