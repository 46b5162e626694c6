"""How fast a model is on this machine: every stage timed, memory, arithmetic, and a second setting beside it.

`bench` makes the same few seconds of video several times. Stages are timed one after another, as they would be without
overlapping; the whole is timed as `emo animate` does it, where drawing and encoding run beside the networks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, get_type_hints

import torch
from torch.utils.flop_counter import FlopCounterMode

from emo_cli import animate, device, speech, video
from emo_cli.animate import AnimateOptions, Backing
from emo_cli.checkpoints import describe
from emo_cli.errors import UsageError
from emo_cli.loading.loaded import Loaded
from emo_cli.pipeline import EmoPipeline
from emo_cli.portrait import Portrait
from emo_cli.quality import Preset, wanted
from emo_cli.segments.room import Room
from emo_cli.segments.scene import Settings
from emo_cli.speech import Sound, Speech
from emo_cli.weights import locate

MATRIX, CARDS_MATRIX = 1024, 8192  # sides of the square matrices whose product shows what a device can do


@dataclass(frozen=True)
class Stages:
    """One figure per stage, for the whole sound. portrait, sound and reference are needed once per video.

    portrait: reading the photo, finding the face; sound: reading it and hearing what is said; reference: ReferenceNet
    on the portrait; denoise, decode, encode: the frames' motion, their pictures, the file.
    """

    portrait: float
    sound: float
    reference: float
    denoise: float
    decode: float
    encode: float


@dataclass(frozen=True)
class Bench:
    """What one setting costs.

    per_second: seconds of work per second of video, everything but loading; loading: opening the model, s; first_frame:
    from the command's files to the first frame, the model being loaded, s; stages: seconds; teraflops, shares: the
    networks' arithmetic stage by stage, and what part it is of the arithmetic that a large matrix product does here in
    the stage's time (next to nothing where no network works); teraflop_per_frame: of all stages; share_of_peak: of the
    denoising; memory, video_memory: GB at the most, of the process, so of both settings where two are measured.
    """

    model: str
    setting: str
    device: str
    dtype: str
    size: int
    steps: int
    guidance: float
    seconds: float
    frames: int
    loading: float
    first_frame: float
    per_second: float
    stages: Stages
    teraflops: Stages
    shares: Stages
    teraflop_per_frame: float
    teraflops_at_peak: float
    share_of_peak: float
    memory: float | None
    video_memory: float | None


@dataclass(frozen=True)
class Comparison:
    """One setting, the one it is held against, and how many times faster the first is (median of the rounds)."""

    first: Bench
    against: Bench | None = None
    faster: float | None = None


def bench(options: AnimateOptions, against: str | None = None, rounds: int = 3) -> Comparison:
    """Measure a setting, and a second one in turns with it, so that both see the same machine.

    against: changes to the options, such as `steps=8,dtype=bfloat16` or `model=echomimic`.
    """
    benches = [Setting(options, "as given")]
    if against is not None:
        benches.append(Setting(changed(options, against), against))
    for setting in benches:
        setting.open()
    walls = [[setting.whole() for setting in benches] for _ in range(rounds)]
    results = [setting.result([wall[place] for wall in walls]) for place, setting in enumerate(benches)]
    if len(results) == 1:
        return Comparison(results[0])
    return Comparison(results[0], results[1], median(wall[1] / wall[0] for wall in walls))


def changed(options: AnimateOptions, words: str) -> AnimateOptions:
    """The options with what `name=value,name=value` says; raises UsageError for what is no option or no value."""
    kinds = get_type_hints(AnimateOptions)
    known = [field.name for field in fields(AnimateOptions) if field.name not in ("photo", "sound", "output")]
    for word in words.split(","):
        name, equals, value = word.strip().partition("=")
        if not equals or name not in known:
            raise UsageError(f"{word!r} is no setting. Write name=value with one of {', '.join(known)}.")
        kinds_here = getattr(kinds[name], "__args__", (kinds[name], str))
        kind = next(kind for kind in (bool, int, float, str) if kind in kinds_here)
        try:
            change: dict[str, Any] = {name: bool(int(value)) if kind is bool else kind(value)}
        except ValueError as problem:
            raise UsageError(f"{value!r} is no value for {name}. Give a number, as in {name}=2.") from problem
        options = replace(options, **change)
    return options


class Setting:
    """One setting on its way through the measurement: opened once, timed several times."""

    pipeline: EmoPipeline
    room: Room
    loading: float
    memory: tuple[int | None, int | None]

    def __init__(self, options: AnimateOptions, words: str) -> None:
        self.options, self.words = options, words
        self.place = device.choose(options.device, options.dtype)

    def open(self) -> None:
        """Load the model and make the first frames: what is slow only once must not count."""
        began = time.perf_counter()
        folder = locate(self.options.model)
        self.family = describe(folder, self.options.model)
        way, size = animate.way(self.options, self.place), self.options.size or self.family.size
        ready = Loaded().open(folder, self.options.model, way, size)
        self.pipeline, self.room = ready.pipeline, ready.room
        self.loading = time.perf_counter() - began
        self.first_frame = min(self._until_the_first_frame() for _ in range(2))

    def whole(self) -> float:
        """Seconds of one video from files to file, as `emo animate` makes it."""
        with tempfile.TemporaryDirectory() as folder, self._cores():
            began = time.perf_counter()
            portrait, sound = self._read()
            options = replace(self.options, output=Path(folder) / "video.mp4")
            backing = Backing(began=began, room=self.room, card=device.is_card(self.place.device))
            self.video = animate.perform(self.pipeline, portrait, sound, options, backing=backing)
            took = time.perf_counter() - began
        self.memory = (device.peak_memory(), device.peak_memory(self.place.device))
        return took

    def result(self, walls: list[float]) -> Bench:
        """All figures; the stages are timed here, one after another."""
        with self._cores():
            stages = self._walk(Clock(self.place.device).lap)
            peak = matrix_speed(self.place.device, self.place.dtype)
            with FlopCounterMode(display=False) as counter:
                teraflops = self._walk(Tally(counter).lap)
        pairs = zip(astuple(teraflops), astuple(stages), strict=True)
        shares = Stages(*(work / (seconds * peak) for work, seconds in pairs))
        made, family, effort = self.video, self.family, self._effort()
        return Bench(
            model=family.name,
            setting=self.words,
            device=self.place.name,
            dtype=self.place.precision,
            size=self.options.size or family.size,
            steps=effort.steps or family.steps,
            guidance=family.guidance if effort.guidance is None else effort.guidance,
            seconds=made.seconds,
            frames=made.frames,
            loading=self.loading,
            first_frame=self.first_frame,
            per_second=median(walls) / made.seconds,
            stages=stages,
            teraflops=teraflops,
            shares=shares,
            teraflop_per_frame=sum(astuple(teraflops)) / made.frames,
            teraflops_at_peak=peak,
            share_of_peak=shares.denoise,
            memory=gigabytes(self.memory[0]),
            video_memory=gigabytes(self.memory[1]),
        )

    def _cores(self) -> AbstractContextManager[int]:
        return device.cores_for(self.family.threads)

    def _read(self) -> tuple[Portrait, Sound]:
        return animate.frame(self.options, self.family), animate.hear(self.options, self.family)

    def _heard(self, sound: Sound) -> Speech:
        return speech.encode(sound, self.pipeline.sound_encoder, self.family.fps, exact=self.family.exact)

    def _settings(self) -> Settings:
        effort = self._effort()
        return Settings(
            seed=self.options.seed or 0,
            steps=effort.steps,
            guidance=effort.guidance,
            shortcuts=effort.shortcuts,
            at_once=self.room.at_once,
        )

    def _effort(self) -> Preset:
        return wanted(self.family, self.options.quality, self.options.steps, self.options.guidance)

    def _until_the_first_frame(self) -> float:
        with self._cores():
            began = time.perf_counter()
            portrait, sound = self._read()
            frames = self.pipeline.frames(portrait, self._heard(sound), self._settings())
            next(frames)
            return time.perf_counter() - began

    def _walk(self, lap: Callable[[], float]) -> Stages:
        """Go through all stages one after another; `lap` gives the figure of each when it has ended."""
        portrait = animate.frame(self.options, self.family)
        in_portrait = lap()
        sound = animate.hear(self.options, self.family)
        heard = self._heard(sound)
        in_sound = lap()
        canvas = self.pipeline.codec.open(portrait)
        seen = self.pipeline.look(portrait, canvas)
        in_reference = lap()
        settings = self._settings()
        motions = list(self.pipeline.denoised(portrait, heard, settings, canvas, seen=seen))
        in_denoise = lap()
        decode = self.pipeline.codec.decode
        pictures = [frame for motion in motions for frame in decode(canvas, motion, settings.strength)]
        in_decode = lap()
        with tempfile.TemporaryDirectory() as folder:
            video.write(Path(folder) / "video.mp4", pictures, self.family.fps, sound, {})
        return Stages(in_portrait, in_sound, in_reference, in_denoise, in_decode, lap())


class Tally:
    """TFLOP between one call of `lap` and the next, attention included."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter, self.before = counter, 0

    def lap(self) -> float:
        """Since the last lap."""
        now = self.counter.get_total_flops()
        work, self.before = now - self.before, now
        return work / 1e12


class Clock:
    """Seconds between one call of `lap` and the next, all work of the device included."""

    def __init__(self, place: torch.device) -> None:
        self.place = place
        self.began = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        device.wait(self.place)
        now = time.perf_counter()
        seconds, self.began = now - self.began, now
        return seconds


def matrix_speed(place: torch.device, dtype: torch.dtype, rounds: int = 5) -> float:
    """TFLOP/s of a product of large square matrices, the best of a few: what this device can do at most."""
    side = CARDS_MATRIX if device.likes_batches(place) else MATRIX
    matrix = torch.randn(side, side, device=place, dtype=dtype)
    clock, best = Clock(place), float("inf")
    for _ in range(rounds):
        clock.lap()
        matrix @ matrix
        best = min(best, clock.lap())
    return 2 * side**3 / best / 1e12


def gigabytes(size: int | None) -> float | None:
    """Bytes as GB."""
    return None if size is None else size / 1e9
