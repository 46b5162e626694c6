"""The twenty mouth shapes of speech, and how the sounds that a speaking program reports map to them."""
# ruff: noqa: RUF001 - phonetic letters are meant as such

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emo_cli.sound.encoders import PHONES as PHONES

VOWELS: tuple[str, ...] = ("a", "ah", "e", "i", "o", "u", "y", "er")

# Sounds that look alike share a class (visemes, Fisher 1968): voicing and nasality are invisible on a face,
# so p, b and m are one class, and every sound made behind the teeth ridge is "k".
_SYMBOLS: tuple[tuple[str, str], ...] = (
    ("a", "aäɑæɐɶ"),
    ("ah", "ʌəɜɘɞ"),
    ("e", "eɛœε"),
    ("i", "iɪɨᵻj"),
    ("o", "oɔɒøɤ"),
    ("u", "uʊʉɯɵ"),
    ("y", "yʏ"),
    ("er", "ɚɝ"),
    ("p", "pbmɓ"),
    ("f", "fvɱɸβʋ"),
    ("w", "wɥʍ"),
    ("r", "rɹɾɻʁɽ"),
    ("s", "szɕʑ"),
    ("t", "tdʈɖɗ"),
    ("l", "lɫʎɭɬ"),
    ("th", "θð"),
    ("sh", "ʃʒʂʐ"),
    ("k", "kɡgqxɣhħŋɢχʔɦʕcɟçɴ"),
    ("n", "nɲɳ"),
)
_IPA = {symbol: name for name, symbols in _SYMBOLS for symbol in symbols}
_AFFRICATES = ("tʃ", "dʒ", "tɕ", "dʑ", "tʂ", "dʐ")

# The names that programs give their segments.
SPHINX = {
    "aa": "a", "ae": "a", "ah": "ah", "ao": "o", "aw": "a u", "ax": "ah", "axr": "er", "ay": "a i", "b": "p",
    "ch": "sh", "d": "t", "dh": "th", "dx": "t", "eh": "e", "el": "l", "em": "p", "en": "n", "er": "er",
    "ey": "e i", "f": "f", "g": "k", "hh": "k", "hv": "k", "ih": "i", "iy": "i", "jh": "sh", "k": "k", "l": "l",
    "m": "p", "n": "n", "ng": "k", "nx": "n", "ow": "o u", "oy": "o i", "p": "p", "pau": "sil", "r": "r",
    "s": "s", "sh": "sh", "t": "t", "th": "th", "uh": "u", "uw": "u", "v": "f", "w": "w", "y": "i", "z": "s",
    "zh": "sh",
}  # fmt: skip

CZECH = {
    "a": "a", "a:": "a", "e": "e", "e:": "e", "i": "i", "i:": "i", "o": "o", "o:": "o", "u": "u", "u:": "u", "b": "p",
    "p": "p", "m": "p", "f": "f", "v": "f", "s": "s", "z": "s", "c": "s", "dz": "s", "s~": "sh", "z~": "sh",
    "c~": "sh", "dz~": "sh", "t": "t", "d": "t", "t~": "t", "d~": "t", "n": "n", "n~": "n", "n*": "k", "k": "k",
    "g": "k", "h": "k", "ch": "k", "x": "k", "j": "i", "l": "l", "r": "r", "r~": "sh", "r~*": "sh", "ou": "o u",
}  # fmt: skip
FINNISH = {
    "a": "a", "@": "a", "e": "e", "i": "i", "o": "o", "7": "o", "u": "u", "y": "y", "&": "ah", "p": "p", "b": "p",
    "m": "p", "f": "f", "v": "f", "t": "t", "d": "t", "k": "k", "g": "k", "h": "k", "N": "k", "s": "s", "z": "s",
    "S": "sh", "Z": "sh", "T": "th", "D": "th", "n": "n", "l": "l", "L": "l", "r": "r", "w": "w", "j": "i",
}  # fmt: skip
FINNISH |= {f"{name}:": shape for name, shape in FINNISH.items()}
CATALAN = {
    "a": "a", "a1": "a", "ax": "ah", "e": "e", "e1": "e", "E": "e", "E1": "e", "i": "i", "i1": "i", "j": "i",
    "o": "o", "o1": "o", "O": "o", "O1": "o", "u": "u", "u1": "u", "w": "w", "b": "p", "p": "p", "m": "p", "f": "f",
    "d": "t", "t": "t", "g": "k", "k": "k", "s": "s", "z": "s", "S": "sh", "Z": "sh", "J": "n", "n": "n", "l": "l",
    "L": "l", "r": "r", "rr": "r",
}  # fmt: skip
RUSSIAN = {
    "a": "a", "aa": "a", "ae": "e", "ay": "i", "e": "e", "ee": "e", "i": "i", "ii": "i", "y": "i", "yy": "i",
    "oo": "o", "u": "u", "uu": "u", "ur": "u", "j": "i", "c": "s", "ch": "sh", "sh": "sh", "sch": "sh", "zh": "sh",
}  # fmt: skip
# A doubled letter is a soft consonant: the lips do the same.
RUSSIAN |= {
    letter * times: shape
    for letters, shape in zip(("pbm", "fv", "sz", "td", "kgh", "n", "l", "r"), "pfstknlr", strict=True)
    for letter in letters
    for times in (1, 2)
}

