"""The story of one video: a photo and a sound go in, an MP4 with both comes out.

`animate` does everything from file names; `perform` is its second half, for callers who keep a loaded
pipeline and make many videos with it.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from emo_cli import credentials, device, footage, landmark_images, pipes, provenance, speech, video
from emo_cli import portrait as portraits
from emo_cli.checkpoints import describe
from emo_cli.credentials import Identity
from emo_cli.device import Placement
from emo_cli.download import fetched
from emo_cli.errors import ModelError
from emo_cli.face import FaceFinder
from emo_cli.family import Family
from emo_cli.footage import Frame
from emo_cli.loading.loaded import Loaded, Way
from emo_cli.networks.codec import Strength
from emo_cli.outlook import Outlook
from emo_cli.pipeline import EmoPipeline
from emo_cli.portrait import Framing, Portrait
from emo_cli.quality import SHARES, Quality, Shortcuts, wanted
from emo_cli.regions import FaceCut
from emo_cli.segments.room import Room
from emo_cli.segments.scene import Settings
from emo_cli.sound.loudness import loudness
from emo_cli.sound.separation import Separator
from emo_cli.sound.vocals import Vocals
from emo_cli.speech import Sound
from emo_cli.tape import Rows
from emo_cli.unfinished import Unfinished, shown_before
from emo_cli.weights import locate

CERTAIN = 0.95  # human faces score above, animals mostly below


@dataclass(frozen=True)
class AnimateOptions:
    """What the user wants. None means: as the model recommends, or, for the seed, drawn afresh.

    max_memory: GB that the model may fill; offload, compile: see loading/; sign: by whom, see
    `credentials.identity`. photo or sound may be `-` for standard input, output for standard output.
    """

    photo: Path
    sound: Path
    output: Path | None = None
    model: str = "mini"
    seed: int | None = None
    quality: Quality = "best"
    steps: int | None = None
    guidance: float | None = None
    motion: float = 1.0
    expression: float = 1.0
    lips: float = 1.0
    speed: float = 1.0
    region: float = 1.0
    pose: Path | None = None
    fps: float | None = None
    size: int | None = None
    framing: Framing = "portrait"
    face: str = "largest"
    start: float = 0.0
    duration: float | None = None
    vocals: Vocals = "auto"
    separator: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_memory: float | None = None
    offload: bool = False
    compile: bool = False
    overwrite: bool = False
    download: bool = False
    sign: str | None = None

    @property
    def path(self) -> Path:
        """The output's path: by default PHOTO-SOUND.mp4, after both names, in the current folder."""
        names = ("stdin" if path == pipes.STANDARD else path.stem for path in (self.photo, self.sound))
        return self.output or Path(f"{'-'.join(names)}.mp4")


@dataclass(frozen=True)
class Timings:
    """Where the time went, in seconds."""

    preparing: float
    generating: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.preparing + self.generating


@dataclass(frozen=True)
class Video:
    """A finished video, and what is needed to make it again."""

    path: Path
    frames: int
    seconds: float
    fps: float
    model: str
    seed: int
    timings: Timings
    warnings: tuple[str, ...]


class Progress(Protocol):
    """What a caller may want to hear while a video is being made."""

    def stage(self, name: str) -> None:
        """A new part of the work begins."""

    def step(self, done: int, total: int) -> None:
        """One more denoising step of the present frames is finished; with large models it takes a while."""

    def outlook(self, seconds: float) -> None:
        """Told while there is no frame yet: about how long all of them still take."""

    def frame(self, done: int, total: int) -> None:
        """One more frame is finished."""

    def received(self, done: int, total: int) -> None:
        """So many bytes of the model's weights have come over the network."""

    def warn(self, sentence: str) -> None:
        """Something is not as the user asked, or looks doubtful."""


class Silence:
    """The progress of a caller who wants to hear nothing."""

    def stage(self, name: str) -> None: ...

    def step(self, done: int, total: int) -> None: ...

    def outlook(self, seconds: float) -> None: ...

    def frame(self, done: int, total: int) -> None: ...

    def received(self, done: int, total: int) -> None: ...

    def warn(self, sentence: str) -> None: ...


