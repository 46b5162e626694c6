"""What EMO's networks begin with: Stable Diffusion 1.5's UNet, twice, and AnimateDiff's temporal modules."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from emo_cli.checkpoints.keymap import Keymap, Weights, fill, read_weights, refuse_strangers
from emo_cli.checkpoints.sizes import Divisions, unet_sizes
from emo_cli.errors import WeightsError
from emo_cli.networks.attention import Attention
from emo_cli.networks.unet import UNet
from emo_cli.stored import load_strictly

FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")

TEXT = (r".*\.transformer_blocks\.\d+\.(attn2|norm2)\..*",)  # EMO uses no text
REFERENCE_KEYS = Keymap(unused=(*TEXT, r"conv_(norm_)?out\..*"))
BACKBONE_KEYS = Keymap(unused=TEXT)
TEMPORAL_KEYS = Keymap(
    renames=(
        (r"^module\.", ""),
        # diffusers' names of the same layers
        (r"(motion_modules\.\d+)\.(?!temporal_transformer\.)", r"\1.temporal_transformer."),
        (r"(transformer_blocks\.\d+)\.attn1\.", r"\1.attention_blocks.0."),
        (r"(transformer_blocks\.\d+)\.attn2\.", r"\1.attention_blocks.1."),
        (r"(transformer_blocks\.\d+)\.norm1\.", r"\1.norms.0."),
        (r"(transformer_blocks\.\d+)\.norm2\.", r"\1.norms.1."),
        (r"(transformer_blocks\.\d+)\.norm3\.", r"\1.ff_norm."),
    ),
    unused=(
        r".*\.pos_e(ncoder|mbed)\.pe",  # sinusoids, computed here
        r"(module\.)?(down_blocks\.3|up_blocks\.0)\.motion_modules\..*",  # where there is no reference to carry on
    ),
)


def unet_file(folder: Path) -> Path:
    """The UNet's weights in a folder of Stable Diffusion in diffusers' layout, in its unet/, or the file itself."""
    places = (folder / "unet", folder)
    found = [place / name for place in places for name in FILES if (place / name).is_file()]
    if folder.is_file():
        return folder
    if not found:
        raise WeightsError(f"{folder} holds no unet/{FILES[0]}. Give Stable Diffusion's folder in diffusers' layout.")
    return found[0]


def reference_net(source: Path) -> UNet:
    """ReferenceNet: Stable Diffusion's UNet without text and without an end. Raises WeightsError."""
    path, weights, divisions = _read(source)
    sizes = {**unet_sizes(weights, divisions, path), "out_channels": None}
    with torch.device("meta"):
        network = UNet(**sizes)
    return fill(network, weights, path, REFERENCE_KEYS)


def backbone(source: Path, audio_width: int = 768, speed_width: int = 320) -> UNet:
    """EMO's Backbone before it has learned anything: what is new adds nothing to Stable Diffusion without text.

    Reference-attention takes the place of text attention (section 3.2); it begins as a copy of self-attention, whose
    tokens are of the same kind as ReferenceNet's, with an output of zero. Raises WeightsError.
    """
    path, weights, divisions = _read(source)
    sizes = unet_sizes(weights, divisions, path)
    network = UNet(
        **{**sizes, "temporal": sizes["attention"]},
        cross="reference",
        audio_layers="plain",
        audio_width=audio_width,
        speed="attention",
        speed_width=speed_width,
    )
    own = {name: value for name, value in network.state_dict().items() if _is_new(name)}
    named = {name: value.float() for name, value in BACKBONE_KEYS.apply(weights, str(path)).items()}
    copied = {
        name.replace(".attn1.", ".attn2.").replace(".norm1.", ".norm2."): value
        for name, value in named.items()
        if ".transformer_blocks." in name and (".attn1." in name or ".norm1." in name)
    }
    load_strictly(network, {**named, **copied, **own}, str(path))
    for block in network.spatial_blocks():
        silence(block.attn2)
    quieten(network)
    return network.eval()


def begin_temporal(network: UNet, source: Path) -> None:
    """Put AnimateDiff's motion modules into a Backbone; what a file of it lacks (the middle, in some) stays as it is.

    Raises WeightsError, or IncompatibleCheckpoint when tensors do not fit.
    """
    weights = read_weights(source)
    named = {name: value.float() for name, value in TEMPORAL_KEYS.apply(weights, str(source)).items()}
    if not any("temporal_transformer" in name for name in named):
        raise WeightsError(f"{source} holds no motion modules of AnimateDiff. Choose the right file.")
    own = network.state_dict()
    middle = any(name.startswith("mid_block.") for name in named)
    kept = {
        name: value
        for name, value in own.items()
        if ".motion_modules." not in name or ".speed_" in name or (name.startswith("mid_block.") and not middle)
    }
    load_strictly(network, {**kept, **named}, str(source))


def quieten(network: UNet) -> None:
    """Let temporal, audio and speed layers add nothing until they have learned to."""
    for name, module in network.named_modules():
        if name.endswith(".proj_out") and (".motion_modules." in name or ".audio_modules." in name):
            zero(module)
        if name.endswith(".speed_attention"):
            silence(module)


def silence(attention: nn.Module) -> None:
    """An attention that adds nothing."""
    assert isinstance(attention, Attention)
    zero(attention.to_out[0])


def zero(module: nn.Module) -> None:
    """All weights of a module become zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _is_new(name: str) -> bool:
    return ".motion_modules." in name or ".audio_modules." in name


def _read(source: Path) -> tuple[Path, Weights, Divisions]:
    path = unet_file(source)
    weights: dict[str, Tensor] = read_weights(path)
    refuse_strangers(weights, "EchoMimic", path)  # Stable Diffusion's own keys begin as EchoMimic's do
    return path, weights, Divisions.beside(path.with_name("config.json"))
