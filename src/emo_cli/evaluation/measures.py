"""What is measured of a video, in which unit, and which way is better; one row per figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

Better = Literal["higher", "lower", "as the truth"]


@dataclass(frozen=True)
class Measures:
    """The figures of one video, or the means of several; None where a figure cannot be told. `ROWS` explains each."""

    face_share: float | None = None
    lip_agreement: float | None = None
    lip_peak: float | None = None
    offset_frames: float | None = None
    offset_ms: float | None = None
    closures_met: float | None = None
    closed_in_vowels: float | None = None
    identity_distance: float | None = None
    identity_drift: float | None = None
    colour_drift: float | None = None
    sharpness_drift: float | None = None
    flicker: float | None = None
    head_speed: float | None = None
    head_speed_variance: float | None = None
    blink_rate: float | None = None
    seam: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    fid: float | None = None
    sync_confidence: float | None = None
    sync_distance: float | None = None
    sync_offset: float | None = None
    face_similarity: float | None = None
    face_similarity_adjacent: float | None = None
    fvd: float | None = None
    expression_fid: float | None = None


@dataclass(frozen=True)
class Row:
    """How one figure is shown: its field, a name, its unit, digits behind the point, and which way is better."""

    field: str
    title: str
    unit: str
    digits: int
    better: Better


ROWS = (
    Row("face_share", "frames with a face", "0..1", 3, "higher"),
    Row("lip_agreement", "lips with sound, as they are", "r", 3, "higher"),
    Row("lip_peak", "lips with sound, at the best lag", "r", 3, "higher"),
    Row("offset_frames", "lips late by", "frames", 2, "as the truth"),
    Row("offset_ms", "lips late by", "ms", 0, "as the truth"),
    Row("closures_met", "lips close for /p b m/", "0..1", 3, "higher"),
    Row("closed_in_vowels", "lips closed in open vowels", "0..1", 3, "lower"),
    Row("identity_distance", "face's shape from its first second", "% of eyes", 2, "lower"),
    Row("identity_drift", "face's shape drifts", "% of eyes/s", 3, "lower"),
    Row("colour_drift", "colour drifts", "levels/s", 3, "as the truth"),
    Row("sharpness_drift", "sharpness drifts", "%/s", 2, "as the truth"),
    Row("flicker", "flicker", "levels", 3, "as the truth"),
    Row("head_speed", "head turns", "degrees/s", 2, "as the truth"),
    Row("head_speed_variance", "variance of it from clip to clip", "(degrees/s)^2", 2, "as the truth"),
    Row("blink_rate", "blinks", "per minute", 1, "as the truth"),
    Row("seam", "step at the border of what changes", "levels", 2, "lower"),
    Row("psnr", "PSNR", "dB", 2, "higher"),
    Row("ssim", "SSIM", "0..1", 4, "higher"),
    Row("fid", "FID", "", 2, "lower"),
    Row("sync_confidence", "SyncNet confidence (LSE-C)", "", 3, "higher"),
    Row("sync_distance", "SyncNet distance (LSE-D)", "", 3, "lower"),
    Row("sync_offset", "SyncNet: lips late by", "frames", 2, "as the truth"),
    Row("face_similarity", "F-SIM with the reference", "%", 2, "as the truth"),
    Row("face_similarity_adjacent", "F-SIM of one frame with the next", "%", 2, "as the truth"),
    Row("fvd", "FVD", "", 2, "lower"),
    Row("expression_fid", "E-FID", "", 3, "lower"),
)


@dataclass(frozen=True)
class PaperRow:
    """The columns of EMO's Table 1 in its order; None where the weights were not given, or no truth."""

    fid: float | None
    syncnet: float | None
    f_sim: float | None
    fvd: float | None
    e_fid: float | None


PAPER_TITLES = ("FID", "SyncNet", "F-SIM", "FVD", "E-FID")


def paper_row(found: Measures) -> PaperRow:
    """The five figures that EMO's Table 1 has of a set of videos."""
    return PaperRow(found.fid, found.sync_confidence, found.face_similarity, found.fvd, found.expression_fid)


def mean(several: Sequence[Measures]) -> Measures:
    """The mean of each figure over the videos that have it."""
    return _combined(lambda values: sum(values) / len(values) if values else None, several)


def difference(first: Measures, second: Measures) -> Measures:
    """Second minus first, where both have the figure."""
    return _combined(lambda values: values[1] - values[0] if len(values) == 2 else None, (first, second))


def _combined(combine: Callable[[list[float]], float | None], several: Iterable[Measures]) -> Measures:
    rows = list(several)
    values = {
        name: combine([value for row in rows if (value := getattr(row, name)) is not None])
        for name in (field.name for field in fields(Measures))
    }
    return Measures(**values)
