"""How near our numbers come to those of EchoMimic's own code: the largest difference for each file of vectors.

    python benchmarks/parity.py

The files lie in tests/parity; the tests demand the limits in the last column, pair by pair.
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))

from echomimic_cases import LOOPS, SINGLE, Case, loop


def all_cases() -> list[Case]:
    """Every pair of tensors of EchoMimic's vectors; each loop runs with the true sampler put back afterwards."""
    cases = list(chain.from_iterable(compare() for compare in SINGLE))
    for name in LOOPS:
        kept: list[tuple[object, str, object]] = []

        def put(place: object, word: str, value: object, kept: list[tuple[object, str, object]] = kept) -> None:
            kept.append((place, word, getattr(place, word)))
            setattr(place, word, value)

        cases += loop(name, put)
        for place, word, value in kept:
            setattr(place, word, value)
    return cases


def main() -> None:
    """Print one line per file."""
    cases = all_cases()
    print(f"{'file':<24} {'pairs':>5} {'largest difference':>19}  in{'':<22} {'allowed':>8}")
    for file in dict.fromkeys(case.file for case in cases):
        mine = [case for case in cases if case.file == file]
        worst = max(mine, key=lambda case: case.difference / max(case.allowed, 1e-12))
        print(f"{file:<24} {len(mine):>5} {worst.difference:>19.2e}  {worst.name[:22]:<24} {worst.allowed:>8.0e}")
    if any(case.difference > case.allowed for case in cases):
        raise SystemExit("A difference is larger than allowed.")


if __name__ == "__main__":
    main()
