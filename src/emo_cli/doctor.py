"""What this machine can do: all that a maintainer would ask for first, and how to mend what is missing."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from emo_cli import __version__, device, ffmpeg
from emo_cli.catalogue import known_models, readable
from emo_cli.errors import DeviceError, WeightsError
from emo_cli.weights import status

PACKAGES = ("torch", "diffusers", "transformers", "huggingface_hub", "numpy", "pillow", "soundfile")
ENCODERS = ("libx264", "aac", "libx265", "libvpx-vp9", "libsvtav1", "h264_nvenc", "h264_videotoolbox")


@dataclass(frozen=True)
class Finding:
    """One thing looked at; a problem is a sentence with the next step, and has its exit code."""

    name: str
    value: str
    problem: str | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class Health:
    """All findings, in the order they are told."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """That of the first problem; 0 when `emo animate` can work here."""
        return next((finding.exit_code for finding in self.findings if finding.problem), 0)


def examine() -> Health:
    """Look at everything that making a video needs; never raises for what it finds."""
    return Health(
        (
            Finding("emo", __version__),
            Finding("python", f"{platform.python_version()} ({sys.executable})"),
            Finding("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
            *_packages(),
            *_devices(),
            *_ffmpeg(),
            *_models(),
            _cache(),
        )
    )


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "missing", f"Install it: pip install {name}", 1)


def _devices() -> Iterator[Finding]:
    for place in device.available():
        memory = device.memory(place)
        parts = [device.describe(place)]
        if memory.total:
            parts.append(f"{memory.total / 2**30:.1f} GiB")
        if memory.free:
            parts.append(f"{memory.free / 2**30:.1f} GiB free")
        yield Finding(f"device {place}", ", ".join(parts))


def _ffmpeg() -> Iterator[Finding]:
    """The ffmpeg that writes the videos, and which of the usual encoders this build has."""
    try:
        program = ffmpeg.program()
        listing = _ask(program, "-encoders")
        build = re.search(r"version (\S+)", _ask(program, "-version"))
    except DeviceError as error:
        yield Finding("ffmpeg", "missing", str(error), error.exit_code)
        return
    except (OSError, subprocess.SubprocessError) as error:
        reason = f"It does not run ({error}). Install it again: pip install --force-reinstall imageio-ffmpeg"
        yield Finding("ffmpeg", "broken", reason, DeviceError.exit_code)
        return
    yield Finding("ffmpeg", f"{build[1] if build else 'of unknown version'} ({program})")
    present = [name for name in ENCODERS if re.search(rf"\s{re.escape(name)}\s", listing)]
    missing = [name for name in ("libx264", "aac") if name not in present]
    problem = f"This build lacks {' and '.join(missing)}: unset IMAGEIO_FFMPEG_EXE." if missing else None
    yield Finding("encoders", ", ".join(present), problem, DeviceError.exit_code if missing else 0)


def _ask(program: str, question: str) -> str:
    answer = subprocess.run(
        [program, "-hide_banner", question], capture_output=True, check=True, text=True, timeout=30,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return answer.stdout


def _models() -> Iterator[Finding]:
    try:
        models = known_models()
    except WeightsError as error:
        yield Finding("models", "unknown", str(error), error.exit_code)
        return
    for model in models:
        found = status(model)
        problem = None
        if model.bundled and found.state == "incomplete":
            problem = f"Its files are missing from {found.folder}: install emo again."
        elif found.state == "incomplete":
            problem = f"It is not whole: {found.problems[0]}. Mend it with `emo weights get {model.name}`."
        where = f"{found.state}, {readable(found.size)}"
        if found.state in ("in the package", "fetched"):
            where = f"{readable(found.size)} ({found.folder})"
        yield Finding(f"model {model.name}", where, problem, WeightsError.exit_code if problem else 0)


def _cache() -> Finding:
    """Weights of other models that were fetched before."""
    try:
        cached = {repo.repo_id: repo.size_on_disk for repo in scan_cache_dir().repos}
        wanted = {part.repository for model in known_models() for part in model.all_files()}
    except (CacheNotFound, OSError, WeightsError):
        return Finding("cached weights", "none")
    found = [f"{name} ({size / 1e9:.1f} GB)" for name, size in cached.items() if name in wanted]
    return Finding("cached weights", ", ".join(sorted(found)) or "none")
