"""Choosing where to compute, and the sentences for what is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emo_cli import device
from emo_cli.errors import DeviceError, UsageError

SOURCE = Path(device.__file__).parent


def test_auto_takes_the_first_device_that_is_here() -> None:
    chosen = device.choose()
    assert chosen.device == device.available()[0]
    assert chosen.dtype == torch.float32
    assert chosen.precision == "float32"


def test_the_processor_is_always_there_and_comes_last() -> None:
    assert device.available()[-1] == torch.device("cpu")


def test_the_processor_can_be_asked_for_in_bfloat16() -> None:
    chosen = device.choose("cpu", "bfloat16")
    assert (chosen.device.type, chosen.dtype) == ("cpu", torch.bfloat16)
    assert chosen.name.startswith("CPU, ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has such a device")
def test_an_absent_device_is_told_with_what_is_here() -> None:
    with pytest.raises(DeviceError, match=r"no cuda device.*it has: .*cpu.*emo doctor"):
        device.choose("cuda")


@pytest.mark.parametrize("word", ["gpu", "cuda:x", "cpu:-1", ""])
def test_a_device_that_means_nothing_is_a_usage_error(word: str) -> None:
    with pytest.raises(UsageError, match="no device called"):
        device.choose(word)


def test_a_device_number_beyond_the_last_is_told() -> None:
    with pytest.raises(DeviceError, match="no cpu:7 here"):
        device.choose("cpu:7")


def test_float16_is_refused_on_a_processor() -> None:
    with pytest.raises(DeviceError, match="bfloat16"):
        device.choose("cpu", "float16")


def test_a_precision_that_means_nothing_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="int3"):
        device.choose("cpu", "int3")


@pytest.mark.skipif(sys.platform != "linux", reason="only some systems tell their free memory")
def test_memory_of_the_processor_is_known() -> None:
    memory = device.memory(torch.device("cpu"))
    assert memory.total is not None and memory.free is not None
    assert 2**28 < memory.free <= memory.total


def test_running_out_of_memory_becomes_a_sentence_with_the_next_step() -> None:
    place = torch.device("cpu")
    with pytest.raises(DeviceError, match="ran out of memory.*--size"), device.memory_guard(place):
        raise torch.OutOfMemoryError("4 GiB asked")


def test_other_errors_pass_the_memory_guard() -> None:
    with pytest.raises(KeyError), device.memory_guard(torch.device("cpu")):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("wish", "most", "threads"),
    [({}, None, min(device.cores(), 8)), ({}, 1, 1), ({"OMP_NUM_THREADS": "2"}, 1, 2)],
)
def test_threads_follow_cores_and_model_unless_the_user_said_otherwise(
    wish: dict[str, str], most: int | None, threads: int
) -> None:
    program = f"from emo_cli import device\nwith device.cores_for({most}) as used: print(used)"
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=inherited | wish, timeout=60
    )
    assert done.stdout.strip() == str(threads), done.stderr


def test_a_program_that_uses_the_library_keeps_its_own_threads() -> None:
    before = torch.get_num_threads()
    with device.cores_for(1):
        pass
    assert torch.get_num_threads() == before


def test_numbers_too_small_to_matter_are_kept_for_a_program_that_uses_the_library() -> None:
    with device.cores_for(1):
        assert torch.tensor(1e-40) * 1 == 0
    assert torch.tensor(1e-40) * 1 > 0


def test_no_other_file_names_a_kind_of_device() -> None:
    files = [path for path in SOURCE.rglob("*.py") if path.name not in ("device.py", "options.py")]
    assert len(files) > 10
    named = [str(path) for path in files if "cuda" in path.read_text(encoding="utf-8")]
    assert named == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")
def test_a_graphics_processor_is_chosen_by_itself_and_tells_its_memory() -> None:
    chosen = device.choose()
    assert chosen.device.type == "cuda"
    assert (device.memory(chosen.device).total or 0) > 2**30


def test_a_processor_fetches_at_once() -> None:
    line = device.Line(torch.device("cpu"))
    with line.at_work():
        coming = line.fetch(torch.arange(3) * 2)
    assert coming().tolist() == [0, 2, 4]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")
def test_a_line_of_its_own_sees_what_was_asked_before_and_is_fetched_whole() -> None:
    place = device.choose().device
    line = device.Line(place)
    large = torch.ones(2048, 2048, device=place) @ torch.ones(2048, 2048, device=place)
    with line.at_work():
        coming = line.fetch(large * 2)
    with line.at_work():
        later = line.fetch(large * 3)
    assert coming().is_pinned()
    assert (coming() == 4096).all() and (later() == 6144).all()