@dataclass(frozen=True)
class Backing:
    """What a caller of `perform` has at hand besides.

    began: the time.perf_counter() at which the caller's own preparations started. weights: the model's fingerprint,
    for the record in the video. unfinished: a folder that keeps what is finished, so that after a kill the same call
    goes on from there; the caller removes it. sign: by whom a manifest of content credentials is signed into the video.
    room: how much goes through at once, one window without it. card: whether the model is on a graphics card.
    """

    began: float | None = None
    weights: str | None = None
    unfinished: Path | None = None
    sign: Identity | None = None
    room: Room | None = None
    card: bool = False


ALONE = Backing()


def animate(
    options: AnimateOptions,
    progress: Progress | None = None,
    loaded: Loaded | None = None,
    unfinished: Path | None = None,
) -> Video:
    """Make one video from file names; whatever can fail fast is tried before the model is loaded.

    loaded: for callers who make many videos; unfinished: see `Backing`. Raises an EmoError of the kind that fits;
    then nothing is written.
    """
    progress = progress or Silence()
    began = time.perf_counter()
    pipes.check(options.photo, options.sound, options.path)
    if options.path != pipes.STANDARD:
        video.check_output(options.path, overwrite=options.overwrite)
    sign = credentials.identity(options.sign) if options.sign else None
    if sign is not None:
        credentials.check(sign, options.path)
    folder = fetched(options.model, progress) if options.download else locate(options.model)
    place = device.choose(options.device, options.dtype)
    progress.stage("reading the photo and the sound")
    family = describe(folder, options.model)
    sound = hear(options, family)
    portrait = frame(options, family)
    progress.stage("loading the model")
    loaded, wished, side = loaded or Loaded(), way(options, place), portrait.image.shape[0]
    with device.memory_guard(place.device, partial(loaded.advice, wished, side)), device.cores_for(family.threads):
        ready = loaded.open(folder, options.model, wished, side)
        for sentence in ready.notes:
            progress.warn(sentence)
        card = device.is_card(place.device)
        backing = Backing(began, loaded.weights, unfinished, sign, ready.room, card)
        return perform(ready.pipeline, portrait, sound, options, progress, backing)


def way(options: AnimateOptions, place: Placement) -> Way:
    """How the user wants the model to compute."""
    return Way(place, options.max_memory, options.offload, options.compile)


def hear(options: AnimateOptions, family: Family) -> Sound:
    """The sound as a family of models wants to hear it; an exact one hears what its authors let it hear."""
    vocals = "off" if family.exact and options.vocals == "auto" else options.vocals
    separator = None
    if vocals == "demucs":
        separator = Separator.open(options.separator, device.choose(options.device, options.dtype).device)
    return speech.read(pipes.sound(options.sound), options.start, options.duration, vocals, separator)


def frame(options: AnimateOptions, family: Family) -> Portrait:
    """The portrait that a family of models wants of the photo."""
    cut = FaceCut(exact=family.exact) if family.crop == "face" else None
    size = options.size or family.size
    photo = pipes.photo(options.photo)
    return portraits.read(photo, framing=options.framing, face=options.face, size=size, cut=cut)


