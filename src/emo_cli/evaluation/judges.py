"""Those who look at a video through a published network, if its file is there: FID, FVD, E-FID, F-SIM, SyncNet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from emo_cli.evaluation.frechet import Gaussian
from emo_cli.evaluation.published import arcface, cepstra, i3d, inception, reconstruction, syncnet
from emo_cli.evaluation.watching import Seen
from emo_cli.face.crops import cut
from emo_cli.face.found import Square
from emo_cli.speech import RATE, Sound

BATCH = 8
SMOOTHED = 13  # frames whose median places the face that SyncNet sees
ROOM, LOWER = 1.4, 0.4  # of half the face: the crop reaches so far beyond it, and its middle lies so far below


@dataclass(frozen=True)
class WeightFiles:
    """Where the published files lie; None for those that are not there."""

    fid: Path | None = None
    fvd: Path | None = None
    efid: Path | None = None
    fsim: Path | None = None
    syncnet: Path | None = None


@dataclass(frozen=True)
class Networks:
    """The networks of the files that are there, on one device."""

    device: torch.device
    inception: inception.Inception | None = None
    i3d: i3d.I3D | None = None
    reconstruction: reconstruction.Reconstruction | None = None
    recogniser: arcface.Recogniser | None = None
    syncnet: syncnet.SyncNet | None = None


def opened(files: WeightFiles, device: torch.device) -> Networks:
    """Open all files before the first frame is looked at; raises WeightsError for one that does not fit."""
    return Networks(
        device,
        inception.opened(files.fid).to(device) if files.fid else None,
        i3d.opened(files.fvd).to(device) if files.fvd else None,
        reconstruction.opened(files.efid).to(device) if files.efid else None,
        arcface.opened(files.fsim, device) if files.fsim else None,
        syncnet.opened(files.syncnet).to(device) if files.syncnet else None,
    )


@dataclass
class Features:
    """What the networks said of all videos of a set, for the Fréchet distances."""

    fid: Gaussian = field(default_factory=Gaussian)
    fvd: Gaussian = field(default_factory=Gaussian)
    efid: Gaussian = field(default_factory=Gaussian)


class Batches:
    """Collects prepared pictures and lets a network see several at once; features go to a Gaussian."""

    def __init__(
        self, network: Callable[[torch.Tensor], torch.Tensor], device: torch.device, told: Gaussian, size: int = BATCH
    ) -> None:
        self.network, self.device, self.told, self.size = network, device, told, size
        self._waiting: list[torch.Tensor] = []

    def add(self, picture: torch.Tensor) -> None:
        """One more (1, ...)."""
        self._waiting.append(picture)
        if len(self._waiting) == self.size:
            self.finish()

    @torch.inference_mode()
    def finish(self) -> None:
        """Let the network see what is still waiting."""
        if self._waiting:
            self.told.add(self.network(torch.cat(self._waiting).to(self.device)))
        self._waiting = []


class Pictures:
    """FID: every frame as the Inception network sees it."""

    def __init__(self, network: inception.Inception, device: torch.device, told: Gaussian) -> None:
        self._batches = Batches(network, device, told)

    def see(self, seen: Seen) -> None:
        """The next frame."""
        self._batches.add(inception.prepared(_planes(seen.frame)))

    def finish(self) -> None:
        """The video is over."""
        self._batches.finish()


class Clips:
    """FVD: clips of 16 frames one behind another; what is left at the end is no clip."""

    def __init__(self, network: i3d.I3D, device: torch.device, told: Gaussian) -> None:
        self._batches = Batches(network, device, told, size=1)
        self._frames: list[torch.Tensor] = []

    def see(self, seen: Seen) -> None:
        """The next frame."""
        self._frames.append(i3d.prepared(_planes(seen.frame)))
        if len(self._frames) == i3d.FRAMES:
            self._batches.add(torch.cat(self._frames, 2))
            self._frames = []

    def finish(self) -> None:
        """The video is over."""


class Expressions:
    """E-FID: the expression of every face."""

    def __init__(self, network: reconstruction.Reconstruction, device: torch.device, told: Gaussian) -> None:
        self._batches = Batches(lambda faces: network(faces)[:, reconstruction.EXPRESSION], device, told)

    def see(self, seen: Seen) -> None:
        """The next frame."""
        if seen.landmarks is not None:
            self._batches.add(reconstruction.prepared(seen.frame, seen.landmarks))

    def finish(self) -> None:
        """The video is over."""
        self._batches.finish()


class Likeness:
    """F-SIM: how alike the faces are to the reference, and each to the next, per cent.

    reference: embedding (512,) of the photo; without it the first face of the video stands for it, and is not compared.
    """

    def __init__(self, recogniser: arcface.Recogniser, reference: np.ndarray | None) -> None:
        self.recogniser, self.reference = recogniser, reference
        self._last: np.ndarray | None = None
        self._with_reference: list[float] = []
        self._adjacent: list[float] = []

    def see(self, seen: Seen) -> None:
        """The next frame."""
        if seen.landmarks is None:
            self._last = None
            return
        present = self.recogniser(seen.frame, seen.landmarks)
        if self.reference is None:
            self.reference = present
        else:
            self._with_reference.append(arcface.likeness(present, self.reference))
        if self._last is not None:
            self._adjacent.append(arcface.likeness(present, self._last))
        self._last = present

    def similarity(self) -> float | None:
        """Mean over the frames."""
        return float(np.mean(self._with_reference)) if self._with_reference else None

    def adjacent(self) -> float | None:
        """Mean over pairs of frames in a row."""
        return float(np.mean(self._adjacent)) if self._adjacent else None


class Sync:
    """SyncNet: windows of five frames of the face, at 25 frames per second, beside the sound.

    The face's square is taken from its landmarks as the authors take it from their detector's box, its place and size
    being the median of 13 frames.
    """

    def __init__(self, network: syncnet.SyncNet, sound: Sound, sound_delay: float, device: torch.device) -> None:
        self._distances = syncnet.Distances(network, cepstra.cepstra(sound.samples, round(sound_delay * RATE)), device)
        self._frames: list[np.ndarray] = []  # those that still wait for their square
        self._boxes: list[tuple[float, float, float]] = []
        self._faces: list[torch.Tensor] = []
        self._waiting: list[torch.Tensor] = []

    def see(self, seen: Seen) -> None:
        """The next frame."""
        if seen.landmarks is not None:
            low, high = seen.landmarks[:, :2].min(0), seen.landmarks[:, :2].max(0)
            box = (*((low + high) / 2), float((high - low).max()) / 2)
            missing = 1 if self._boxes else len(self._frames) + 1
            self._boxes += [box] * missing
        elif self._boxes:
            self._boxes.append(self._boxes[-1])
        elif len(self._frames) == SMOOTHED:  # frames must not pile up until a face comes
            height, width = seen.frame.shape[:2]
            self._boxes += [(width / 2, height / 2, min(width, height) / 4)] * (SMOOTHED + 1)
        self._frames.append(seen.frame)
        if len(self._boxes) >= SMOOTHED:
            while len(self._frames) > SMOOTHED // 2:
                self._cut(self._frames.pop(0))
            self._boxes = self._boxes[-SMOOTHED:]

    def _cut(self, frame: np.ndarray) -> None:
        """Cut the face out of the oldest waiting frame; every fifth of them makes a window."""
        x, y, half = np.median(np.array(self._boxes[-SMOOTHED:]), 0)
        square = Square(float(x), float(y + LOWER * half), float(2 * ROOM * half), 0.0)
        self._faces.append(cut(frame, square, syncnet.SIDE).flip(1))  # blue first, as the network knows them
        if len(self._faces) == syncnet.FRAMES:
            self._waiting.append(torch.stack(self._faces, 2))
            self._faces = self._faces[1:]
        if len(self._waiting) == BATCH:
            self._listen()

    def _listen(self) -> None:
        if self._waiting:
            self._distances.add(torch.cat(self._waiting))
        self._waiting = []

    def finish(self) -> None:
        """The video is over."""
        while self._frames and self._boxes:
            self._cut(self._frames.pop(0))
        self._listen()

    def score(self) -> syncnet.SyncScore | None:
        """None for videos without a face, or shorter than a window."""
        return self._distances.score()


def _planes(frame: np.ndarray) -> torch.Tensor:
    """A frame (H, W, 3) as (1, 3, H, W), 0..255."""
    return torch.from_numpy(frame.transpose(2, 0, 1).copy())[None].float()
