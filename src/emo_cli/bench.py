"""How fast a model is on this machine: every stage timed, memory, arithmetic, and a second setting beside it.

`bench` makes the same few seconds of video several times. Stages are timed one after another, as they would be without
overlapping; the whole is timed as `emo animate` does it, where drawing and encoding run beside the networks.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, get_type_hints

import torch
from torch.utils.flop_counter import FlopCounterMode

from emo_cli import animate, device, speech, video
from emo_cli.animate import AnimateOptions
from emo_cli.checkpoints import describe, open_model
from emo_cli.errors import UsageError
from emo_cli.pipeline import EmoPipeline
from emo_cli.portrait import Portrait
from emo_cli.quality import Preset, wanted
from emo_cli.segments.scene import Settings
from emo_cli.speech import Sound, Speech
from emo_cli.weights import locate

MATRIX = 1024  # side of the square matrices whose product shows what the machine can do


@dataclass(frozen=True)
class Stages:
    """Seconds for the whole sound, per stage. portrait, sound and reference are needed once per video.

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
    from the command's files to the first frame, the model being loaded, s; teraflop_per_frame: arithmetic of the
    networks; share_of_peak: of the denoising against what a large matrix product reaches here; peak memory in GB.
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
        kind = next(kind for kind in (int, float, str) if kind in getattr(kinds[name], "__args__", (kinds[name], str)))
        try:
            change: dict[str, Any] = {name: kind(value)}
        except ValueError as problem:
            raise UsageError(f"{value!r} is no value for {name}. Give a number, as in {name}=2.") from problem
        options = replace(options, **change)
    return options


class Setting:
    """One setting on its way through the measurement: opened once, timed several times."""

    pipeline: EmoPipeline
    loading: float

    def __init__(self, options: AnimateOptions, words: str) -> None:
        self.options, self.words = options, words
        self.place = device.choose(options.device, options.dtype)

    def open(self) -> None:
        """Load the model and make the first frames: what is slow only once must not count."""
        began = time.perf_counter()
        folder = locate(self.options.model)
        self.family = describe(folder, self.options.model)
        self.pipeline = open_model(folder, self.options.model).to(self.place.device, self.place.dtype)
        self.loading = time.perf_counter() - began
        self.first_frame = min(self._until_the_first_frame() for _ in range(2))

    def whole(self) -> float:
        """Seconds of one video from files to file, as `emo animate` makes it."""
        with tempfile.TemporaryDirectory() as folder, self._cores():
            began = time.perf_counter()
            portrait, sound = self._read()
            options = replace(self.options, output=Path(folder) / "video.mp4")
            self.video = animate.perform(self.pipeline, portrait, sound, options, began=began)
            return time.perf_counter() - began

    def result(self, walls: list[float]) -> Bench:
        """All figures; the stages are timed here, one after another."""
        with self._cores():
            stages = self._stages()
            peak = matrix_speed(self.place.device, self.place.dtype)
            teraflops = self._teraflops()
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
            teraflop_per_frame=teraflops / made.frames,
            teraflops_at_peak=peak,
            share_of_peak=teraflops / (stages.denoise * peak),
            memory=gigabytes(device.peak_memory()),
            video_memory=gigabytes(device.peak_memory(self.place.device)),
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
            seed=self.options.seed or 0, steps=effort.steps, guidance=effort.guidance, shortcuts=effort.shortcuts
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

    def _stages(self) -> Stages:
        clock = Clock(self.place.device)
        portrait = animate.frame(self.options, self.family)
        in_portrait = clock.lap()
        sound = animate.hear(self.options, self.family)
        heard = self._heard(sound)
        in_sound = clock.lap()
        canvas = self.pipeline.codec.open(portrait)
        self.pipeline.reference_net.look(canvas.reference.to(self.place.device, self.place.dtype))
        in_reference = clock.lap()
        settings = self._settings()
        motions = list(self.pipeline.denoised(portrait, heard, settings, canvas))
        in_denoise = clock.lap()
        decode = self.pipeline.codec.decode
        pictures = [frame for motion in motions for frame in decode(canvas, motion, settings.strength)]
        in_decode = clock.lap()
        with tempfile.TemporaryDirectory() as folder:
            video.write(Path(folder) / "video.mp4", pictures, self.family.fps, sound, {})
        return Stages(in_portrait, in_sound, in_reference, in_denoise, in_decode, clock.lap())

    def _teraflops(self) -> float:
        """Arithmetic of the networks for the whole sound, attention included."""
        portrait, sound = self._read()
        heard, canvas = self._heard(sound), self.pipeline.codec.open(portrait)
        with FlopCounterMode(display=False) as counter:
            for _ in self.pipeline.denoised(portrait, heard, self._settings(), canvas):
                pass
        return counter.get_total_flops() / 1e12


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
    matrix = torch.randn(MATRIX, MATRIX, device=place, dtype=dtype)
    clock, best = Clock(place), float("inf")
    for _ in range(rounds):
        clock.lap()
        matrix @ matrix
        best = min(best, clock.lap())
    return 2 * MATRIX**3 / best / 1e12


def gigabytes(size: int | None) -> float | None:
    """Bytes as GB."""
    return None if size is None else size / 1e9
