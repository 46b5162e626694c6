"""The networks that learn from real video, as one module: a noisy clip and its conditions in, losses out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from emo_cli import sampling
from emo_cli.family import Family
from emo_cli.networks.attention import KeysValues
from emo_cli.networks.audio import RegionMasks
from emo_cli.networks.unet import Conditions, Reference
from emo_cli.pipeline import EmoPipeline
from emo_cli.segments.carry import pictures


@dataclass(frozen=True)
class Task:
    """A batch on the learner's device.

    clean (batch, f, c, h, w): latents of the frames; noise of the same shape; t (batch,): training steps 0..999;
    portrait (batch, c, h, w), earlier (batch, n, c, h, w): latents of the reference and the motion frames; face, masks,
    sound, speed: as in material.Shots. A condition that is left out is None.
    """

    clean: Tensor
    noise: Tensor
    t: Tensor
    portrait: Tensor | None = None
    earlier: Tensor | None = None
    face: Tensor | None = None
    masks: RegionMasks | None = None
    sound: Tensor | None = None
    speed: Tensor | None = None

    def without(self, everything: bool = False, sound: bool = False, speed: bool = False) -> Task:
        """The task with conditions left out, as guidance leaves them out: earlier frames and regions always stay."""
        task = replace(self, portrait=None, face=None, sound=None) if everything else self
        task = replace(task, sound=None) if sound else task
        return replace(task, speed=None) if speed else task


class Learner(nn.Module):
    """All networks of a model but codec and sound encoder. weighting: gamma of min-SNR; still: single pictures."""

    levels: Tensor

    def __init__(self, pipeline: EmoPipeline, weighting: float, still: bool) -> None:
        super().__init__()
        self.family: Family = pipeline.family
        self.reference_net, self.backbone = pipeline.reference_net, pipeline.backbone
        self.face_locator, self.sound_projection = pipeline.face_locator, pipeline.sound_projection
        self.speed_layers, self.identity_projection = pipeline.speed_layers, pipeline.identity_projection
        self.weighting, self.still = weighting, still
        self.register_buffer("levels", sampling.noise_levels(), persistent=False)

    def forward(self, task: Task) -> dict[str, Tensor]:
        """Losses: "total", weighted by the noise level, and "error", the plain mean square.

        v-prediction (Salimans and Ho 2022) on noise whose last step holds no signal (Lin et al. 2024): with a the share
        of signal, x_t = sqrt(a) x + sqrt(1 - a) e and v = sqrt(a) e - sqrt(1 - a) x.
        """
        share = self.levels[task.t][:, None, None, None, None]
        noisy = share.sqrt() * task.clean + (1 - share).sqrt() * task.noise
        v = share.sqrt() * task.noise - (1 - share).sqrt() * task.clean
        said = self.backbone(noisy, task.t, self.conditions(task)).sample
        error = (said.float() - v).square().mean((1, 2, 3, 4))
        return {"total": (error * weights(self.levels[task.t], self.weighting)).mean(), "error": error.mean()}

    def conditions(self, task: Task) -> Conditions:
        """What the Backbone is told, computed as segments/carry.py and blend.py compute it."""
        person = self._identity(len(task.clean))
        identity = None if person is None else self.backbone.recognise(person)
        reference = motion = None
        if task.portrait is not None:
            reference = self.backbone.remember(self._look(task.portrait, person))
        if task.earlier is not None:
            count = task.earlier.shape[1]
            known = None if person is None else person.repeat_interleave(count, dim=0)
            motion = pictures(self._look(task.earlier.flatten(0, 1), known), len(task.earlier))
        return Conditions(
            reference=reference,
            audio=self._hear(task.sound),
            motion=motion,
            face=self._locate(task.face),
            identity=identity,
            speed=None if task.speed is None or self.speed_layers is None else self.speed_layers(task.speed),
            masks=task.masks,
            still=self.still,
        )

    def _look(self, latents: Tensor, person: Tensor | None) -> Reference:
        told = None if person is None else self.reference_net.recognise(person)
        return self.reference_net.look(latents, told)

    def _hear(self, sound: Tensor | None) -> tuple[tuple[KeysValues, ...], ...] | None:
        if sound is None:
            return None
        tokens: Tensor = sound if self.sound_projection is None else self.sound_projection(sound)
        return self.backbone.listen(tokens)

    def _locate(self, face: Tensor | None) -> Tensor | None:
        if face is None or self.face_locator is None:
            return None
        located: Tensor = self.face_locator(face.expand(-1, self.face_locator.config["mask_channels"], -1, -1))
        return located

    def _identity(self, batch: int) -> Tensor | None:
        """Tokens of nobody, whom such a model knows too: the face recognition network is not in training."""
        if self.identity_projection is None:
            return None
        zeros = torch.zeros(batch, self.identity_projection.config["features"], device=self.levels.device)
        nobody: Tensor = self.identity_projection(zeros)
        return nobody


def weights(share: Tensor, most: float) -> Tensor:
    """How much an error of v counts at a share of signal (batch,): min-SNR (Hang et al. 2023), SNR = a / (1 - a).

    Their weight of v, min(SNR, gamma) / (SNR + 1), is zero where there is no signal, which is where sampling begins
    here; so 1 is added to both: min(SNR + 1, gamma) / (SNR + 1), which is 1 there.
    """
    snr = share / (1 - share)
    return (snr + 1).clamp(max=most) / (snr + 1)