def perform(
    pipeline: EmoPipeline,
    portrait: Portrait,
    sound: Sound,
    options: AnimateOptions,
    progress: Progress | None = None,
    backing: Backing = ALONE,
) -> Video:
    """Make the video of a portrait and a sound that are read already, with a pipeline that is loaded already."""
    progress = progress or Silence()
    began = time.perf_counter() if backing.began is None else backing.began
    recipe = _recipe(pipeline, options, portrait, sound, backing.weights)
    warnings = (
        *_doubts(portrait, sound, options),
        *_unheard(pipeline, options, recipe),
        *_strangers(pipeline, portrait),
    )
    for sentence in warnings:
        progress.warn(sentence)
    progress.stage("listening to the sound")
    heard = speech.encode(sound, pipeline.sound_encoder, pipeline.family.fps, exact=pipeline.family.exact)
    driving = _driving(options, portrait, pipeline.family, heard.frames, progress)
    settings = _settings(recipe, driving, wanted(pipeline.family, options.quality).shortcuts)
    ready = time.perf_counter()
    progress.stage("making frames")
    count, plan = speech.frame_count(sound.seconds, recipe.fps), pipeline.plan(heard)
    kept = backing.unfinished and Unfinished(backing.unfinished, plan, pipeline.family.fps, recipe.fps, count)
    begin = kept.start if kept else 0
    segments = len(plan.segments) - (kept.first if kept else 0)
    step = partial(_step, progress, Outlook(recipe.steps, segments), recipe.steps)
    made = pipeline.frames(portrait, heard, settings, step, kept or None, progress.warn, backing.room)
    frames = _watched(made, portrait, heard.frames, progress, begin)
    if options.framing == "full":
        frames = (portrait.compose(frame) for frame in frames)
    shown = paced(frames, pipeline.family.fps, recipe.fps, count, begin)
    written = _write(shown, sound, options, recipe, backing, kept or None)
    timings = Timings(ready - began, time.perf_counter() - ready)
    return Video(
        path=written.path, frames=written.frames, seconds=written.seconds, fps=recipe.fps, model=recipe.model,
        seed=recipe.seed, timings=timings, warnings=warnings,
    )  # fmt: skip


def _settings(recipe: provenance.Recipe, driving: Rows | None, shortcuts: Shortcuts) -> Settings:
    """What the pipeline must know of a recipe."""
    strength = Strength(expression=recipe.expression, lips=recipe.lips, motion=recipe.motion)
    return Settings(
        seed=recipe.seed, steps=recipe.steps, guidance=recipe.guidance, speed=recipe.speed, strength=strength,
        region=recipe.region, driving=driving, shortcuts=shortcuts,
    )  # fmt: skip


def _write(
    frames: Iterable[Frame],
    sound: Sound,
    options: AnimateOptions,
    recipe: provenance.Recipe,
    backing: Backing,
    kept: Unfinished | None,
) -> video.Written:
    """The frames and the sound, tagged and signed, where the user wants them."""
    tags, sign = provenance.tags(recipe), backing.sign
    finish = partial(credentials.sign, identity=sign, recipe=recipe) if sign is not None else None
    if options.path == pipes.STANDARD:
        return video.stream(pipes.outgoing(), frames, recipe.fps, sound, tags, backing.card)
    if kept is not None:
        return kept.write(options.path, frames, recipe.fps, sound, tags, finish)
    return video.write(options.path, frames, recipe.fps, sound, tags, options.overwrite, finish, backing.card)


def _step(progress: Progress, outlook: Outlook, steps: int, shown: int, step: int) -> None:
    """Tell of a finished step, and of the time that is left as long as no frame tells it."""
    left = outlook.step()
    if left is not None and not shown:
        progress.outlook(left)
    progress.step(step + 1, steps)


def _driving(
    options: AnimateOptions, portrait: Portrait, family: Family, frames: int, progress: Progress
) -> Rows | None:
    """The landmarks (rows, 478, 2) of the driving video's face, laid on the portrait; None without a video."""
    if options.pose is None or "pose" not in family.controls:
        return None
    progress.stage("following the face of the driving video")
    tracks = FaceFinder().track(footage.read(options.pose, fps=family.fps))
    return landmark_images.followed(tracks, frames, portrait.landmarks)


def _recipe(
    pipeline: EmoPipeline, options: AnimateOptions, portrait: Portrait, sound: Sound, weights: str | None
) -> provenance.Recipe:
    """The user's wishes, filled up with what the model recommends."""
    family = pipeline.family
    effort = wanted(family, options.quality, options.steps, options.guidance)
    return provenance.Recipe(
        model=family.name,
        seed=secrets.randbelow(2**31) if options.seed is None else options.seed,
        quality=options.quality,
        steps=effort.steps or family.steps,
        guidance=family.guidance if effort.guidance is None else effort.guidance,
        motion=options.motion,
        expression=options.expression,
        lips=options.lips,
        speed=options.speed,
        region=options.region,
        fps=options.fps or family.fps,
        framing=options.framing,
        size=portrait.image.shape[0],
        face=options.face,
        start=options.start,
        duration=options.duration,
        vocals=options.vocals,
        separator=sound.separator,
        weights=weights,
        photo=portrait.sha256,
        sound=sound.sha256,
    )


