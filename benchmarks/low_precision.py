"""Whether narrower numbers pay on this processor, tried on layers as large as EchoMimic's: CPU time against float32.

    python benchmarks/low_precision.py [--rows 256] [--rounds 3]

Tried are a linear layer and a 3x3 convolution of 1280 channels: in bfloat16 as torch does it, with bfloat16 weights
that are widened in every call (half the memory, the arithmetic of float32), and the linear layer in int8 with torch's
own dynamic quantisation. A ratio under 1 is a gain. Told too: whether oneDNN has a bfloat16 of its own here, and which
part of a guided call's arithmetic is in linear layers at all.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
from denoiser_call import MODELS, USUAL, call
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from emo_cli.networks.unet import UNet

WIDTH = 1280


def ratios(variants: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, float]:
    """CPU time of each variant against the first one, all of them in every round; the median."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for work in variants.values():
        work()
    for _ in range(rounds):
        times = {}
        for name, work in variants.items():
            began = time.process_time()
            work()
            times[name] = time.process_time() - began
        first = next(iter(times.values()))
        for name, seconds in times.items():
            found[name].append(seconds / first)
    return {name: round(median(row), 2) for name, row in found.items()}


def linear(rows: int, rounds: int) -> dict[str, float]:
    """A linear layer on `rows` tokens."""
    layer, x = nn.Linear(WIDTH, WIDTH), torch.randn(rows, WIDTH)
    weight, bias, narrow = layer.weight.bfloat16(), layer.bias.bfloat16(), x.bfloat16()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        int8 = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.Linear}, torch.qint8)
    return ratios(
        {
            "float32": lambda: layer(x),
            "bfloat16": lambda: functional.linear(narrow, weight, bias),
            "bfloat16 weights": lambda: functional.linear(x, weight.float(), layer.bias),
            "int8": lambda: int8(x),
        },
        rounds,
    )


def convolution(rows: int, rounds: int) -> dict[str, float]:
    """A 3x3 convolution on four pictures of `rows` / 4 places."""
    side = round((rows / 4) ** 0.5)
    layer, x = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), torch.randn(4, WIDTH, side, side)
    weight, bias, narrow = layer.weight.bfloat16(), layer.bias.bfloat16(), x.bfloat16()
    return ratios(
        {
            "float32": lambda: layer(x),
            "bfloat16": lambda: functional.conv2d(narrow, weight, bias, padding=1),
            "bfloat16 weights": lambda: functional.conv2d(x, weight.float(), layer.bias, padding=1),
        },
        rounds,
    )


def shares() -> dict[str, float]:
    """Parts of a guided call's arithmetic, counted without doing it."""
    model = MODELS["EchoMimic"]
    with torch.device("meta"):
        network = UNet(**model.config).to("meta")
        latents, t = torch.zeros(1, USUAL.frames, 4, USUAL.side, USUAL.side), torch.zeros(1)
    conditions = model.conditions(network, USUAL)
    with FlopCounterMode(display=False) as counter:
        call(network, conditions, latents, t)
    counts = {str(name).removeprefix("aten."): work for name, work in counter.get_flop_counts()["Global"].items()}
    kinds = {"convolutions": ("convolution",), "linear layers": ("addmm", "mm"), "attention": ("bmm",)}
    found = {kind: sum(counts.get(name, 0) for name in names) / sum(counts.values()) for kind, names in kinds.items()}
    found["attention"] = 1 - found["convolutions"] - found["linear layers"]
    return {kind: round(share, 3) for kind, share in found.items()}


@torch.no_grad()
def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "processor": torch.backends.cpu.get_cpu_capability(),
        "onednn_bfloat16": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "of_the_arithmetic": shares(),
        "linear": linear(chosen.rows, chosen.rounds),
        "convolution": convolution(chosen.rows, chosen.rounds),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
