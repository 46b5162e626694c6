"""What takes minutes to work out of a corpus, kept in a file beside the run: one that goes on after a stop finds it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from emo_cli import scratch

Kept = TypeVar("Kept", Tensor, dict[str, Tensor])


def kept_file(folder: Path, name: str, corpus: Path, seen: Iterable[bytes]) -> Path:
    """Where `remembered` keeps what was made of exactly this corpus and of all else that was `seen` for it."""
    digest = hashlib.sha256(str(corpus.resolve()).encode())
    for shard in sorted(corpus.glob("shard-????.npz")):
        digest.update(f"{shard.name} {shard.stat().st_size} {shard.stat().st_mtime_ns}".encode())
    for part in seen:
        digest.update(part)
    return folder / f"{name}-{digest.hexdigest()[:12]}.pt"


def remembered(file: Path, make: Callable[[], list[Kept]]) -> list[Kept]:
    """What `file` holds, or else what `make` gives, written there for the next time."""
    if file.exists():
        kept: list[Kept] = torch.load(file, weights_only=True)
        return kept
    made = make()
    scratch.make_folder(file.parent)
    with scratch.replaced(file) as part:
        torch.save(made, part)
    return made
