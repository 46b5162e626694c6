"""A page about a folder of training clips: how many, how long, how heads are held and move, and what they look like."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from emo_cli import __version__, footage, scratch
from emo_cli.dataset.limits import REASONS
from emo_cli.dataset.manifest import DroppedClip, TrainingClip, read_dropped, read_manifest, video_of

SAMPLES = 24
_SIDE = 160  # pixels of a sample frame
_BARS = 24
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
main, section { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
section { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
figure { margin: 0; } figcaption { font-size: .8rem; overflow-wrap: anywhere; }
svg { width: 100%; } rect { fill: #4a7fb5; } text { fill: currentColor; font-size: 11px; }
img { width: 100%; border-radius: .3rem; } table { border-collapse: collapse; }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; } td.number { text-align: right; }
""".strip()


def write_report(data: Path, page: Path) -> int:
    """Write the page about the clips in `data`; it needs no other file. Returns how many clips it tells of.

    Raises InputError where the folder holds no clips' list, OutputError where the page cannot be written.
    """
    clips, dropped = read_manifest(data), read_dropped(data)
    text = html(clips, dropped, _samples(data, clips))
    scratch.write_text(page, text)
    return len(clips)


def html(clips: Sequence[TrainingClip], dropped: Sequence[DroppedClip], samples: Iterable[tuple[str, bytes]]) -> str:
    """The page; samples: names of clips with a JPEG picture of each."""
    seconds = sum(clip.seconds for clip in clips)
    sources = len({clip.source for clip in clips} | {row.source for row in dropped})
    told = f"{len(clips)} clips, {seconds / 60:.1f} minutes, from {sources} videos"
    pictures = "".join(_picture(name, jpeg) for name, jpeg in samples)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{told}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{told}</h1>\n"
        f"<p>Made with emo {escape(__version__)}.</p>\n<main>\n{_histograms(clips)}\n</main>\n"
        f"<h2>Left out</h2>\n{_reasons(dropped)}\n<h2>Sources</h2>\n{_sources(clips, dropped)}\n"
        f"<h2>Sample frames</h2>\n<section>\n{pictures}\n</section>\n</body>\n</html>\n"
    )


def _histograms(clips: Sequence[TrainingClip]) -> str:
    axes = ("yaw", "pitch", "roll")
    charts = [("length, seconds", [clip.seconds for clip in clips])]
    charts += [(f"{name}, degrees", [clip.pose[axis] for clip in clips]) for axis, name in enumerate(axes)]
    charts += [(f"speed of {name}, degrees per frame", [clip.speed[axis] for clip in clips])
               for axis, name in enumerate(axes)]  # fmt: skip
    charts += [
        ("lips against sound, correlation", [clip.agreement for clip in clips]),
        ("sound late by, frames", [float(clip.lag) for clip in clips]),
        ("loudness, dB of full scale", [clip.loudness for clip in clips]),
    ]
    return "\n".join(histogram(title, values) for title, values in charts)


def histogram(title: str, values: Sequence[float]) -> str:
    """A bar chart as inline SVG, with least, middle and most value."""
    if not values:
        return f"<figure><figcaption>{escape(title)}: none</figcaption></figure>"
    low, high = min(values), max(values)
    counts, _ = np.histogram(values, _BARS, (low, high if high > low else low + 1))
    bars = "".join(
        f'<rect x="{10 * index}" y="{90 - 90 * count / counts.max():.1f}" width="9" '
        f'height="{90 * count / counts.max():.1f}"><title>{count}</title></rect>'
        for index, count in enumerate(counts)
        if count
    )
    width = 10 * _BARS
    words = f'<text x="0" y="105">{low:.3g}</text><text x="{width}" y="105" text-anchor="end">{high:.3g}</text>'
    return (
        f'<figure><svg viewBox="0 0 {width} 110" role="img" aria-label="{escape(title)}">{bars}{words}</svg>'
        f"<figcaption>{escape(title)}; half of the clips under {float(np.median(values)):.3g}</figcaption></figure>"
    )


def _reasons(dropped: Sequence[DroppedClip]) -> str:
    if not dropped:
        return "<p>Nothing.</p>"
    counts = Counter(row.reason for row in dropped)
    lengths = {reason: sum(row.stop - row.start for row in dropped if row.reason == reason) for reason in counts}
    rows = "".join(
        f'<tr><td>{escape(reason)}</td><td class="number">{count}</td><td class="number">{lengths[reason]:.1f} s</td>'
        f"<td>{escape(REASONS.get(reason, ''))}</td></tr>"
        for reason, count in counts.most_common()
    )
    return f"<table><tr><th>reason</th><th>stretches</th><th>length</th><th></th></tr>{rows}</table>"


def _sources(clips: Sequence[TrainingClip], dropped: Sequence[DroppedClip]) -> str:
    taken: Counter[str] = Counter()
    for clip in clips:
        taken[clip.source] += 1
    names = sorted({*taken, *(row.source for row in dropped)})
    rows = "".join(
        f'<tr><td>{escape(Path(name).name)}</td><td class="number">{taken[name]}</td>'
        f'<td class="number">{sum(clip.seconds for clip in clips if clip.source == name):.1f} s</td></tr>'
        for name in names[:500]
    )
    return f"<table><tr><th>video</th><th>clips</th><th>length</th></tr>{rows}</table>"


def _samples(data: Path, clips: Sequence[TrainingClip]) -> Iterable[tuple[str, bytes]]:
    """A frame from the middle of clips that are spread over the whole list."""
    step = max(1, len(clips) / SAMPLES)
    for clip in (clips[int(index * step)] for index in range(min(SAMPLES, len(clips)))):
        for frame in islice(footage.read(video_of(data, clip), start=clip.seconds / 2, count=1), 1):
            buffer = io.BytesIO()
            Image.fromarray(frame).resize((_SIDE, _SIDE)).save(buffer, "JPEG", quality=80)
            yield clip.name, buffer.getvalue()


def _picture(name: str, jpeg: bytes) -> str:
    coded = base64.b64encode(jpeg).decode("ascii")
    return (
        f'<figure><img src="data:image/jpeg;base64,{coded}" alt=""><figcaption>{escape(name)}</figcaption></figure>\n'
    )
