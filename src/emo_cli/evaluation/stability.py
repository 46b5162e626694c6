"""What should stay as it is in a video: who is seen, colour, sharpness, and brightness from frame to frame."""

from __future__ import annotations

import numpy as np

from emo_cli.evaluation.trend import Trend
from emo_cli.evaluation.watching import Seen
from emo_cli.face import pose
from emo_cli.face.landmarks import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS, STABLE

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709
CELLS = 16  # a side: flicker is measured in the mean brightness of so many parts


class Identity:
    """The shape of the face by points that speech hardly moves, its pose removed, second by second.

    A single frame's shape is as inexact as the mesh, so the mean of each second is compared with that of the first, in
    per cent of the distance of the outer eye corners.
    """

    def __init__(self, fps: float) -> None:
        self.second = max(1, round(fps))
        self._sum, self._count, self._frames = np.zeros((len(STABLE), 3)), 0, 0
        self._first: np.ndarray | None = None
        self._eyes = 1.0
        self._drift = Trend()

    def see(self, seen: Seen) -> None:
        """The next frame."""
        if seen.landmarks is not None:
            shape = unturned(seen.landmarks)
            self._sum += shape[list(STABLE)]
            self._count += 1
            if self._first is None:
                self._eyes = float(np.linalg.norm(shape[RIGHT_EYE_CORNERS[0]] - shape[LEFT_EYE_CORNERS[0]]))
        self._frames += 1
        if self._frames % self.second == 0:
            self._close()

    def _close(self) -> None:
        """A second is over."""
        if self._count:
            shape = self._sum / self._count
            if self._first is None:
                self._first = shape
            else:
                away = np.sqrt(np.square(shape - self._first).sum(1).mean())
                self._drift.add(self._frames / self.second, 100 * float(away) / self._eyes)
        self._sum, self._count = np.zeros_like(self._sum), 0

    def distance(self) -> float | None:
        """Mean distance from the first second; None for videos below two seconds."""
        return float(self._drift.value) / self._drift.count if self._drift.count else None

    def drift(self) -> float | None:
        """How fast that distance grows, per second; None below three seconds."""
        slope = self._drift.slope()
        return None if slope is None else float(slope)


def unturned(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (478, 3) -> the same face straight ahead, x right, y up, z to the camera, in centimetres of a mean
    face."""
    rotations, scale, _ = pose.rigid(landmarks[None])
    upright = landmarks.astype(np.float64) * (1, -1, -1)
    middle = upright[list(pose.STILL)].mean(0)
    return np.asarray((upright - middle) @ rotations[0] / scale[0])


class Picture:
    """Colour and sharpness of the whole frame, and their slopes."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._frames = 0
        self._colour, self._sharpness = Trend(), Trend()

    def see(self, seen: Seen) -> None:
        """The next frame."""
        seconds = self._frames / self.fps
        self._colour.add(seconds, seen.frame.mean((0, 1), dtype=np.float64))
        self._sharpness.add(seconds, sharpness(seen.frame @ LUMA))
        self._frames += 1

    def colour_drift(self) -> float | None:
        """Levels of 255 per second of the colour (red, green or blue) that changes most; negative: it fades."""
        slope = self._colour.slope()
        return None if slope is None else float(slope[np.abs(slope).argmax()])

    def sharpness_drift(self) -> float | None:
        """Per cent per second of the mean sharpness."""
        slope = self._sharpness.slope()
        usual = float(self._sharpness.value) / max(1, self._sharpness.count)
        return None if slope is None or usual == 0 else 100 * float(slope) / usual


def sharpness(luma: np.ndarray) -> float:
    """Mean absolute Laplacian of brightness (H, W)."""
    centre = luma[1:-1, 1:-1]
    return float(np.abs(luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * centre).mean())


class Flicker:
    """How much brightness jumps to and fro: a part that alternates by plus and minus one level counts 1.

    It is what each part of the picture, of 16 by 16, deviates from the mean of the frames before and after, halved.
    Even changes count nothing, motion a little, so it is read beside that of a real video.
    """

    def __init__(self) -> None:
        self._last: list[np.ndarray] = []
        self._sum, self._count = 0.0, 0

    def see(self, seen: Seen) -> None:
        """The next frame."""
        self._last = [*self._last[-2:], _cells(seen.frame)]
        if len(self._last) == 3:
            before, present, after = self._last
            self._sum += float(np.abs(present - (before + after) / 2).mean() / 2)
            self._count += 1

    def mean(self) -> float | None:
        """Levels of 255; None below three frames."""
        return self._sum / self._count if self._count else None


def _cells(frame: np.ndarray) -> np.ndarray:
    """Mean brightness (16, 16) of the parts of a frame; what does not divide is left out at the right and below."""
    height, width = (side // min(CELLS, side) for side in frame.shape[:2])
    rows, columns = min(CELLS, frame.shape[0]), min(CELLS, frame.shape[1])
    luma = frame[: height * rows, : width * columns] @ LUMA
    return np.asarray(luma.reshape(rows, height, columns, width).mean((1, 3)))
