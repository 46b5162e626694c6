"""Which sound tracks go into a video as they are, and which must be encoded anew."""

from __future__ import annotations

import subprocess
from collections.abc import Container
from fractions import Fraction
from pathlib import Path

from emo_cli import ffmpeg

GAP = 0.003  # seconds between the end of a packet and the next one's time stamp, as rounding in some files makes them
WARM_UP = 0.1  # seconds before time 0 that a decoder may need and that nobody hears
TAIL = 0.12  # seconds after the end that a last packet may hold


def copyable(source: Path, seconds: float, known: Container[str]) -> str | None:
    """The codec of a file's first sound track if its packets can be copied, or None.

    seconds: how long the sound is, decoded; known: codecs that the video's container holds well. The packets must
    follow each other from time 0 to the end: where time stamps are wrong, only decoding keeps the lips in time.
    """
    arguments = [*ffmpeg.input_file(source), "-map", "0:a:0", "-c", "copy", "-f", "framecrc", "pipe:1"]
    base, codec = Fraction(1), ""
    end: float | None = None
    longest = 0.0
    with ffmpeg.running(arguments, output=subprocess.PIPE, limit=600) as reader:
        for line in reader.stdout:
            words = line.decode("ascii", "replace").replace(",", " ").split()
            if words[0] == "#tb":
                base = Fraction(words[2])
            elif words[0] == "#codec_id":
                codec = words[2]
                if codec not in known:
                    return None
            elif words[0] == "0":
                begin, length = float(int(words[2]) * base), float(int(words[3]) * base)
                early = begin < -WARM_UP or begin > GAP if end is None else abs(begin - end) > GAP
                if early:
                    return None
                end, longest = begin + length, max(longest, length)
        if reader.failure() is not None or end is None:
            return None
    return codec if -GAP <= end - seconds <= min(1.5 * longest, TAIL) + GAP else None
