"""Head pose, blinks and gaze of a clip as a few independent normal numbers: plain noise already moves like a head.

Pose: P = yaw, pitch, roll in degrees relative to the photo, s = speed per axis. q = P / (kappa s). Given the known
frames, the new ones are q_new = A q_known + U sqrt(lambda) w with w white (conditional whitening of the trajectory).
Blinks: two numbers say whether one begins in this clip, and in which frame, through the normal distribution.
Gaze, where a model has it: three numbers (`glances.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from emo_cli.chart.glances import GazeWhitening
from emo_cli.stored import StoredNetwork, recorded

PROFILE = (0.35, 0.85, 1.0, 0.9, 0.6, 0.3, 0.1)
"""How far the lids are closed in the frames of a blink at 25 fps: down fast, up slowly."""
SPACING = 9
"""Least number of frames between the onsets of two blinks."""
LARGEST = 4.0
"""White numbers are clipped here in training."""


@dataclass(frozen=True)
class HeadState:
    """What a clip hands to the next one: pose of the known frames (batch, known, 3), lid closure still to come.

    lids: (batch, len(PROFILE)) closure of the next frames by blinks that have begun; rest: frames (batch,) until a
    new blink may begin; known_lids: (batch, known) closure of the known frames; known_gaze: (batch, known, 2) degrees,
    fixation: (batch, 2) where the eyes look at their end, gaze_rest: frames (batch,) until they may move on.
    """

    pose: Tensor
    lids: Tensor
    rest: Tensor
    known_lids: Tensor
    known_gaze: Tensor
    fixation: Tensor
    gaze_rest: Tensor

    @staticmethod
    def at_rest(batch: int, known: int) -> HeadState:
        """A head that looks as in the photo."""
        head = (batch, known, 3), (batch, len(PROFILE)), (batch,), (batch, known)
        eyes = (batch, known, 2), (batch, 2), (batch,)
        return HeadState(*(torch.zeros(shape) for shape in head + eyes))

    def tensors(self) -> tuple[Tensor, ...]:
        """All of it in the order of the constructor."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class HeadClip:
    """New frames of a clip: pose (batch, new, 3) and gaze (batch, new, 2) or None in degrees, lids (batch, new)."""

    pose: Tensor
    lids: Tensor
    gaze: Tensor | None


@dataclass(frozen=True)
class Looks:
    """Gaze of whole clips: saccades (batch, frames) bool, and the places they go to (batch, frames, 2), degrees."""

    saccades: Tensor
    fixations: Tensor


