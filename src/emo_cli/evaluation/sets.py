"""Sets of videos, measured beside their truth and beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emo_cli import device
from emo_cli.errors import InputError, UsageError
from emo_cli.evaluation import frechet, judges
from emo_cli.evaluation.examination import Examined, Progress, Subject, Tools, examine
from emo_cli.evaluation.judges import Features, WeightFiles
from emo_cli.evaluation.measures import Measures, PaperRow, difference, mean, paper_row
from emo_cli.face import FaceFinder
from emo_cli.sound.encoders import MiniHearing
from emo_cli.weights import locate

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi")
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif")


NO_FILES = WeightFiles()


@dataclass(frozen=True)
class EvaluateOptions:
    """What the user wants: one or two videos or folders, the truth and the photos (a file, or a folder of files of the
    same names), published weights, and the device for them."""

    videos: tuple[Path, ...]
    truth: Path | None = None
    photo: Path | None = None
    weights: WeightFiles = NO_FILES
    device: str = "auto"


@dataclass(frozen=True)
class VideoSet:
    """A video or a folder of them: the figures of each and their means, with FID, FVD and E-FID of all together."""

    name: str
    videos: tuple[Examined, ...]
    mean: Measures
    paper: PaperRow


@dataclass(frozen=True)
class Evaluation:
    """The sets as they were asked for, the truth's own figures, and the second set minus the first."""

    sets: tuple[VideoSet, ...]
    truth: VideoSet | None
    difference: Measures | None
    notes: tuple[str, ...]


def evaluate(options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Measure everything that was asked for.

    Raises InputError for files that cannot be read or have no partner, FaceError for a video without a face,
    WeightsError for published files that do not fit.
    """
    asked = [_subjects(path, options) for path in options.videos]
    truths = _truths(asked)
    place = device.choose(options.device)
    progress.stage("opening the networks")
    encoder = MiniHearing.from_pretrained(locate("mini") / "sound_encoder")
    tools = Tools(FaceFinder(), encoder, judges.opened(options.weights, place.device))
    true, against = None, None
    if truths:
        against = Features()
        true = _measured("ground truth", truths, tools, against, None, progress)
    sets = [
        _measured(name, subjects, tools, Features(), against, progress)
        for name, subjects in zip(_names(options.videos), asked, strict=True)
    ]
    change = difference(sets[0].mean, sets[1].mean) if len(sets) == 2 else None
    return Evaluation(tuple(sets), true, change, tuple(_notes(options, [*sets, *([true] if true else [])])))


def _measured(
    name: str,
    subjects: Sequence[Subject],
    tools: Tools,
    features: Features,
    against: Features | None,
    progress: Progress,
) -> VideoSet:
    """All videos of a set; against: what the networks said of the truth."""
    found = tuple(examine(subject, tools, features, progress) for subject in subjects)
    means = mean([one.measures for one in found])
    if against is not None:
        means = replace(
            means,
            fid=frechet.distance(features.fid, against.fid),
            fvd=frechet.distance(features.fvd, against.fvd),
            expression_fid=frechet.distance(features.efid, against.efid),
        )
    return VideoSet(name, found, means, paper_row(means))


def _names(paths: Sequence[Path]) -> list[str]:
    """What the sets are called: the last parts of their paths, as many as tell them apart."""
    longest = max(len(path.parts) for path in paths)
    for count in range(1, longest + 1):
        names = [str(Path(*path.parts[-count:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _subjects(path: Path, options: EvaluateOptions) -> list[Subject]:
    """The videos that a path means, each with its partners."""
    if path.is_dir():
        videos = _listed(path, VIDEOS)
        if not videos:
            raise InputError(f"The folder {path} holds no videos ({', '.join(VIDEOS)}); choose another one.")
    else:
        videos = [path]
    return [
        Subject(one, _partner(one, path, options.truth, VIDEOS), _partner(one, path, options.photo, PHOTOS))
        for one in videos
    ]


def _partner(video: Path, asked: Path, other: Path | None, suffixes: tuple[str, ...]) -> Path | None:
    """The file that belongs to a video: the one that was given, or the one of its name in the folder that was given."""
    if other is None:
        return None
    if other.is_dir():
        found = next((path for path in _listed(other, suffixes) if path.stem == video.stem), None)
        if found is None:
            raise InputError(f"{other} holds nothing of the name {video.stem}, which {video} needs; add it there.")
        return found
    if asked.is_dir():
        raise UsageError(f"{asked} is a folder, so {other} must be one too, with files of the same names.")
    return other


def _listed(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())


def _truths(asked: Sequence[Sequence[Subject]]) -> list[Subject]:
    """The true videos of all sets, each once."""
    known: dict[Path, Subject] = {}
    for subject in (subject for subjects in asked for subject in subjects):
        if subject.truth is not None:
            known.setdefault(subject.truth, Subject(subject.truth, photo=subject.photo))
    return list(known.values())


def _notes(options: EvaluateOptions, sets: Sequence[VideoSet]) -> list[str]:
    """What could not be told, and what would be needed."""
    notes = []
    compared = {"FID": options.weights.fid, "FVD": options.weights.fvd, "E-FID": options.weights.efid}
    wanting = [name for name, path in compared.items() if path is not None]
    if wanting and options.truth is None:
        notes.append(f"{', '.join(wanting)} compare with true videos; give them with --truth.")
    silent = [str(one.file) for group in sets for one in group.videos if one.measures.lip_agreement is None]
    if silent:
        notes.append(f"Without sound nothing is told of the lips of {', '.join(silent[:3])}.")
    return notes
