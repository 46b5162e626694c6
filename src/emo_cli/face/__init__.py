"""Find faces and their 478 landmarks in pictures, with nothing but torch and the packaged weights."""

from __future__ import annotations

from emo_cli.face.finder import FaceFinder
from emo_cli.face.found import Box, Detection, Face

__all__ = ["Box", "Detection", "Face", "FaceFinder"]
