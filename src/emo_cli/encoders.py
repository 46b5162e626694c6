"""Which encoder makes H.264: the graphics card's own, where it really does, else x264 on the processor."""

from __future__ import annotations

from emo_cli import ffmpeg

PROCESSORS = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p")
CARDS = (
    "-c:v", "h264_nvenc", "-preset", "p5", "-tune", "hq", "-rc", "vbr", "-cq", "19", "-b:v", "0",
    "-pix_fmt", "yuv420p",
)  # fmt: skip
TRIED, PATIENCE = 5, 20.0  # pictures, seconds


def h264(card: bool, width: int, height: int) -> tuple[str, ...]:
    """ffmpeg's words for pictures of a size. card: they come from a graphics card, so its encoder is tried first."""
    return CARDS if card and works(CARDS, width, height) else PROCESSORS


def works(words: tuple[str, ...], width: int, height: int) -> bool:
    """Whether ffmpeg really encodes a few pictures of this size with these words.

    That it knows an encoder tells little: the driver may be missing or too old, all of a card's sessions may be taken,
    the pictures too large for it, and some cards encode nothing at all.
    """
    pictures = ["-f", "lavfi", "-i", f"color=size={width}x{height}:rate=25", "-frames:v", str(TRIED)]
    with ffmpeg.running([*pictures, *words, "-f", "null", "-"], limit=PATIENCE) as trial:
        return trial.failure(PATIENCE) is None
