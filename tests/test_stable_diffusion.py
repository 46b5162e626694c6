"""What EMO's networks begin with: Stable Diffusion's UNet without text, AnimateDiff's temporal modules."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from emo_cli.checkpoints import stable_diffusion
from emo_cli.errors import IncompatibleCheckpoint, WeightsError
from emo_cli.networks.temporal import positions
from emo_cli.networks.unet import Conditions, UNet

SIZES = {
    "widths": (32, 64), "layers": 1, "heads": 2, "groups": 4, "attention": (True, False), "feed_forward": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Stable Diffusion as it is published, very small: its text layers have the shape of audio layers."""
    folder = tmp_path_factory.mktemp("sd") / "unet"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(UNet(cross="audio", cross_width=12, **SIZES).state_dict(), folder / stable_diffusion.FILES[0])
    (folder / "config.json").write_text(json.dumps({"attention_head_dim": 2, "norm_num_groups": 4}))
    return folder.parent


@pytest.fixture(scope="module")
def backbone(base: Path) -> UNet:
    torch.manual_seed(1)
    return stable_diffusion.backbone(base, audio_width=10, speed_width=6)


def without_text(base: Path) -> UNet:
    """Stable Diffusion's UNet without its text layers."""
    network = UNet(**SIZES)
    weights = stable_diffusion.BACKBONE_KEYS.apply(stable_diffusion.read_weights(stable_diffusion.unet_file(base)), "")
    network.load_state_dict(weights)
    return network.eval()


def sample(network: UNet, conditions: Conditions) -> Tensor:
    latents = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return network(latents, torch.tensor([300.0]), conditions).sample


def test_a_new_backbone_gives_what_stable_diffusion_gives_without_text(base: Path, backbone: UNet) -> None:
    reference_net = stable_diffusion.reference_net(base)
    reference = reference_net.look(torch.randn(1, 4, 8, 8))
    audio = backbone.listen(torch.randn(1, 3, 5, 10))
    conditions = Conditions(reference=backbone.remember(reference), audio=audio, speed=torch.randn(1, 3, 6))
    assert torch.allclose(sample(backbone, conditions), sample(without_text(base), Conditions()), atol=1e-5)


def test_reference_attention_begins_as_self_attention_whose_output_is_learned(backbone: UNet) -> None:
    block = backbone.spatial_blocks()[0]
    assert torch.equal(block.attn2.to_k.weight, block.attn1.to_k.weight)
    assert torch.equal(block.norm2.weight, block.norm1.weight)
    assert not block.attn2.to_out[0].weight.any()


def test_reference_net_sees_as_stable_diffusion_does(base: Path) -> None:
    picture = torch.randn(1, 4, 8, 8)
    hidden = stable_diffusion.reference_net(base).look(picture).hidden
    for one, other in zip(hidden, without_text(base).look(picture).hidden, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def published(backbone: UNet, names: str) -> dict[str, Tensor]:
    """Motion modules under the names of AnimateDiff's first file, its later ones, or diffusers."""
    torch.manual_seed(3)
    stored = {
        name: torch.randn_like(value) * 0.1
        for name, value in backbone.state_dict().items()
        if ".motion_modules." in name and ".speed_" not in name and not name.startswith("mid_block")
    }
    place = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
    stored[f"{place}.pos_encoder.pe"] = positions(32, 32)[None]
    stored["up_blocks.0.motion_modules.0.temporal_transformer.norm.weight"] = torch.zeros(64)  # never run
    if names == "first":
        return {f"module.{name}": value for name, value in stored.items()}
    if names == "diffusers":
        for pattern, plain in (
            (r"\.temporal_transformer", ""),
            (r"attention_blocks\.0\.pos_encoder", "pos_embed"),
            (r"attention_blocks\.0", "attn1"),
            (r"attention_blocks\.1", "attn2"),
            (r"norms\.0", "norm1"),
            (r"norms\.1", "norm2"),
            (r"ff_norm", "norm3"),
        ):
            stored = {re.sub(pattern, plain, name): value for name, value in stored.items()}
    return stored


@pytest.mark.parametrize("names", ("first", "later", "diffusers"))
def test_motion_modules_of_every_layout_are_taken(base: Path, names: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = stable_diffusion.backbone(base, audio_width=10, speed_width=6)
    stored = published(network, names)
    save_file(stored, tmp_path / "motion.safetensors")
    stable_diffusion.begin_temporal(network, tmp_path / "motion.safetensors")
    name = "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"
    taken = stored[{"first": f"module.{name}", "diffusers": name.replace("temporal_transformer.", "")}.get(names, name)]
    assert torch.equal(network.state_dict()[name], taken)
    assert not torch.allclose(sample(network, Conditions()), sample(network, Conditions(still=True)), atol=1e-4)


def test_a_file_without_motion_modules_or_with_others_is_refused(
    base: Path, backbone: UNet, tmp_path: Path
) -> None:
    save_file({"other": torch.zeros(1)}, tmp_path / "motion.safetensors")
    with pytest.raises(WeightsError, match="no motion modules"):
        stable_diffusion.begin_temporal(backbone, tmp_path / "motion.safetensors")
    stored = published(backbone, "later")
    stored.pop("down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight")
    save_file(stored, tmp_path / "motion.safetensors")
    with pytest.raises(IncompatibleCheckpoint, match="proj_in"):
        stable_diffusion.begin_temporal(backbone, tmp_path / "motion.safetensors")


def test_a_folder_without_a_unet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="diffusers' layout"):
        stable_diffusion.reference_net(tmp_path)
