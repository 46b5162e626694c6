"""Which part of a picture is a person: hair, face, neck and body told from what is behind them, in plain torch."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional

from emo_cli.errors import WeightsError
from emo_cli.face.layers import SameConv

WEIGHTS = Path(__file__).with_name("person.safetensors")
PIXELS = 256

# Middle width, output width, kernel, stride, width of the squeeze (0 for none) and whether activations are smooth.
_BLOCKS = (
    (16, 16, 3, 2, 8, False),
    (72, 24, 3, 2, 0, False),
    (88, 24, 3, 1, 0, False),
    (96, 32, 5, 2, 24, True),
    (128, 32, 5, 1, 32, True),
    (128, 32, 5, 1, 32, True),
    (96, 32, 5, 1, 24, True),
    (96, 32, 5, 1, 24, True),
)
_STEM, _DEEP = 16, 128
_SKIPS = (2, 0)  # after these blocks the decoder takes up what was seen at 32 and at 64 cells; the stem gives 128


def person_in(picture: torch.Tensor, weights: Path = WEIGHTS) -> torch.Tensor:
    """How surely each cell (256, 256) of a picture (1, 3, height, width), 0..255, shows a person: 0..1.

    It is looked at twice, the second time as in a mirror.
    """
    size = (PIXELS, PIXELS)
    seen = functional.interpolate(picture, size, mode="bilinear", align_corners=False, antialias=True) / 255
    with torch.no_grad():
        plain, mirrored = PersonNetwork.load(weights)(torch.cat([seen, seen.flip(3)]))[:, 0]
    return (plain + mirrored.flip(1)) / 2


class PersonNetwork(nn.Module):
    """MediaPipe's selfie segmentation: MobileNetV3's blocks (Howard et al. 2019, section 5), then up again with skips.

    About 0.1 M parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, 2)
        widths = [_STEM, *(row[1] for row in _BLOCKS)]
        self.blocks = nn.ModuleList(_Block(width, *row) for width, row in zip(widths, _BLOCKS, strict=False))
        self.deep = nn.Conv2d(widths[-1], _DEEP, 1)
        self.deep_gate = nn.Conv2d(widths[-1], _DEEP, 1)
        skips = [*(_BLOCKS[index][1] for index in _SKIPS), _STEM]
        self.rises = nn.ModuleList(_Rise(*pair) for pair in zip([_DEEP, *skips], skips, strict=False))
        self.last = nn.ConvTranspose2d(_STEM, 1, 2, 2)

    @classmethod
    def load(cls, weights: Path = WEIGHTS) -> PersonNetwork:
        """The network with its packaged weights."""
        with torch.device("meta"):  # the file's numbers take the place of random ones that nobody wants
            network = cls()
        try:
            with safe_open(weights, framework="pt") as file:
                stored = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            network.load_state_dict(stored, assign=True)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(
                f"The network that finds people in {weights} cannot be read ({error}). Install emo-cli again."
            ) from error
        return network.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (batch, 3, 256, 256) in 0..1 -> (batch, 1, 256, 256) in 0..1."""
        x = functional.hardswish(self.stem(x))
        seen = [x]
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        x = torch.relu(self.deep(x)) * torch.sigmoid(self.deep_gate(x.mean((2, 3), keepdim=True)))
        skips = [*(seen[index + 1] for index in _SKIPS), seen[0]]
        for rise, skip in zip(self.rises, skips, strict=True):
            x = rise(x, skip)
        return torch.sigmoid(self.last(x))


class _Squeeze(nn.Module):
    """Weights 0..1 per channel from the means of all (squeeze and excite)."""

    def __init__(self, width: int, middle: int) -> None:
        super().__init__()
        self.narrow, self.widen = nn.Conv2d(width, middle, 1), nn.Conv2d(middle, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.widen(torch.relu(self.narrow(x.mean((2, 3), keepdim=True)))))


class _Block(nn.Module):
    """Wider, depthwise, perhaps weighed, narrow again; added to its input where shapes agree."""

    def __init__(
        self, width: int, middle: int, out: int, kernel: int, stride: int, squeeze: int, smooth: bool
    ) -> None:
        super().__init__()
        self.activation = functional.hardswish if smooth else torch.relu
        self.widen = nn.Conv2d(width, middle, 1)
        self.depthwise = SameConv(middle, middle, kernel, stride, groups=middle)
        self.squeeze = _Squeeze(middle, squeeze) if squeeze else None
        self.narrow = nn.Conv2d(middle, out, 1)
        self.adds = stride == 1 and width == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.activation(self.depthwise(self.activation(self.widen(x))))
        if self.squeeze is not None:
            y = y * self.squeeze(y)
        y = self.narrow(y)
        return x + y if self.adds else y


class _Rise(nn.Module):
    """Twice as fine, with what the encoder saw at that fineness, weighed."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(width, out, 1)
        self.squeeze = _Squeeze(out, out)
        self.mix = nn.Conv2d(out, out, 1)
        self.depthwise = SameConv(out, out, 3, groups=out)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = self.narrow(functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        x = torch.relu(self.mix(skip * self.squeeze(skip + x) + x))
        return x + torch.relu(self.depthwise(x))
