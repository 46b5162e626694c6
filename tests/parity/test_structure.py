"""Every key and shape of the official checkpoints exists in our networks, built without memory."""

import json
import re
from pathlib import Path

import pytest
import torch

from emo_cli.networks.conditions import FaceLocator, IdentityProjection, WindowProjection
from emo_cli.networks.unet import UNet

HERE = Path(__file__).parent
HALLO_DEAD = re.compile(r"denoising_unet\.(down_blocks\.3|up_blocks\.0)\.motion_modules\.")  # stored, but never run
ALWAYS = (True, True, True, True)


def stored(family: str, *files: str, prefix: str = "") -> dict[str, list[int]]:
    """Keys and shapes of official files; tables of positions are computed, not stored, by us."""
    listed = json.loads((HERE / family / "checkpoint_keys.json").read_text())
    keys = {key: shape for file in files for key, shape in listed[file].items() if not HALLO_DEAD.match(key)}
    return {
        key.removeprefix(prefix): shape
        for key, shape in keys.items()
        if key.startswith(prefix) and not key.endswith("pos_encoder.pe")
    }


ECHOMIMIC_BACKBONE = {"cross": "audio", "cross_width": 384, "audio_scale": 3.0, "temporal": ALWAYS}
HALLO_BACKBONE = {"cross": "identity", "audio_layers": "hierarchical", "temporal": (True, True, True, False)}
CASES = {
    "echomimic reference": (UNet, {"out_channels": None}, ("echomimic", "reference_unet.pth"), ""),
    "echomimic backbone": (UNet, ECHOMIMIC_BACKBONE, ("echomimic", "denoising_unet.pth", "motion_module.pth"), ""),
    "echomimic locator": (FaceLocator, {}, ("echomimic", "face_locator.pth"), ""),
    "echomimic pose": (FaceLocator, {"mask_channels": 3}, ("echomimic", "face_locator_pose.pth"), ""),
    "hallo reference": (
        UNet, {"out_channels": None, "cross": "identity"}, ("hallo", "hallo/net.pth"), "reference_unet.",
    ),
    "hallo backbone": (UNet, HALLO_BACKBONE, ("hallo", "hallo/net.pth"), "denoising_unet."),
    "hallo locator": (
        FaceLocator, {"mask_channels": 3, "widths": (16, 32, 64, 128)}, ("hallo", "hallo/net.pth"), "face_locator.",
    ),
    "hallo identity": (IdentityProjection, {}, ("hallo", "hallo/net.pth"), "imageproj."),
    "hallo audio": (WindowProjection, {}, ("hallo", "hallo/net.pth"), "audioproj."),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_official_key_and_shape_is_ours(name: str) -> None:
    kind, config, files, prefix = CASES[name]
    with torch.device("meta"):
        network = kind(**config)
    own = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert own == stored(*files, prefix=prefix)


def test_emo_as_the_paper_describes_it_starts_from_stable_diffusion() -> None:
    with torch.device("meta"):
        temporal = (True, True, True, False)
        backbone = UNet(cross="reference", audio_layers="plain", temporal=temporal, speed="attention")
    own = {key: list(value.shape) for key, value in backbone.state_dict().items()}
    base = stored("hallo", "stable-diffusion-v1-5/unet/diffusion_pytorch_model.safetensors")
    # The text layers become reference-attention layers: their keys and values read pictures, not 768-wide words.
    changed = {key for key in base if own.get(key) != base[key]}
    assert changed == {key for key in base if re.search(r"attn2\.to_[kv]\.weight$", key)}
    added = own.keys() - base.keys()
    assert added and all("audio_modules" in key or "motion_modules" in key for key in added)
