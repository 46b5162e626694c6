"""`emo dataset synthesise` speaks a corpus that training accepts."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from emo_cli.training.corpus import load
from emo_process import emo


def _has_programs() -> bool:
    try:
        ctypes.CDLL("libespeak-ng.so.1")
    except OSError:
        return False
    return shutil.which("flite") is not None


@pytest.mark.skipif(not _has_programs(), reason="espeak-ng or flite is not installed")
def test_the_command_speaks_as_much_as_asked(tmp_path: Path) -> None:
    said = emo("dataset", "synthesise", "--out", tmp_path, "--hours", "0.01")
    assert said.code == 0, said.err
    spoken = [item for split in ("train", "validation", "unseen voices") for item in load(tmp_path, split)]  # type: ignore[arg-type]
    assert sum(len(item.mel) for item in spoken) >= 36 * 100
