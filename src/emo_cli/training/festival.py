"""Festival and its voices, most of them cut from recordings of real people: the nearest to human sound in training.

A program used in training only. The table says under which licence Debian ships each voice and what it reads.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from emo_cli.errors import InputError
from emo_cli.sound.resampler import RATE as SAMPLE_RATE
from emo_cli.training.deliveries import Delivery
from emo_cli.training.phones import CATALAN, CZECH, FINNISH, RUSSIAN, SPHINX, Phone, from_segments
from emo_cli.training.recordings import resample

_PLACES = (Path("/usr/share/festival/voices"), Path("/usr/local/share/festival/voices"))
_SAY = """(define (emo-say text stretch file)
  (Parameter.set 'Duration_Stretch stretch)
  (let ((said (utt.synth (eval (list 'Utterance 'Text text)))))
    (utt.save.wave said file 'riff)
    (mapcar (lambda (part) (format t "emo-segment %s %f\\n" (item.name part) (item.feat part 'end)))
            (utt.relation.items said 'Segment))))"""
_END = '(begin (format t "emo-done\\n") (fflush nil))'


@dataclass(frozen=True)
class FestivalVoice:
    """A voice: festival's name, Debian's package and its licence, the text it reads, what its segments are called."""

    name: str
    package: str
    licence: str
    script: str
    segments: dict[str, str]


VOICES: dict[str, FestivalVoice] = {
    "slt-hts": FestivalVoice("cmu_us_slt_arctic_hts", "festvox-us-slt-hts", "BSD-like", "english", SPHINX),
    "kal": FestivalVoice("kal_diphone", "festvox-kallpc16k", "BSD-like", "english", SPHINX),
    "ked": FestivalVoice("ked_diphone", "festvox-kdlpc16k", "BSD-like", "english", SPHINX),
    "nsh": FestivalVoice("msu_ru_nsh_clunits", "festvox-ru", "BSD-like", "cyrillic", RUSSIAN),
    "ona": FestivalVoice("upc_ca_ona_hts", "festvox-ca-ona-hts", "LGPL-2.1+", "latin", CATALAN),
    "lj": FestivalVoice("suo_fi_lj_diphone", "festvox-suopuhe-lj", "LGPL-2+", "latin", FINNISH),
    "mv": FestivalVoice("hy_fi_mv_diphone", "festvox-suopuhe-mv", "LGPL-2+", "latin", FINNISH),
    "dita": FestivalVoice("czech_dita", "festvox-czech-dita", "GPL-3+", "latin", CZECH),
    "krb": FestivalVoice("czech_krb", "festvox-czech-krb", "GPL-3+", "latin", CZECH),
    "machac": FestivalVoice("czech_machac", "festvox-czech-machac", "GPL-3+", "latin", CZECH),
    "ph": FestivalVoice("czech_ph", "festvox-czech-ph", "GPL-2+", "latin", CZECH),
}


class Festival:
    """A festival process that reads with one voice; `close` ends it.

    Voices change festival's own rules for reading, so each needs a process of its own. Raises InputError where festival
    is not installed.
    """

    def __init__(self, voice: str) -> None:
        program = shutil.which("festival")
        if program is None:
            raise InputError("festival is missing; install the package festival to make training speech.")
        self.voice = VOICES[voice]
        self._process = subprocess.Popen(
            [program, "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._folder = tempfile.TemporaryDirectory()
        self._tell(f"(voice_{self.voice.name})")
        self._tell(_SAY)

    def close(self) -> None:
        """End the process and remove what it wrote."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def speak(self, text: str, delivery: Delivery) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
        """Waveform (samples,) at 16 kHz and phones. Pitch is the voice's own.

        Both are empty where the voice cannot say the text: some have no way to read some letters.
        """
        path = Path(self._folder.name) / "speech.wav"
        plain = text.replace('"', "")
        self._tell(f'(emo-say "{plain}" {165 / delivery.rate:.3f} "{path}")')
        self._tell(_END)
        segments = self._segments()
        if not segments:
            return np.zeros(0, np.float32), ()
        waveform, rate = soundfile.read(path, dtype="float32")
        phones = from_segments(segments, len(waveform) / rate, self.voice.segments)
        return resample(waveform, rate, SAMPLE_RATE), phones

    def _segments(self) -> list[tuple[str, float]]:
        """What was reported until the end mark; nothing after an error, from which festival goes on by itself."""
        assert self._process.stdout is not None
        segments: list[tuple[str, float]] = []
        for line in self._process.stdout:
            if line.startswith("emo-done"):
                return segments
            if line.startswith("emo-segment"):
                name, _, stop = line.removeprefix("emo-segment").strip().rpartition(" ")
                segments.append((name, float(stop)))
        raise InputError("festival ended while it spoke. Install festival and its voices again.")

    def _tell(self, expression: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()


def installed() -> tuple[str, ...]:
    """The keys of VOICES that this machine has, in the table's order."""
    present = {path.name for place in _PLACES if place.is_dir() for path in place.glob("*/*")}
    return tuple(key for key, voice in VOICES.items() if voice.name in present)
