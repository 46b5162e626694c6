"""The lists and tracks of a folder of training clips: written whole, read strictly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_cli.dataset.manifest import (
    MANIFEST,
    DroppedClip,
    Track,
    TrainingClip,
    read_dropped,
    read_manifest,
    read_track,
    write_manifest,
    write_track,
)
from emo_cli.errors import InputError

CLIP = TrainingClip(
    "talk-001", "talk.mp4", 1.5, 90, 30.0, 512, (10.0, 20.0, 300.0), -20.0, (1.0, 2.0, 3.0), (0.1, 0.2, 0.3)
)


def _track(frames: int) -> Track:
    shapes = ((4,), (478, 3), (6,), (3,))
    return Track(*(np.random.default_rng(0).random((frames, *shape), np.float32) for shape in shapes))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    dropped = DroppedClip("talk.mp4", 0.0, 1.5, "short", "It lasts 1.5 s.")
    write_manifest(tmp_path, [CLIP, replace(CLIP, name="talk-002")], [dropped])
    assert read_manifest(tmp_path) == [CLIP, replace(CLIP, name="talk-002")]
    assert read_dropped(tmp_path) == [dropped]
    assert [path.name for path in tmp_path.glob("*") if path.name.startswith(".")] == []


def test_a_folder_without_a_manifest_is_told_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="emo dataset prepare"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "line", ['{"name": ', "[1]", '{"name": "a"}', '{"name": "../a", "source": "s", "start": 0, "frames": 9}']
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    write_manifest(tmp_path, [CLIP])
    with (tmp_path / MANIFEST).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match="Line 2"):
        read_manifest(tmp_path)


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write_manifest(tmp_path, [replace(CLIP, name="../../etc/passwd")])
    with pytest.raises(InputError, match="Line 1"):
        read_manifest(tmp_path)


def test_a_track_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_track(tmp_path / "a.npz", _track(5))
    read = read_track(tmp_path / "a.npz", frames=5)
    assert len(read) == 5
    assert np.array_equal(read.points, _track(5).points)
    with pytest.raises(InputError, match="each of 6 frames"):
        read_track(tmp_path / "a.npz", frames=6)


def test_a_damaged_track_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(InputError, match=r"a\.npz"):
        read_track(tmp_path / "a.npz")
