"""Temporary files: nobody else can read them, and nothing stays of them, even of a process that was killed."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import emo_cli
from emo_cli import scratch, video
from emo_cli.errors import OutputError

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and locks as POSIX has them")
SURROUNDINGS = {**os.environ, "PYTHONPATH": str(Path(emo_cli.__file__).parents[1])}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder for this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed(program: str, place: Path) -> None:
    """Run a program that stops to be killed when it says so."""
    code = f"import time\nfrom pathlib import Path\nfrom emo_cli import scratch, video\n{program}\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=SURROUNDINGS | {"TMPDIR": str(place)}, cwd=place
    )
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_named_file_is_private_and_goes_with_its_last_user(place: Path) -> None:
    path = scratch.named(".sound")
    path.write_bytes(b"mine")
    assert os.name != "posix" or (path.stat().st_mode | path.parent.stat().st_mode) & 0o077 == 0
    del path
    gc.collect()
    assert list(place.iterdir()) == []


def test_a_folder_is_gone_after_its_block_even_when_that_fails(place: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch.folder() as folder:
        (folder / "a").mkdir()
        raise ZeroDivisionError
    assert list(place.iterdir()) == []


@posix
def test_what_a_killed_process_leaves_is_removed_by_the_next(place: Path) -> None:
    killed("path = scratch.named('.sound'); path.write_bytes(b'secret'); print(1, flush=True); time.sleep(60)", place)
    assert len(list(place.glob("emo-*/file.sound"))) == 1
    with scratch.folder() as mine, scratch.folder() as other:
        assert sorted(place.iterdir()) == sorted([mine, other]), "the dead one's is gone, those in use stay"


@posix
def test_a_killed_run_s_half_video_is_private_and_removed_by_the_next_run(place: Path) -> None:
    (place / "talk-2.mp4").touch()
    (place / ".talk.part-mine.mp4").mkdir()
    killed(
        "import numpy as np\n"
        "def frames():\n"
        "    for _ in range(50): yield np.zeros((64, 64, 3), np.uint8)\n"
        "    print(1, flush=True); time.sleep(60)\n"
        "video.write(Path('talk.mp4'), frames(), 25)",
        place,
    )
    [left] = (path for path in place.glob(".talk.part-*") if path.is_file())
    assert left.stat().st_mode & 0o077 == 0
    import numpy as np

    made = video.write(place / "talk.mp4", [np.zeros((64, 64, 3), np.uint8)], 25).path
    assert sorted(path.name for path in place.iterdir()) == [".talk.part-mine.mp4", "talk-2.mp4", "talk.mp4"]
    usual = os.umask(0)
    os.umask(usual)
    assert made.stat().st_mode & 0o777 == 0o666 & ~usual


def test_two_who_make_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with scratch.beside(path) as one, scratch.beside(path) as other:
        one.write_text("one")
        other.write_text("other")
        scratch.settle(one, path)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_255_bytes_has_room_for_its_half_made_file(tmp_path: Path) -> None:
    path = tmp_path / ("😀" * 62 + "abc.mp4")
    assert len(os.fsencode(path.name)) == 255
    with scratch.beside(path) as part:
        part.write_bytes(b"x")
        scratch.settle(part, path)
    assert path.read_bytes() == b"x"


def test_without_a_temporary_folder_the_next_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    for make in (scratch.nameless, lambda: scratch.named(".x")):
        with pytest.raises(OutputError, match="TMPDIR"):
            make()


def test_a_file_keeps_its_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), scratch.replaced(path) as part:
        part.write_text("ne")
        raise ValueError("half-way")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with scratch.replaced(path) as part:
        part.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_asked_to_stop_while_a_file_is_about_to_begin_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt), scratch.beside(tmp_path / "x.mp4"):
        raise AssertionError("the block began")
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_written_whole_with_any_name_in_it(tmp_path: Path) -> None:
    scratch.write_text(tmp_path / "x.txt", "ü\udcff\n")
    assert (tmp_path / "x.txt").read_bytes() == b"\xc3\xbc\xff\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_folder_that_cannot_be_made_is_told_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/run cannot be made .*; choose another one"):
        scratch.make_folder(tmp_path / "file" / "run")
