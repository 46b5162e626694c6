"""The second pass over a video: its clips are cut out, looked at once more, and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from emo_cli import speech, video
from emo_cli.dataset.limits import Limits
from emo_cli.dataset.manifest import DroppedClip, TrainingClip, read_track, track_of, video_of
from emo_cli.dataset.sights import CaptionWatch, HandWatch
from emo_cli.dataset.soundtrack import Soundtrack
from emo_cli.errors import InputError


def cut(
    frames: Iterator[np.ndarray], planned: Iterable[TrainingClip], data: Path, limits: Limits, sound: Soundtrack
) -> Iterator[TrainingClip | DroppedClip]:
    """Write the video of each planned clip, whose tracks lie in `data` already; a clip that is dropped loses its track.

    frames: the source's, from its first on, as the first pass saw them; none of them is kept. planned: in the order of
    the source.
    """
    position = 0
    for clip in planned:
        first = round(clip.start * clip.fps)
        for _ in range(first - position):
            next(frames, None)
        position = first + clip.frames
        yield _written(frames, clip, data, limits, sound)


def _written(
    frames: Iterator[np.ndarray], clip: TrainingClip, data: Path, limits: Limits, sound: Soundtrack
) -> TrainingClip | DroppedClip:
    target, boxes = video_of(data, clip), read_track(track_of(data, clip), clip.frames).boxes
    hands, captions = HandWatch(limits.fps), CaptionWatch(limits.fps)

    def seen() -> Iterator[np.ndarray]:
        for index in range(clip.frames):
            whole = next(frames, None)
            if whole is None:
                raise InputError(f"{clip.source} gave fewer frames when it was read again; check the disk.")
            frame = _squared(whole, clip)
            if limits.hands:
                hands.push(index, frame, boxes[index])
            if limits.captions:
                captions.push(index, frame)
            yield frame

    with sound.piece(clip.start, clip.seconds) as piece:
        heard = None if piece is None else speech.read(piece)
        video.write(target, seen(), clip.fps, heard, overwrite=True)
    why = None
    if hands.found:
        why = "hands", f"Skin moves beside the face in {hands.share:.0%} of the looks."
    elif captions.found:
        why = "captions", f"Writing stands in the lower part in {captions.share:.0%} of the looks."
    if why is None:
        return clip
    target.unlink()
    track_of(data, clip).unlink()
    return DroppedClip(clip.source, round(clip.start, 3), round(clip.start + clip.seconds, 3), *why)


def _squared(frame: np.ndarray, clip: TrainingClip) -> np.ndarray:
    """The clip's square of a frame of the source, uint8 (size, size, 3)."""
    x, y, side = clip.crop
    box = (x, y, min(x + side, frame.shape[1]), min(y + side, frame.shape[0]))
    small = Image.fromarray(frame).resize((clip.size, clip.size), Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    return np.asarray(small)
