"""What a run writes down while it learns: lines of JSON, TensorBoard where it is installed, a line for the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOG = "log.jsonl"
Progress = Callable[[str, float, float], None]
"""(what is going on, steps done, steps in all), after every step."""


class Journal:
    """The log of one stage, log.jsonl in its folder: mean losses of every `log_every` steps, and how fast they went."""

    def __init__(
        self, folder: Path, done: int, log_every: int, report: Callable[[str], None], progress: Progress | None
    ) -> None:
        """done: steps at which the run goes on; lines about later ones, which will be made again, are taken out."""
        self.path, self.log_every, self.report, self.progress = folder / LOG, log_every, report, progress
        self.began = self.since = time.monotonic()
        self.sums: dict[str, float] = {}
        self.counted, self.curve = 0, _curves(folder)
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if _step(line) <= done]
            self.path.write_text("".join(f"{line}\n" for line in kept))

    def step(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """One more step is done, with these losses."""
        self.counted += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.progress is not None:
            mean, speed = self.sums["total"] / self.counted, self._speed()
            self.progress(f"{self.path.parent.name}: loss {mean:.4f}, {speed:.2f} steps/s", done, total)
        if done % self.log_every == 0:
            means = {name: round(value / self.counted, 5) for name, value in self.sums.items()}
            minutes = round((time.monotonic() - self.began) / 60, 2)
            self.line({"step": done, "minutes": minutes, "steps_per_second": round(self._speed(), 3), **means})
            self.sums, self.counted, self.since = {}, 0, time.monotonic()

    def line(self, facts: Mapping[str, Any]) -> None:
        """One line of the log, for people too."""
        with self.path.open("a") as file:
            file.write(json.dumps(facts) + "\n")
        if self.curve is not None:
            for name, value in facts.items():
                if name != "step" and isinstance(value, int | float):
                    self.curve.add_scalar(name, value, facts["step"])
            self.curve.flush()
        self.report("  ".join(f"{name} {value}" for name, value in facts.items()))

    def _speed(self) -> float:
        return self.counted / max(time.monotonic() - self.since, 1e-9)


def _curves(folder: Path) -> Any:
    """TensorBoard's writer, if it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "curves"))


def _step(line: str) -> int:
    """Which step a line of the log is about; a line that was cut off is about none, and goes."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62
