"""A look at a photo and a sound before the work: faces, crop and mask, what is heard, how long a video would take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emo_cli import animate, clips, device, portrait, scratch, speech
from emo_cli.animate import AnimateOptions, Backing
from emo_cli.checkpoints import describe
from emo_cli.errors import OutputError, WeightsError
from emo_cli.face import Face
from emo_cli.face.found import overlap
from emo_cli.face.pose import Pose, pose
from emo_cli.family import Family
from emo_cli.loading.loaded import Loaded
from emo_cli.portrait import Box, Portrait
from emo_cli.sound.loudness import loudness, voice_share
from emo_cli.speech import Sound
from emo_cli.weights import locate

PATIENCE = 10.0  # seconds of trial frames after which the rest is reckoned
SHOWN = 6  # frames of the trial, where they are not blended
HALF = 0.5  # the mask's edge is soft: beyond this a pixel counts as moving
BLUE, ORANGE, GREEN = (40, 120, 255), (255, 140, 0), (0, 190, 90)


@dataclass(frozen=True)
class FaceSeen:
    """A face by the number that --face takes; box in pixels of the upright photo; score: 0.5 to 1, how sure it is."""

    number: int
    box: Box
    pose: Pose
    score: float
    chosen: bool


@dataclass(frozen=True)
class SoundHeard:
    """A sound: seconds, loudness in dB of full scale (None if silent), share of it that is like a voice (0..1)."""

    seconds: float
    loudness: float | None
    voice: float


@dataclass(frozen=True)
class Effort:
    """What the video would be: frames at a rate, and about how many seconds of work on a device, if it was tried."""

    model: str
    frames: int
    fps: float
    device: str
    work: float | None


@dataclass(frozen=True)
class Inspection:
    """What was found; crop and mask are boxes in pixels of the upright photo, size the side of the animated square.

    note: why something could not be told, None if all could.
    """

    photo: Path
    width: int
    height: int
    faces: tuple[FaceSeen, ...]
    crop: Box
    size: int
    mask: Box
    sound: SoundHeard | None
    effort: Effort | None
    note: str | None


@dataclass(frozen=True)
class Look:
    """An inspection, and the portrait that it found, for drawing."""

    found: Inspection
    portrait: Portrait


class _Enough(Exception):
    """The trial has lasted long enough to reckon the rest."""


class _Stopwatch(animate.Silence):
    """The moments of a trial's denoising steps and frames; ends the trial when it has lasted long enough."""

    def __init__(self, patience: float) -> None:
        self.patience, self.began = patience, time.perf_counter()
        self.steps: list[float] = []
        self.frames: list[float] = []

    def stage(self, name: str) -> None:
        self.began = time.perf_counter()

    def step(self, done: int, total: int) -> None:
        self.steps.append(time.perf_counter())
        if self.steps[-1] - self.began > self.patience:
            raise _Enough

    def frame(self, done: int, total: int) -> None:
        self.frames.append(time.perf_counter())

    def pace(self, moments: list[float]) -> float:
        """Seconds from one moment to the next; what came before the first counts only where there is no second."""
        if len(moments) > 1:
            return (moments[-1] - moments[0]) / (len(moments) - 1)
        return moments[0] - self.began if moments else 0.0


def look(options: AnimateOptions, sound: Path | None = None, trial: bool = True) -> Look:
    """Find out all that can be told before a video is made; the same errors as making it, for photo, face and sound.

    options.sound is not read, `sound` is. trial: make a few frames, to tell how long all of them would take here.
    """
    note, family, folder = None, Family(name=options.model), None
    try:
        folder = locate(options.model)
        family = describe(folder, options.model)
    except WeightsError as error:
        note = str(error)
    framed = animate.frame(options, family)
    heard = animate.hear(replace(options, sound=sound), family) if sound else None
    effort = _effort(options, family, framed, heard, folder if trial else None) if heard and folder else None
    faces = tuple(_faces(framed))
    height, width = framed.photo.shape[:2]
    found = Inspection(
        options.photo, width, height, faces, framed.crop, framed.image.shape[0], _moving(framed),
        _hear(heard) if heard else None, effort, note,
    )  # fmt: skip
    return Look(found, framed)


def _faces(framed: Portrait) -> Iterator[FaceSeen]:
    """All faces of the photo, largest first; the one that was chosen by hand comes last if it is not among them."""
    scale = framed.crop.width / framed.image.shape[1]
    landmarks = framed.landmarks * scale + np.array([framed.crop.x, framed.crop.y, 0])
    chosen = Face(framed.photo_face, landmarks, framed.score)
    faces = list(portrait.find_faces(framed.photo) if framed.faces is None else framed.faces)
    nearest = max(faces, key=lambda face: overlap(face.box, chosen.box), default=None)
    if nearest is None or overlap(nearest.box, chosen.box) == 0:
        faces, nearest = [*faces, chosen], chosen
    for number, face in enumerate(faces, start=1):
        yield FaceSeen(number, _rounded(face.box), pose(face.landmarks), round(face.score, 3), face is nearest)


