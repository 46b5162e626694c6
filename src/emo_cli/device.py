"""Which device does the computing, in which precision, and how much memory it has.

The only file that names a kind of device; everything else asks here.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from emo_cli.errors import DeviceError, UsageError

KINDS = ("cuda", "mps", "cpu")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


ANY_CARD = "cuda"
"""The word for a graphics card, whichever."""

MOST_THREADS = 8
"""Beyond these, threads of one process mostly wait for memory."""


@dataclass(frozen=True)
class Placement:
    """Where a model lies: the device, and the type of its numbers."""

    device: torch.device
    dtype: torch.dtype
    name: str

    @property
    def precision(self) -> str:
        """The number type's plain name, such as float32."""
        return str(self.dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Memory:
    """A device's memory in bytes; None where the system does not say."""

    total: int | None
    free: int | None


def available() -> list[torch.device]:
    """Every device that can be used here, fastest kind first, the processor last."""
    found = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return [*found, torch.device("cpu")]


def leaves_cards_open(wanted: str) -> bool:
    """Whether the user's word for a device means: any graphics card, if there is one."""
    return wanted in ("auto", ANY_CARD)


def cards(wanted: str) -> list[str]:
    """All graphics cards of this machine, as words for `choose`, if the user's word leaves open which."""
    return [str(place) for place in available() if place.type == ANY_CARD] if leaves_cards_open(wanted) else []


def choose(device: str = "auto", dtype: str = "auto") -> Placement:
    """Turn the user's words into a device and a precision.

    device: auto, cpu, cuda, cuda:1 or mps; auto takes the fastest that is here.
    dtype: auto, float32, bfloat16 or float16; auto is float32, which no model turns to black.
    Raises UsageError for a word that means nothing, DeviceError for what this machine does not have.
    """
    place = available()[0] if device == "auto" else _find(device)
    return Placement(place, _precision(dtype, place), describe(place))


def _find(wanted: str) -> torch.device:
    kind, _, index = wanted.partition(":")
    if kind not in KINDS or (index and not index.isdecimal()):
        raise UsageError(f"There is no device called {wanted!r}. Use auto, cpu, cuda, cuda:1 or mps.")
    same_kind = [place for place in available() if place.type == kind]
    if not same_kind:
        here = ", ".join(str(place) for place in available())
        raise DeviceError(
            f"This machine has no {kind} device that torch can use (it has: {here}). "
            "Leave --device out, or run `emo doctor` to see what torch finds."
        )
    if int(index or 0) >= len(same_kind):
        known = ", ".join(str(place) for place in same_kind)
        raise DeviceError(f"There is no {wanted} here. Choose one of: {known}.")
    return same_kind[int(index or 0)]


def _precision(wanted: str, place: torch.device) -> torch.dtype:
    if wanted == "auto":
        return torch.float32
    if wanted not in PRECISIONS:
        raise UsageError(f"There is no precision called {wanted!r}. Use auto, {', '.join(PRECISIONS)}.")
    if wanted == "float16" and place.type == "cpu":
        raise DeviceError("A processor is slow and inexact in float16. Use --dtype float32 or bfloat16.")
    if wanted == "bfloat16" and place.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceError(f"{describe(place)} does not know bfloat16. Use --dtype float32 or float16.")
    return PRECISIONS[wanted]


def wider(dtype: torch.dtype, place: torch.device) -> torch.dtype | None:
    """The next precision with more room for large numbers: float16, bfloat16 where it is known, float32, none."""
    if dtype == torch.float16 and (place.type != "cuda" or torch.cuda.is_bf16_supported()):
        return torch.bfloat16
    return None if dtype == torch.float32 else torch.float32


def describe(place: torch.device) -> str:
    """The device as a person would call it."""
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    if place.type == "mps":
        return "Apple GPU"
    return f"CPU, {cores()} cores"


def memory(place: torch.device) -> Memory:
    """How much memory the device has, and how much of it is free now."""
    if place.type == "cuda":
        free, total = torch.cuda.mem_get_info(place)
        return Memory(total, free)
    if place.type == "mps":
        total = torch.mps.recommended_max_memory()
        return Memory(total, total - torch.mps.driver_allocated_memory())
    return Memory(_pages("SC_PHYS_PAGES"), _pages("SC_AVPHYS_PAGES"))


def budget(place: torch.device) -> int | None:
    """Bytes that a model may fill on a device with memory of its own; None for the processor, which can swap."""
    return None if place.type == "cpu" else memory(place).total


def pinned(tensor: torch.Tensor, place: torch.device) -> torch.Tensor:
    """The tensor in main memory, where a graphics card can fetch it by itself if it is one that can."""
    there = tensor.cpu()
    return there.pin_memory() if place.type == "cuda" else there


class Line:
    """Work of one thread that a graphics card does beside that of others; elsewhere work is done at once.

    Without a line of its own, a thread that fetches its pictures would wait for all that another has asked for too.
    """

    def __init__(self, place: torch.device) -> None:
        self._stream = torch.cuda.Stream(place) if place.type == "cuda" else None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What is asked for inside the block stands in this line."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            yield

    def fetch(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to copy a tensor to main memory, inside the block; what is given back waits until it is there."""
        if self._stream is None:
            return tensor.cpu
        there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        there.copy_(tensor, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record(self._stream)

        def waited() -> torch.Tensor:
            arrived.synchronize()
            return there

        return waited


def lacks_compiler(place: torch.device) -> str | None:
    """What torch.compile needs for a device and does not find; None where all is there."""
    if place.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "triton"
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:
        return "a C++ compiler (g++ or clang++)"
    return None


def is_card(place: torch.device) -> bool:
    """Whether it is a graphics card, which may have an encoder of its own."""
    return place.type == ANY_CARD


def backends(place: torch.device) -> str:
    """What a group of processes on such devices speaks through; a card becomes this process's own."""
    if not is_card(place):
        return "gloo"
    torch.cuda.set_device(place)
    return "cpu:gloo,cuda:nccl"


def likes_batches(place: torch.device) -> bool:
    """Whether several windows at once are faster than one after another: a processor is busy with one."""
    return place.type != "cpu"


def peak_memory(place: torch.device | None = None) -> int | None:
    """Most bytes that this process has held so far, in main memory or on a device; None where nobody counts them."""
    if place is not None:
        return torch.cuda.max_memory_allocated(place) if place.type == "cuda" else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def wait(place: torch.device) -> None:
    """Return when the device has finished all that it was asked for: it works on while Python goes ahead."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    elif place.type == "mps":
        torch.mps.synchronize()


def _pages(name: str) -> int | None:
    """Bytes behind one of the system's page counts; Windows has none of them."""
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def cores_for(most: int | None) -> Iterator[int]:
    """Inside the block torch computes on the cores this process may use, on `most` at most; yields how many.

    A number in OMP_NUM_THREADS is the user's own wish and stays. Small networks gain nothing from many threads and
    lose by waiting for them: beside other work on the machine, two threads can be far slower than one.
    """
    before, flushed = torch.get_num_threads(), _flushes_denormals()
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(cores(), most or MOST_THREADS))
    # Numbers too small to matter cost a hundred times the time on many processors.
    torch.set_flush_denormal(True)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block torch computes on one core, for numbers that must be the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _flushes_denormals() -> bool:
    """Whether this thread takes numbers too small to matter for zero; torch can set that, but not tell it."""
    return bool(torch.tensor(1e-40) * 1 == 0)


_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cublas_status_alloc_failed")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out; some of torch's devices and libraries say so in words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def forget(place: torch.device) -> None:
    """Give back what torch keeps of a device's memory for later use."""
    gc.collect()
    if place.type == "cuda":
        torch.cuda.empty_cache()
    elif place.type == "mps":
        torch.mps.empty_cache()


@contextmanager
def memory_guard(
    place: torch.device, advice: Callable[[], str] = lambda: "take a smaller --size, or use --device cpu."
) -> Iterator[None]:
    """Turn running out of memory, inside the block, into a DeviceError with the next step.

    advice: what else could be done, the rest of a sentence.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        total = memory(place).total
        size = f" ({total / 2**30:.0f} GiB)" if total else ""
        raise DeviceError(f"{describe(place)}{size} ran out of memory. Close other programs, {advice()}") from error
