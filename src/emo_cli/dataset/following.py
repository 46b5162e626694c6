"""Follow the one face of a video, and notice when there is none, or another one beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_cli.face import Face, FaceFinder
from emo_cli.face.detector import detect
from emo_cli.face.found import overlap

_LOOK_AGAIN = 0.2  # seconds between two searches while there is no face
_COUNT_AGAIN = 0.5  # seconds between two counts of faces
_ALSO = 0.15  # of the face's area: smaller faces are pictures on the wall
_SURE = 0.6
_JUMP = 0.35  # of the face's width from one frame to the next: the video jumps


@dataclass(frozen=True)
class Sight:
    """What one frame shows.

    points: landmarks (478, 3) of the face, None if there is none. counted: whether the faces were counted in this
    frame; others: how many there are besides, at the last count. jumped: the face is elsewhere than a frame ago.
    """

    points: np.ndarray | None
    counted: bool
    others: int
    jumped: bool


NOTHING = Sight(None, False, 0, False)


class FaceWatch:
    """Looks at frame after frame; memory holds one face."""

    def __init__(self, finder: FaceFinder, fps: float) -> None:
        self.finder = finder
        self._search, self._count = (max(1, round(seconds * fps)) for seconds in (_LOOK_AGAIN, _COUNT_AGAIN))
        self.forget()

    def forget(self) -> None:
        """The next frame belongs to another shot."""
        self._face: Face | None = None
        self._others, self._until_count, self._until_search = 0, 0, 0

    def look(self, frame: np.ndarray) -> Sight:
        """The face in a frame uint8 (height, width, 3)."""
        last, face = self._face, self.finder.follow(frame, self._face) if self._face else None
        if face is None and (last is not None or self._until_search <= 0):
            face = max(self.finder.upright(frame), key=lambda found: found.box.area, default=None)
            self._until_search = self._search
        self._until_search -= 1
        self._face = face
        if face is None:
            self._until_count = 0
            return NOTHING
        self._until_count -= 1
        counted = self._until_count < 0
        if counted:
            self._others = self._beside(frame, face)
            self._until_count = self._count - 1
        return Sight(face.landmarks, counted, self._others, last is not None and _jumped(last, face))

    def _beside(self, frame: np.ndarray, face: Face) -> int:
        """How many other faces of some size there are."""
        found = [*detect(self.finder.short_range, frame), *detect(self.finder.full_range, frame)]
        others = [
            seen
            for seen in found
            if seen.score >= _SURE and seen.box.area >= _ALSO * face.box.area and overlap(seen.box, face.box) < 0.05
        ]
        return sum(1 for i, seen in enumerate(others) if all(overlap(seen.box, o.box) < 0.3 for o in others[:i]))


def _jumped(last: Face, face: Face) -> bool:
    (x, y), (to_x, to_y) = last.box.centre, face.box.centre
    grown = face.box.width / max(last.box.width, 1e-6)
    return bool(np.hypot(to_x - x, to_y - y) > _JUMP * last.box.width or not 0.75 < grown < 1.33)
