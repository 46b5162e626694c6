"""One video, measured: it is decoded once, and all who measure look on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from emo_cli import footage, photo, speech
from emo_cli.errors import FaceError, InputError
from emo_cli.evaluation import judges, lips
from emo_cli.evaluation.fidelity import Fidelity
from emo_cli.evaluation.head import Head, blinks
from emo_cli.evaluation.judges import Features, Networks
from emo_cli.evaluation.measures import Measures
from emo_cli.evaluation.published import syncnet
from emo_cli.evaluation.seam import Seam
from emo_cli.evaluation.stability import Flicker, Identity, Picture
from emo_cli.evaluation.watching import Curve, Onlooker, Seen, show, watched
from emo_cli.face import FaceFinder
from emo_cli.face.opening import eye_opening, mouth_opening
from emo_cli.footage import Frame, Probe
from emo_cli.sound.encoders import MiniHearing
from emo_cli.speech import Sound


class Progress(Protocol):
    """What a caller may want to hear."""

    def stage(self, name: str) -> None:
        """A new part of the work begins."""

    def frame(self, done: int, total: int) -> None:
        """One more frame is looked at."""


@dataclass(frozen=True)
class Subject:
    """A video, and what it is compared with: the true one, the photo it was made of."""

    video: Path
    truth: Path | None = None
    photo: Path | None = None


@dataclass(frozen=True)
class Examined:
    """What was found in one video; frames and seconds as they are in the file."""

    file: Path
    frames: int
    seconds: float
    fps: float
    measures: Measures


@dataclass(frozen=True)
class Tools:
    """What all videos are measured with."""

    finder: FaceFinder
    encoder: MiniHearing
    networks: Networks


def examine(subject: Subject, tools: Tools, features: Features, progress: Progress) -> Examined:
    """Measure a video; what the networks say of it is added to `features`.

    A video without sound has no measures of lips, one without truth none of likeness to it. Raises InputError when a
    file cannot be read, FaceError when no frame shows a face.
    """
    progress.stage(f"looking at {subject.video.name}")
    probe = footage.probe(subject.video)
    sound = speech.read(subject.video) if probe.sound_seconds else None
    picture = photo.decode(subject.photo) if subject.photo else None
    everybody = _Everybody(subject, probe, picture, tools.networks, features, sound, tools.finder)
    try:
        show(_told(watched(subject.video, tools.finder), probe.frames, progress), everybody.all())
    finally:
        everybody.beside.close()
    if everybody.apart is not None:
        show(watched(subject.video, tools.finder, syncnet.FPS), [everybody.apart])
    found = everybody.measures(probe.fps)
    if not found.face_share:
        raise FaceError(f"No frame of {subject.video} shows a face; nothing can be measured of it.")
    if sound is not None:
        found = _with_lips(found, everybody.mouth.values(), sound, probe, tools.encoder)
    return Examined(subject.video, probe.frames, round(probe.seconds, 3), probe.fps, found)


class _Beside:
    """Compares each frame with that of the truth at the same time; frames that only one of them has do not count."""

    def __init__(self, truth: Path | None, fps: float) -> None:
        self.fidelity = Fidelity()
        self._frames: Iterator[Frame] = iter(()) if truth is None else footage.read(truth, fps)

    def see(self, seen: Seen) -> None:
        """The next frame."""
        other = next(self._frames, None)
        if other is not None:
            self.fidelity.compare(seen.frame, other)

    def close(self) -> None:
        """Stop reading the truth."""
        if close := getattr(self._frames, "close", None):
            close()


class _Everybody:
    """All who look at one video."""

    def __init__(
        self,
        subject: Subject,
        probe: Probe,
        picture: Frame | None,
        networks: Networks,
        features: Features,
        sound: Sound | None,
        finder: FaceFinder,
    ) -> None:
        self.mouth, self.eyes, self.head = Curve(mouth_opening), Curve(eye_opening), Head(probe.fps)
        self.identity, self.picture, self.flicker = Identity(probe.fps), Picture(probe.fps), Flicker()
        self.seam, self.beside = Seam(picture), _Beside(subject.truth, probe.fps)
        device = networks.device
        self.likeness = self.sync = self.apart = None
        self.distributions: list[judges.Pictures | judges.Clips | judges.Expressions] = []
        if networks.inception is not None:
            self.distributions.append(judges.Pictures(networks.inception, device, features.fid))
        if networks.i3d is not None:
            self.distributions.append(judges.Clips(networks.i3d, device, features.fvd))
        if networks.reconstruction is not None:
            self.distributions.append(judges.Expressions(networks.reconstruction, device, features.efid))
        if networks.recogniser is not None:
            known = _reference(subject, picture, finder)
            embedded = None if known is None else networks.recogniser(*known)
            self.likeness = judges.Likeness(networks.recogniser, embedded)
        if networks.syncnet is not None and sound is not None:
            self.sync = judges.Sync(networks.syncnet, sound, probe.sound_delay or 0.0, device)
            if abs(probe.fps - syncnet.FPS) > 0.01:
                self.apart = self.sync  # it wants frames of its own

    def all(self) -> list[Onlooker]:
        """Those who see the frames as they are in the file."""
        free: list[Onlooker] = [
            self.mouth, self.eyes, self.head, self.identity, self.picture, self.flicker, self.seam, self.beside,
        ]  # fmt: skip
        together = None if self.apart is not None else self.sync
        return [*free, *self.distributions, *(one for one in (self.likeness, together) if one is not None)]

    def measures(self, fps: float) -> Measures:
        """What they found, but for the lips; to be asked once, when the video is over."""
        for one in (*self.distributions, self.sync):
            if one is not None:
                one.finish()
        opening = self.eyes.values()
        minutes = len(opening) / fps / 60
        score = self.sync.score() if self.sync is not None else None
        return Measures(
            face_share=float(np.isfinite(opening).mean()) if len(opening) else 0.0,
            identity_distance=self.identity.distance(),
            identity_drift=self.identity.drift(),
            colour_drift=self.picture.colour_drift(),
            sharpness_drift=self.picture.sharpness_drift(),
            flicker=self.flicker.mean(),
            head_speed=self.head.speed(),
            head_speed_variance=self.head.variance(),
            blink_rate=blinks(opening, fps) / minutes if minutes else None,
            seam=self.seam.step(),
            psnr=self.beside.fidelity.psnr(),
            ssim=self.beside.fidelity.ssim(),
            sync_confidence=score.confidence if score else None,
            sync_distance=score.distance if score else None,
            sync_offset=score.offset if score else None,
            face_similarity=self.likeness.similarity() if self.likeness else None,
            face_similarity_adjacent=self.likeness.adjacent() if self.likeness else None,
        )


def _with_lips(found: Measures, opening: np.ndarray, sound: Sound, probe: Probe, encoder: MiniHearing) -> Measures:
    told = lips.agreement(opening, lips.hear(sound, encoder), probe.fps, probe.sound_delay or 0.0)
    return replace(
        found,
        lip_agreement=told.agreement,
        lip_peak=told.peak,
        offset_frames=told.offset,
        offset_ms=None if told.offset is None else 1000 * told.offset / probe.fps,
        closures_met=told.closures_met,
        closed_in_vowels=told.closed_in_vowels,
    )


def _reference(subject: Subject, picture: Frame | None, finder: FaceFinder) -> tuple[Frame, np.ndarray] | None:
    """The picture and the landmarks of who should be seen: in the photo, else at the beginning of the truth."""
    if picture is not None:
        faces = finder.find(picture)
        if not faces:
            raise FaceError(f"No face is found in {subject.photo}; give the photo that the video was made of.")
        return picture, faces[0].landmarks
    if subject.truth is None:
        return None
    for seen in watched(subject.truth, finder):
        if seen.landmarks is not None:
            return seen.frame, seen.landmarks
    raise InputError(f"No frame of {subject.truth} shows a face; give the true video of the same person.")


def _told(frames: Iterator[Seen], total: int, progress: Progress) -> Iterator[Seen]:
    """The same frames, each told as it comes."""
    for done, seen in enumerate(frames, start=1):
        yield seen
        progress.frame(done, total)
