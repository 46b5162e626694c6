"""Everything that can go wrong for a user: one sentence with the next step, and one exit code per kind."""

from __future__ import annotations


class EmoError(Exception):
    """A mistake or shortage the user can act on; its text is one sentence plus the next step."""

    exit_code = 1


class UsageError(EmoError):
    """The command was asked for something that does not go together."""

    exit_code = 2


class InputError(EmoError):
    """A photo, sound, video or data file cannot be read."""

    exit_code = 3


class FaceError(EmoError):
    """No face was found, or the asked face is not there."""

    exit_code = 4


class WeightsError(EmoError):
    """Weights are missing, refused or corrupt."""

    exit_code = 5


class IncompatibleCheckpoint(WeightsError):
    """A checkpoint's keys or shapes do not match the network they are meant for."""


class DeviceError(EmoError):
    """The device is absent, or its memory is too small."""

    exit_code = 6


class OutputError(EmoError):
    """The output cannot be written, or exists already."""

    exit_code = 7


class BatchError(EmoError):
    """Some jobs of a batch failed; the others are done."""

    exit_code = 8


class ModelError(EmoError):
    """The model gave a bad result (not a number, or black frames) after a retry."""

    exit_code = 9