class HeadWhitening(StoredNetwork):
    """The table of conditional whitening; buffers only, fitted by `fit`."""

    kappa: Tensor
    carry: Tensor
    directions: Tensor
    spread: Tensor
    blink_chance: Tensor

    @recorded
    def __init__(self, known: int = 4, new: int = 16, rank: int = 5, gaze: bool = False) -> None:
        super().__init__()
        self.known, self.new, self.rank = known, new, rank
        self.gain = (new / rank) ** 0.5
        self.register_buffer("kappa", torch.ones(3))
        self.register_buffer("carry", torch.zeros(3, new, known))
        self.register_buffer("directions", torch.zeros(3, new, rank))
        self.register_buffer("spread", torch.ones(3, rank))
        self.register_buffer("blink_chance", torch.tensor(0.2))
        self.gaze = GazeWhitening(new) if gaze else None

    @property
    def numbers(self) -> int:
        """How many white numbers describe a clip: 3 rank + 2, and 3 more with gaze."""
        return 3 * self.rank + self.events

    @property
    def events(self) -> int:
        """How many of them, at the end, tell of blinks and gaze."""
        return 2 if self.gaze is None else 5

    def encode(
        self, pose: Tensor, onsets: Tensor, speed: Tensor, generator: torch.Generator, looks: Looks | None = None
    ) -> tuple[Tensor, Tensor]:
        """pose (batch, known + new, 3), blink onsets (batch, known + new), speed (batch, 3), all frames' gaze.

        Returns the known pose in units of its size (batch, known, 3) and the clip's white numbers (batch, numbers).
        """
        q = pose / (self.kappa * speed)[:, None]
        known, new = q[:, : self.known], q[:, self.known :]
        rest = new - torch.einsum("knm,bmk->bnk", self.carry, known)
        white = torch.einsum("knr,bnk->bkr", self.directions, rest) / self.spread
        blinks = self._encode_blinks(onsets[:, self.known :], generator)
        events = [blinks]
        if self.gaze is not None:
            assert looks is not None
            saccades, fixations = looks.saccades[:, self.known :], looks.fixations[:, self.known :]
            events.append(self.gaze.encode(saccades, fixations, generator))
        return known, torch.cat([white.flatten(1), *events], dim=1).clamp(-LARGEST, LARGEST)

    def decode(self, numbers: Tensor, speed: Tensor, state: HeadState) -> tuple[HeadClip, HeadState]:
        """White numbers of the clip behind `state` -> its new frames, and the state behind them."""
        size = (self.kappa * speed)[:, None]
        turns, events = self._parted(numbers)
        white = turns * self.spread
        q = torch.einsum("knm,bmk->bnk", self.carry, state.pose / size)
        pose = (q + torch.einsum("knr,bkr->bnk", self.directions, white)) * size
        lids, rest = self._decode_blinks(events[:, :2], state)
        new = self.new
        known_pose = torch.cat([state.pose, pose], dim=1)[:, -self.known :]
        known_lids = torch.cat([state.known_lids, lids[:, :new]], dim=1)[:, -self.known :]
        gaze, *eyes = self._decode_gaze(events[:, 2:], state)
        after = HeadState(known_pose, lids[:, new:], (rest - new).clamp(min=0), known_lids, *eyes)
        return HeadClip(pose, lids[:, :new], None if self.gaze is None else gaze), after

    def spread_out(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """White numbers -> their view per new frame (batch, new, 3), of unit size, and those of blinks and gaze."""
        white, events = self._parted(numbers)
        return torch.einsum("knr,bkr->bnk", self.directions, white) * self.gain, events

    def gather(self, frames: Tensor, events: Tensor) -> Tensor:
        """The inverse of spread_out."""
        white = torch.einsum("knr,bnk->bkr", self.directions, frames) / self.gain
        return torch.cat([white.flatten(1), events], dim=1)

    def _parted(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the pose (batch, 3, rank), and those of blinks and gaze (batch, events)."""
        turns, events = numbers[:, : -self.events], numbers[:, -self.events :]
        return turns.unflatten(1, (3, -1)), events

    def _decode_gaze(self, numbers: Tensor, state: HeadState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gaze (batch, new, 2), its last frames, where the eyes look then, and how long they must."""
        if self.gaze is None:
            return state.known_gaze, state.known_gaze, state.fixation, state.gaze_rest
        gaze, fixation, rest = self.gaze.decode(numbers, state.fixation, state.gaze_rest)
        return gaze, torch.cat([state.known_gaze, gaze], dim=1)[:, -self.known :], fixation, rest

    def _encode_blinks(self, onsets: Tensor, generator: torch.Generator) -> Tensor:
        blinks, frame = onsets.float().max(dim=1)
        uniform = torch.rand(len(onsets), 2, generator=generator)
        chance = self.blink_chance
        whether = torch.where(blinks > 0, 1 - chance + chance * uniform[:, 0], (1 - chance) * uniform[:, 0])
        when = torch.where(blinks > 0, (frame + uniform[:, 1]) / onsets.shape[1], uniform[:, 1])
        return torch.special.ndtri(torch.stack([whether, when], dim=1).clamp(1e-4, 1 - 1e-4))

    def _decode_blinks(self, numbers: Tensor, state: HeadState) -> tuple[Tensor, Tensor]:
        uniform = torch.special.ndtr(numbers)
        begins = uniform[:, 0] > 1 - self.blink_chance
        frame = (uniform[:, 1] * self.new).long().clamp(max=self.new - 1)
        frame = torch.maximum(frame, state.rest.long())
        begins = begins & (frame < self.new)
        lids = torch.zeros(len(numbers), self.new + len(PROFILE))
        lids[:, : len(PROFILE)] = state.lids
        profile = torch.tensor(PROFILE)
        for row in torch.nonzero(begins).flatten().tolist():
            at = int(frame[row])
            lids[row, at : at + len(PROFILE)] = torch.maximum(lids[row, at : at + len(PROFILE)], profile)
        return lids, torch.where(begins, frame.float() + SPACING, state.rest)

    @staticmethod
    def fit(
        poses: Sequence[Tensor],
        speeds: Sequence[Tensor],
        onsets: Sequence[Tensor],
        looks: Sequence[Looks] | None = None,
        noise: float = 0.004,
    ) -> HeadWhitening:
        """Fit the table to many utterances.

        Args:
            poses: (frames, 3) degrees of each, speeds: (3,), onsets: (frames,) of blinks; looks: its gaze without a
                batch, where the model is to have one.
        """
        table = HeadWhitening(gaze=looks is not None)
        if table.gaze is not None and looks is not None:
            table.gaze.fit([look.saccades for look in looks], [look.fixations for look in looks])
        clip = table.known + table.new
        usable = [i for i, pose in enumerate(poses) if len(pose) >= 3 * clip]
        windows = torch.cat([(poses[i] / speeds[i]).unfold(0, clip, 4) for i in usable])  # (windows, 3, clip)
        table.kappa = windows.square().mean((0, 2)).sqrt()
        q = (windows / table.kappa[:, None]).double()
        covariance = torch.einsum("nkf,nkg->kfg", q, q) / len(q)
        covariance = (covariance + covariance.flip(1, 2)) / 2  # time runs both ways in a stationary process
        table._condition(covariance, noise)
        starts = torch.cat([onsets[i].float().unfold(0, table.new, table.new).amax(1) for i in usable])
        table.blink_chance = starts.mean()
        return table

    def _condition(self, covariance: Tensor, noise: float) -> None:
        """Split the covariance (3, clip, clip) into what the known frames tell and the main directions of the rest."""
        known = self.known
        old, cross, new = covariance[:, :known, :known], covariance[:, known:, :known], covariance[:, known:, known:]
        carry = cross @ torch.linalg.inv(old + noise**2 * torch.eye(known, dtype=torch.float64))
        back = carry.transpose(1, 2)
        rest = new - carry @ cross.transpose(1, 2) - cross @ back + carry @ old @ back
        size, directions = torch.linalg.eigh(rest)
        self.carry = carry.float()
        self.directions = directions.flip(2)[:, :, : self.rank].float().contiguous()
        self.spread = size.flip(1)[:, : self.rank].clamp(min=1e-9).sqrt().float()