def _rounded(box: Box) -> Box:
    return Box(*(round(float(value), 1) for value in (box.x, box.y, box.width, box.height)))


def _moving(framed: Portrait) -> Box:
    """Where the photo may move: the box around the mask, in photo pixels."""
    rows, columns = (np.flatnonzero((framed.mask > HALF).any(axis)) for axis in (1, 0))
    scale = framed.crop.width / framed.image.shape[1]
    left, top = framed.crop.x + columns[0] * scale, framed.crop.y + rows[0] * scale
    return _rounded(Box(left, top, (columns[-1] + 1 - columns[0]) * scale, (rows[-1] + 1 - rows[0]) * scale))


def _hear(sound: Sound) -> SoundHeard:
    loud = loudness(sound.samples)
    level = round(loud, 1) if math.isfinite(loud) else None
    return SoundHeard(round(sound.seconds, 3), level, round(voice_share(sound.samples), 3))


def _effort(
    options: AnimateOptions, family: Family, framed: Portrait, sound: Sound, folder: Path | None
) -> Effort:
    """folder: the model's, to try it; None to leave the work untold."""
    place = device.choose(options.device, options.dtype)
    frames = speech.frame_count(sound.seconds, options.fps or family.fps)
    work = None if folder is None else _reckon(options, family, framed, sound, folder)
    return Effort(family.name, frames, options.fps or family.fps, str(place.device), work)


def _reckon(options: AnimateOptions, family: Family, framed: Portrait, sound: Sound, folder: Path) -> float:
    """About how many seconds the whole video takes, from a few frames of it, made into a file that is thrown away.

    What is done once counts once. Where frames are not blended, the trial shows a part of its one clip: drawing goes
    on evenly, and the clip is denoised whole in any case.
    """
    began, place = time.perf_counter(), device.choose(options.device, options.dtype)
    made = speech.frame_count(sound.seconds, family.fps)
    sample = min(made, family.window if family.chaining == "blend" else SHOWN)
    seconds = min(sample / family.fps, sound.seconds)
    part = replace(sound, seconds=seconds, samples=sound.samples[: math.ceil(seconds * speech.RATE)])
    watch = _Stopwatch(PATIENCE)
    with (
        scratch.folder() as trial,
        device.memory_guard(place.device),
        device.cores_for(family.threads),
        suppress(_Enough),
    ):
        ready = Loaded().open(folder, options.model, animate.way(options, place), framed.image.shape[0])
        wishes = replace(options, output=Path(trial, "trial.mp4"), seed=options.seed or 0)
        animate.perform(ready.pipeline, framed, part, wishes, watch, Backing(room=ready.room))
    steps = options.steps or family.steps
    step, frame = watch.pace(watch.steps), watch.pace(watch.frames)
    windows = sum(segment.length / family.window for segment in clips.plan(made, family).segments)
    once = watch.steps[0] - began - step
    return round(once + step * steps * windows + frame * made, 1)


def overlay(seen: Look) -> Image.Image:
    """The upright photo with every face's box and number, the crop, and the place that may move."""
    found, framed = seen.found, seen.portrait
    picture = Image.fromarray(_tinted(framed))
    thick = max(2, max(picture.size) // 400)
    draw = ImageDraw.Draw(picture)
    _draw_box(draw, found.crop, GREEN, thick)
    font = ImageFont.load_default(size=max(14, max(picture.size) // 40))
    for face in found.faces:
        colour = ORANGE if face.chosen else BLUE
        _draw_box(draw, face.box, colour, thick)
        draw.text((face.box.x + 2 * thick, face.box.y + thick), str(face.number), fill=colour, font=font)
    return picture


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, colour: tuple[int, int, int], thick: int) -> None:
    draw.rectangle((box.x, box.y, box.x + box.width - 1, box.y + box.height - 1), outline=colour, width=thick)


def _tinted(framed: Portrait) -> np.ndarray:
    """The photo, greener where the mask lets it move."""
    green = framed.image.copy()
    green[:] = GREEN
    mixed = framed.image + (green.astype(np.float32) - framed.image) * (0.35 * framed.mask[..., None])
    return framed.compose(np.rint(mixed).astype(np.uint8))


def save_overlay(seen: Look, path: Path, overwrite: bool = False) -> None:
    """Write the drawing as the picture format that the suffix says, whole or not at all."""
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another name or add --overwrite.")
    try:
        with scratch.beside(path) as part:
            overlay(seen).save(part)
            scratch.settle(part, path)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be written ({error}); give a name such as faces.png.") from error
