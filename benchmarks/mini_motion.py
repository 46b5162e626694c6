"""How well a mini model moves on synthetic voices it never heard, beside the teacher it learned from.

    python benchmarks/mini_motion.py --model FOLDER --corpus FOLDER --rig basis.npz [--steps 4] [--guidance 2]

Prints one JSON object: mouth gap, closures, jitter against the teacher; head pose and speed of 10-second chains.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from emo_cli.face.landmarks import INNER_MOUTH_CORNERS, LOWER_LIP_INNER_MIDDLE, UPPER_LIP_INNER_MIDDLE
from emo_cli.networks.codec import Canvas
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.scene import Settings
from emo_cli.sound.melody import Melody
from emo_cli.training.bank import Take, act, windows
from emo_cli.training.corpus import Utterance, load
from emo_cli.training.head import head_motion, speed
from emo_cli.training.rig import Rig
from emo_cli.training.targets import displacement, random_reference

RIGHT, LEFT = INNER_MOUTH_CORNERS
CLOSED, NEARLY_CLOSED = 0.22, 0.27  # centimetres of gap
SECONDS = 10
CHAINS, FEW = 32, 5  # ten seconds of slow turns say little, so many are needed; --speed scales them all alike
NO_MASK = np.zeros((8, 8), np.float32)


Move = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(face (1, 468, 3), sound tokens (frames, 10, width)) -> displacement (frames, 468, 3)."""


def mouth(pipeline: EmoPipeline, rig: Rig, takes: list[Take], move: Move) -> dict[str, float]:
    """Agreement of gap and width with the teacher's, share of closures met, jitter ratio."""
    rows, closures, shut = [], [], []
    for index, take in enumerate(takes):
        canonical = random_reference(rig, 1, torch.Generator().manual_seed(index))
        taught = displacement(rig, pipeline.codec, canonical, take.weights[None], take.closure[None])[0]
        moved = move(canonical, windows(take.features, 0, len(take), 10))
        gaps = [gap(canonical[0] + way) for way in (taught, moved)]
        wide = [(way[:, LEFT, 0] - way[:, RIGHT, 0]).numpy() for way in (taught, moved)]
        jitter = [float(np.abs(np.diff(curve, 2)).mean()) for curve in gaps]
        rows.append([correlation(*gaps), correlation(*wide), *jitter, gaps[0].std(), gaps[1].std()])
        closed = gaps[0] < CLOSED
        closures += (gaps[1][closed] < NEARLY_CLOSED).tolist()
        shut += (gaps[1][gaps[0] > 0.6] < NEARLY_CLOSED).tolist()
    mean = np.nanmean(rows, axis=0)
    return {
        "clips": len(rows),
        "gap_r": round(mean[0], 3),
        "width_r": round(mean[1], 3),
        "closures_met": round(float(np.mean(closures)), 3),
        "false_closures": round(float(np.mean(shut)), 3),
        "jitter_ratio": round(mean[3] / mean[2], 3),
        "amplitude_ratio": round(mean[5] / mean[4], 3),
    }


def head(pipeline: EmoPipeline, rig: Rig, chains: list[Chain], settings: Settings) -> dict[str, object]:
    """Pose statistics of generated chains over the teacher's at the same speed, and what --speed does."""
    taught, made = [], []
    for index, chain in enumerate(chains):
        chances = [np.random.default_rng([index, k]) for k in range(8)]
        draws = [head_motion(chain.loudness, 25.0, 1.0, chance, chain.melody).pose for chance in chances]
        taught.append(np.mean([statistics(pose) for pose in draws], axis=0))
        model = pipeline_at(pipeline, np.mean([speed(pose) for pose in draws], axis=0))
        made.append(statistics(_pose(model, rig, chain, replace(settings, seed=index))))
    ratio = (np.mean(made, axis=0) / np.mean(taught, axis=0)).round(2)
    speeds = {
        str(factor): round(
            float(np.mean([statistics(_pose(pipeline, rig, chain, replace(settings, speed=factor)))[3:6]
                           for chain in chains[:FEW]])), 4,
        )
        for factor in (0.5, 1.0, 1.5)
    }  # fmt: skip
    return {
        "deviation_over_teacher": ratio[:3].tolist(),
        "speed_over_teacher": ratio[3:6].tolist(),
        "second_difference_over_teacher": ratio[6:].tolist(),
        "degrees_per_frame_at_speed": speeds,
    }


