"""A model folder of the bundled kind, small and untrained, that the whole command can open and animate with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from emo_cli.face.landmarks import triangles
from emo_cli.networks.conditions import SoundProjection
from emo_cli.networks.unet import UNet
from emo_cli.sound.encoders import MiniHearing
from emo_cli.training.fitting import fit_codec
from rig_fixture import small_rig
from tiny_pipeline import BOTH, WIDTHS, tiny


def save_tiny_model(folder: Path) -> Path:
    """Write the folder; frames come at 25 per second, their motion is small noise that obeys the seed."""
    rig = small_rig()
    codec = fit_codec(rig, torch.from_numpy(triangles()))
    codec.scale.fill_(0.05)  # centimetres: an untrained network shivers, and must not tear the face
    looks = {"scale_shift": True, "skip_inputs": False, "position_size": 8, "in_channels": codec.channels}
    drawn = tiny("mini")
    controls = ("steps", "guidance", "motion", "expression", "lips", "speed")
    torch.manual_seed(0)
    replace(
        drawn,
        family=drawn.family.with_changes(name="tiny", latent_channels=codec.channels, controls=controls),
        reference_net=UNet(out_channels=None, **WIDTHS, **looks).eval(),
        backbone=UNet(
            cross="audio", cross_width=12, temporal=BOTH, temporal_layers=1, speed="embedding", head_width=16,
            head_audio=60, head_gaze=True, out_channels=codec.channels, **WIDTHS, **looks,
        ).eval(),
        codec=codec,
        sound_encoder=MiniHearing(width=12, dilations=(1,), tokens=5).eval(),
        sound_projection=SoundProjection(5, 12, 12).eval(),
    ).save_pretrained(folder)  # fmt: skip
    return folder