# The first part of a diphthong is its longer part (Lehiste & Peterson 1961).
_NUCLEUS = 0.6


@dataclass(frozen=True)
class Phone:
    """One mouth shape from `start` to `stop`, in seconds; `name` is one of PHONES."""

    start: float
    stop: float
    name: str


def from_espeak(events: Sequence[tuple[float, str]], seconds: float) -> tuple[Phone, ...]:
    """Phones that cover 0..seconds, from espeak-ng's (start in seconds, IPA symbols) events.

    An empty symbol is a pause. Marks such as "(en)", a change of language, last no time and are skipped.
    """
    sounds = [(start, _classes(symbols)) for start, symbols in events if not symbols.startswith(("(", "_"))]
    sounds = [(start, names) for start, names in sounds if names and start < seconds]
    if not sounds or sounds[0][0] > 0.0:
        sounds.insert(0, (0.0, ("sil",)))
    stops = [start for start, _ in sounds[1:]] + [seconds]
    return _split((start, stop, names) for (start, names), stop in zip(sounds, stops, strict=True))


def from_segments(segments: Sequence[tuple[str, float]], seconds: float, names: dict[str, str]) -> tuple[Phone, ...]:
    """Phones that cover 0..seconds, from (segment name, stop in seconds) pairs as flite and festival report them.

    names: one or two classes of each segment; one that is missing is taken for a pause.
    """
    starts = [0.0] + [stop for _, stop in segments]
    spans = [
        (start, min(stop, seconds), tuple(names.get(name, "sil").split()))
        for start, (name, stop) in zip(starts, segments, strict=False)
    ]
    if starts[-1] < seconds:
        spans.append((starts[-1], seconds, ("sil",)))
    return _split(spans)


def shifted(phones: Sequence[Phone], offset: float, scale: float = 1.0) -> tuple[Phone, ...]:
    """The same phones on a recording that was stretched by `scale`, then delayed by `offset` seconds."""
    return tuple(Phone(phone.start * scale + offset, phone.stop * scale + offset, phone.name) for phone in phones)


def _classes(symbols: str) -> tuple[str, ...]:
    """At most two classes of one espeak event: a diphthong has two, "aʊ" -> ("a", "u").

    None for a mark without a sound of its own, such as a lone "ʲ": the sound before it goes on.
    """
    if not symbols:
        return ("sil",)
    if symbols.startswith(_AFFRICATES):
        return ("sh",)
    names: list[str] = []
    for symbol in unicodedata.normalize("NFD", symbols):
        name = _IPA.get(symbol)
        if name is not None and (not names or names[-1] != name):
            names.append(name)
    return tuple(names[:2])


def _split(spans: Iterable[tuple[float, float, tuple[str, ...]]]) -> tuple[Phone, ...]:
    phones: list[Phone] = []
    for start, stop, names in spans:
        middle = start + (stop - start) * (_NUCLEUS if len(names) == 2 else 1.0)
        edges = (start, middle, stop) if len(names) == 2 else (start, stop)
        for name, first, last in zip(names, edges[:-1], edges[1:], strict=True):
            if last - first > 1e-3:
                phones.append(Phone(first, last, name))
    return tuple(phones)
