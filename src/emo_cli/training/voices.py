"""Synthetic speakers: who reads a text in training, what they read, and how."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emo_cli.errors import InputError
from emo_cli.training import espeak, festival, flite, sentences
from emo_cli.training.deliveries import Delivery
from emo_cli.training.phones import Phone

# Never trained on: they show how the encoder does on a voice and on languages it has not met. Festival's Italian
# voices are left out for the same reason.
UNSEEN = ("flite:awb", "espeak:it", "espeak:sv")

_FESTIVAL_SHARE, _FLITE_SHARE, _ENGLISH_SHARE = 0.3, 0.22, 0.2  # the rest is espeak-ng in any language
_EVEN_SHARE = 0.14
_TEXTS = 20  # tried with a voice before it is taken for broken


@dataclass(frozen=True)
class Spoken:
    """Clean speech (samples,) at 16 kHz with its phones, which cover the whole length; even: slow, without melody."""

    waveform: NDArray[np.float32]
    phones: tuple[Phone, ...]
    voice: str
    even: bool = False


class Speakers(Protocol):
    """A company of voices; the corpus is read aloud by one."""

    def cast(self, rng: np.random.Generator, unseen: bool) -> str:
        """The name of a voice; one of the held-out voices if `unseen`."""
        ...

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        """A random text of the voice's language, in a random delivery."""
        ...


class InstalledSpeakers:
    """Festival's, flite's and espeak-ng's voices; festival's only where they are installed."""

    def __init__(self) -> None:
        self._espeak, self._flite = espeak.Espeak(), flite.Flite()
        self._guests = festival.installed()
        self._festivals: dict[str, festival.Festival] = {}

    def cast(self, rng: np.random.Generator, unseen: bool) -> str:
        """A voice for one recording: voices made from people are heard about half of the time."""
        if unseen:
            name = str(rng.choice(UNSEEN))
            return name if name.startswith("flite") else name + str(rng.choice(espeak.VARIANTS))
        share = rng.random()
        if share < _FESTIVAL_SHARE and self._guests:
            return "festival:" + str(rng.choice(self._guests))
        if share < _FESTIVAL_SHARE + _FLITE_SHARE:
            return "flite:" + str(rng.choice(flite.VOICES, p=[0.42, 0.42, 0.16]))
        known = [name for name in espeak.LANGUAGES if f"espeak:{name}" not in UNSEEN]
        english = [name for name in known if name.startswith("en")]
        often = share < _FESTIVAL_SHARE + _FLITE_SHARE + _ENGLISH_SHARE
        return "espeak:" + str(rng.choice(english if often else known)) + str(rng.choice(espeak.VARIANTS))

    def say(self, voice: str, rng: np.random.Generator) -> Spoken:
        """One in seven is slow and even in pitch, ready to be sung."""
        program, name = voice.split(":")
        delivery = Delivery(int(rng.integers(90, 240)), int(rng.integers(5, 95)), int(rng.integers(15, 95)))
        even = rng.random() < _EVEN_SHARE
        if even:
            delivery = Delivery(int(rng.integers(80, 130)), int(rng.integers(20, 99)), int(rng.integers(0, 30)))
        for _ in range(_TEXTS):
            waveform, phones = self._spoken(program, name, self._text(program, name, rng), delivery)
            if phones:
                return Spoken(waveform, phones, voice, even)
        raise InputError(f"{program} cannot speak with its voice {name}. Install the voice again.")

    def _spoken(
        self, program: str, name: str, text: str, delivery: Delivery
    ) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
        if program != "festival":
            return (self._espeak if program == "espeak" else self._flite).speak(text, name, delivery)
        if name not in self._festivals:
            self._festivals[name] = festival.Festival(name)
            weakref.finalize(self, self._festivals[name].close)
        return self._festivals[name].speak(text, delivery)

    def _text(self, program: str, name: str, rng: np.random.Generator) -> str:
        if program == "espeak":
            script = "english" if name.startswith("en") else espeak.LANGUAGES[name.split("+")[0]]
        else:
            script = festival.VOICES[name].script if program == "festival" else "english"
        if script == "english" and rng.random() < 0.65:
            return sentences.english(rng)
        return sentences.invented(rng, "latin" if script == "english" else script)
