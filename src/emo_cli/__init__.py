"""Make a portrait speak or sing: the names for Python users, each loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "EmoError",
    "EmoPipeline",
    "Family",
    "Portrait",
    "Settings",
    "Sound",
    "Speech",
    "Strength",
    "__version__",
]

if TYPE_CHECKING:
    from emo_cli.errors import EmoError
    from emo_cli.family import Family
    from emo_cli.networks.codec import Strength
    from emo_cli.pipeline import EmoPipeline
    from emo_cli.portrait import Portrait
    from emo_cli.segments.scene import Settings
    from emo_cli.speech import Sound, Speech

_HOME = {
    "EmoError": "emo_cli.errors",
    "EmoPipeline": "emo_cli.pipeline",
    "Family": "emo_cli.family",
    "Portrait": "emo_cli.portrait",
    "Settings": "emo_cli.segments.scene",
    "Sound": "emo_cli.speech",
    "Speech": "emo_cli.speech",
    "Strength": "emo_cli.networks.codec",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562), so that importing the package costs no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
