"""What a training clip must be like: the numbers behind every reason for which a stretch of video is left out."""

from __future__ import annotations

from dataclasses import dataclass

REASONS = {
    "unreadable": "the file is damaged or no video",
    "no face": "no face is seen",
    "two faces": "more than one face is seen",
    "short": "it is shorter than a clip",
    "small": "the face is so small that it would be blown up",
    "cut off": "the face leaves the picture",
    "camera": "the camera moves",
    "background": "something moves behind the head",
    "silent": "there is no sound, or nothing to hear",
    "disagrees": "lips and sound do not belong together",
    "hands": "skin moves beside the face: hands",
    "captions": "writing stands in the picture",
}
"""Every word that may stand as `reason` in dropped.jsonl, and what it means."""


@dataclass(frozen=True)
class Limits:
    """What `emo dataset prepare` asks of a clip (EMO, section 4.1 and supplement B, where the paper says).

    fps, size: of the clips. shortest, longest: seconds. room: side of the square in sizes of the box around all of the
    clip's faces. camera: how far the camera may wander, as a share of the picture's width; background: how much may
    change behind the head from frame to frame, of full scale. agreement: least correlation of lips and sound; lag:
    most seconds between them. hands, captions: whether they are looked for.
    """

    fps: float = 25.0
    size: int = 512
    shortest: float = 3.0
    longest: float = 12.0
    room: float = 2.0
    camera: float = 0.02
    background: float = 0.03
    agreement: float = 0.15
    lag: float = 0.2
    hands: bool = True
    captions: bool = True

    @property
    def fewest(self) -> int:
        """Frames of the shortest clip."""
        return round(self.shortest * self.fps)

    @property
    def most(self) -> int:
        """Frames of the longest clip."""
        return round(self.longest * self.fps)
