"""Long rows of numbers in a file: the same numbers as in memory, and hours of sound in little of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import emo_cli
from emo_cli import speech
from emo_cli.errors import OutputError
from emo_cli.sound.loudness import levelled, loudness
from emo_cli.tape import Tape, Windows, mean_square, pieces

RANDOM = np.random.default_rng(0)


def filled(rows: np.ndarray, piece: int = 7) -> Tape:
    tape = Tape(*rows.shape[1:])
    for start in range(0, len(rows), piece):
        tape.add(rows[start : start + piece])
    return tape


@pytest.mark.parametrize("shape", [(100,), (50, 3), (20, 2, 5)])
def test_what_was_written_is_read_wherever_one_looks(shape: tuple[int, ...]) -> None:
    rows = RANDOM.standard_normal(shape).astype("f4")
    tape = filled(rows)
    assert tape.shape == shape and len(tape) == len(rows)
    for part in (slice(None), slice(3, 11), slice(-5, None), slice(90, 200), slice(8, 2), slice(1, 9, 3)):
        assert np.array_equal(tape[part], rows[part])
    tape.add(torch.from_numpy(rows[:2]))
    assert np.array_equal(tape[-2:], rows[:2])


def test_several_threads_may_read_at_once() -> None:
    rows = np.arange(20_000, dtype="f4")
    tape, wrong = filled(rows, 999), []

    def look(start: int) -> None:
        wrong.extend(place for place in range(start, 19_000, 50) if tape[place : place + 3][0] != place)

    threads = [threading.Thread(target=look, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_windows_are_rows_picked_as_from_a_tensor() -> None:
    rows = RANDOM.standard_normal((30, 2, 4)).astype("f4")

    def seen(frames: torch.Tensor) -> torch.Tensor:
        return (2 * frames[:, None] + torch.arange(-1, 2)).clamp(0, 29)

    windows = Windows(filled(rows), 16, seen)
    whole = torch.from_numpy(rows)[seen(torch.arange(16))].flatten(1, 2)
    assert windows.shape == whole.shape == (16, 6, 4)
    assert torch.equal(windows[:], whole)
    assert torch.equal(windows[5:9], whole[5:9])
    assert torch.equal(windows[torch.tensor([9, 0, 9])], whole[[9, 0, 9]])
    assert len(windows[4:4]) == 0


def test_a_tape_is_as_loud_as_its_samples() -> None:
    samples = (0.2 * RANDOM.standard_normal(50_000)).astype("f4")
    tape = filled(samples, 4096)
    assert loudness(tape) == loudness(samples)
    assert np.array_equal(levelled(tape)[:], levelled(samples)[:])
    assert mean_square(tape, 1000) == pytest.approx(mean_square(samples))
    assert [len(piece) for piece in pieces(tape, 20_000)] == [20_000, 20_000, 10_000]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
def test_a_tape_has_no_name_that_could_stay_behind() -> None:
    def opened() -> set[Path]:
        return {path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}

    before = opened()
    tape = filled(np.zeros(9, "f4"))
    here = [place for place in opened() - before if place.is_relative_to(tempfile.gettempdir())]
    assert len(tape) == 9 and [place.name.endswith("(deleted)") for place in here] == [True]


def test_without_room_for_it_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="TMPDIR"):
        Tape()


def test_an_hour_is_heard_in_the_memory_of_a_minute(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    program = (
        "import resource, sys; from pathlib import Path; from emo_cli import speech\n"
        "from emo_cli.sound.encoders import MiniHearing\n"
        "hearing = MiniHearing(width=8, dilations=(1,)).eval()\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "def hear(path):\n"
        "    heard = speech.encode(speech.read(Path(path)), hearing, 25.0)\n"
        "    return heard.frames, used()\n"
        "print(*hear(sys.argv[1]), *hear(sys.argv[2]))"
    )
    noise = (3000 * RANDOM.standard_normal(60 * 8000)).astype("i2")
    paths = [tmp_path / "minute.wav", tmp_path / "hour.wav"]
    for path, minutes in zip(paths, (1, 60), strict=True):
        with soundfile.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(minutes):
                file.write(noise)
    surroundings = {**os.environ, "PYTHONPATH": str(Path(emo_cli.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, env=surroundings, check=True
    )
    frames, short, more, long = (float(word) for word in done.stdout.split())
    assert (frames, more) == (1500, 90_000)
    assert long - short < 60, "mebibytes; the samples alone would fill 220, their spectrum 90"


def test_samples_of_a_sound_can_be_had_at_once(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(800, 0.25), 16_000)
    sound = speech.read(tmp_path / "x.wav")
    assert sound.waveform.shape == (800,) and sound.waveform[5] == 0.25