def _doubts(portrait: Portrait, sound: Sound, options: AnimateOptions) -> Iterator[str]:
    """A sentence for each thing in the photo or the sound that may not be what the user meant."""
    if portrait.score < CERTAIN:
        yield f"The face is an uncertain find ({portrait.score:.2f} of 1); an animal may look odd."
    others = len(portrait.faces or ()) - 1 if options.face == "largest" else 0
    if others > 0:
        yield f"The photo holds {others + 1} faces; the largest is taken. Choose another with --face."
    if loudness(sound.samples) == -math.inf:
        yield "The sound is silent, so the mouth stays closed."


def _unheard(pipeline: EmoPipeline, options: AnimateOptions, recipe: provenance.Recipe) -> Iterator[str]:
    """A sentence for each wish that this model cannot honour."""
    family = pipeline.family
    wished = {
        "steps": options.steps is not None,
        "guidance": options.guidance is not None,
        "motion": options.motion != 1.0,
        "expression": options.expression != 1.0,
        "lips": options.lips != 1.0,
        "speed": options.speed != 1.0,
        "region": options.region != 1.0,
        "pose": options.pose is not None,
    }
    for control, asked in wished.items():
        if asked and control not in family.controls:
            yield f"The model {family.name} has no control over --{control}; your wish has no effect."
    if options.quality != "best" and family.name not in SHARES:
        yield f"The model {family.name} has no preset called {options.quality}; it is made at its best."
    if recipe.fps != family.fps:
        change = "shown twice" if recipe.fps > family.fps else "left out"
        yield (
            f"The model {family.name} makes {family.fps:g} frames per second; "
            f"at --fps {recipe.fps:g} some frames are {change}."
        )


def _strangers(pipeline: EmoPipeline, portrait: Portrait) -> Iterator[str]:
    """A sentence about the face recognition that a model wants, where there is none, or one with a narrow licence."""
    name = pipeline.family.name
    if pipeline.identity_projection is None or portrait.identity is not None:
        return
    if pipeline.recogniser is None:
        yield (
            f"The model {name} has no face recognition here and knows the person by the picture alone. "
            "`emo weights get hallo --with identity` brings it; its licence allows non-commercial research only."
        )
    elif not pipeline.recogniser.ready:
        yield (
            f"The model {name} knows the person by the picture alone: its face recognition needs onnxruntime. "
            "Run `pip install 'emo-cli[hallo]'`."
        )
    else:
        yield f"The face recognition that {name} uses here is licensed for non-commercial research only."


def _watched(
    frames: Iterable[Frame], portrait: Portrait, total: int, progress: Progress, begin: int
) -> Iterator[Frame]:
    """Pass frames on and tell the progress; stop at a black one: a spoilt video must not look finished."""
    lightness = float(portrait.image[::16, ::16].mean())
    for done, frame in enumerate(frames, start=begin + 1):
        if lightness > 8 and float(frame[::16, ::16].mean()) < 1:
            raise ModelError(
                f"The model made a black frame (number {done}). "
                "Try --dtype float32, another --seed, or --device cpu."
            )
        progress.frame(done, total)
        yield frame


def paced(frames: Iterable[Frame], made: float, asked: float, count: int, begin: int = 0) -> Iterator[Frame]:
    """Show frames made at one rate at another: each moment shows the newest frame made by then.

    made, asked: frames per second. count: how many frames to give; the last one stays if the source ends. begin: the
    number of the first of `frames`; those before it were shown already.
    """
    source = iter(frames)
    frame: Frame | None = None
    taken = begin
    for index in range(shown_before(begin, made, asked), count):
        wanted = int(index * made / asked + 1e-6) + 1
        while taken < wanted:
            following = next(source, None)
            if following is None:
                break
            frame, taken = following, taken + 1
        if frame is None:
            raise ModelError("The model made no frames at all. Its folder may be damaged; try --model mini.")
        yield frame