def _pose(pipeline: EmoPipeline, rig: Rig, chain: Chain, settings: Settings) -> np.ndarray:
    """Head pose (frames, 3) that the model makes for one chain, on a face drawn for its seed."""
    canonical = random_reference(rig, 1, torch.Generator().manual_seed(settings.seed))
    return generated(pipeline, canonical, chain.sound, settings)[1].numpy()


class Chain:
    """Ten seconds of joined held-out recordings: loudness (1000,), melody (500, 2), sound tokens (250, 10, width)."""

    def __init__(self, pipeline: EmoPipeline, utterances: list[Utterance]) -> None:
        rows = SECONDS * 100
        mel = np.concatenate([item.mel for item in utterances])[:rows].astype(np.float32)
        self.loudness = np.concatenate([item.loudness for item in utterances])[:rows].astype(np.float32)
        with torch.no_grad():
            heard = torch.from_numpy(mel)[None]
            features = pipeline.sound_encoder.features(heard)[0]
            self.melody = Melody()(heard)[0].numpy()
        self.sound = windows(features, 0, SECONDS * 25, 10)


def chains_of(pipeline: EmoPipeline, utterances: list[Utterance], count: int) -> list[Chain]:
    """Join recordings until ten seconds are full."""
    chains, waiting = [], []
    for item in utterances:
        waiting.append(item)
        if sum(len(part.mel) for part in waiting) >= SECONDS * 100:
            chains.append(Chain(pipeline, waiting))
            waiting = []
        if len(chains) == count:
            break
    return chains


def pipeline_at(pipeline: EmoPipeline, usual: np.ndarray) -> EmoPipeline:
    """The same model with another usual head speed."""
    parts = pipeline.parts()
    return EmoPipeline(family=pipeline.family.with_changes(speed=tuple(float(v) for v in usual)), **parts)


def generated(
    pipeline: EmoPipeline, canonical: torch.Tensor, sound: torch.Tensor, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Displacement (frames, 468, 3) with the lips closed as the codec does, and pose (frames, 3)."""
    canvas = Canvas(pipeline.codec.reference(canonical), None)
    motions = list(pipeline.motions(canvas, NO_MASK, sound, settings))
    moved, closure = pipeline.codec.unpack(torch.cat([motion.latents for motion in motions]))
    firm = pipeline.codec.drawn_together(closure)
    return pipeline.codec.close_lips(canonical, moved, firm), torch.cat([motion.pose for motion in motions])


def gap(points: torch.Tensor) -> np.ndarray:
    """Inner-lip gap in centimetres (frames,) of points (frames, 468, 3)."""
    return (points[:, UPPER_LIP_INNER_MIDDLE, 1] - points[:, LOWER_LIP_INNER_MIDDLE, 1]).numpy()


def statistics(pose: np.ndarray) -> np.ndarray:
    """Deviation, mean speed and mean second difference per axis (9,)."""
    return np.concatenate([pose.std(0), *(np.abs(np.diff(pose, n, axis=0)).mean(0) for n in (1, 2))])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; not a number for a still curve."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 and b.std() > 1e-6 else float("nan")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model", "--corpus", "--rig"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--split", default="unseen voices", choices=("validation", "unseen voices"))
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--only", choices=("mouth", "head"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pipeline, rig = EmoPipeline.from_pretrained(chosen.model), Rig.load(chosen.rig)
    settings = Settings(seed=0, steps=chosen.steps, guidance=chosen.guidance)
    spoken = [item for item in load(chosen.corpus, chosen.split) if item.voice != "none" and len(item.mel) >= 160]
    result: dict[str, object] = {"model": str(chosen.model), "split": chosen.split}
    if chosen.only != "head":
        random = np.random.default_rng(7)
        takes = [act(item, pipeline.sound_encoder, rig, random) for item in spoken[: chosen.clips]]
        result |= mouth(pipeline, rig, takes, lambda face, sound: generated(pipeline, face, sound, settings)[0])
    if chosen.only != "mouth":
        result |= head(pipeline, rig, chains_of(pipeline, spoken, CHAINS), settings)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
