"""flite in training: voices that were made from recordings of people, with the end time of every sound.

A separate program used in training only; what it speaks is free of its licence.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from emo_cli.errors import InputError
from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.training.deliveries import Delivery
from emo_cli.training.phones import SPHINX, Phone, from_segments
from emo_cli.training.recordings import resample

VOICES = ("slt", "rms", "kal16")


class Flite:
    """flite, run as a program; it prints the end time of every segment.

    Raises InputError where flite is not installed.
    """

    _SEGMENT = re.compile(r"([a-z]+):([0-9.]+)")

    def __init__(self) -> None:
        self._program = shutil.which("flite")

    def speak(self, text: str, voice: str, delivery: Delivery) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
        """Waveform (samples,) at 16 kHz and phones. `voice` is slt, rms, awb or kal16."""
        if self._program is None:
            raise InputError("flite is missing; install the package flite to make training speech.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            command = [
                self._program, "-voice", voice, "--setf", f"duration_stretch={165 / delivery.rate:.3f}",
                "--setf", f"int_f0_target_mean={70 + 1.9 * delivery.pitch:.0f}", "-psdur", "-t", text, "-o", str(path),
            ]  # fmt: skip
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            waveform, rate = soundfile.read(path, dtype="float32")
        segments = [(name, float(stop)) for name, stop in self._SEGMENT.findall(printed)]
        return resample(waveform, rate, SAMPLE_RATE), from_segments(segments, len(waveform) / rate, SPHINX)
