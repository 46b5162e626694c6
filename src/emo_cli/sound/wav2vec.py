"""Hearing for Hallo: wav2vec 2.0, all of whose layers are heard at the video's frame rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from emo_cli.sound.resampler import RATE
from emo_cli.stored import StoredNetwork, recorded
from emo_cli.tape import Features, Tape, Waveform, Windows

REACH = 2  # frames before and after its own that a frame hears
STRIDES = (5, 2, 2, 2, 2, 2, 2)
ROW = 320  # samples from one row of the convolutions to the next
_PIECE = 1500  # rows that pass the convolutions at once, so that a song does not fill the memory
_QUIETEST = 1e-7  # added to the variance, so that silence stays silence


class Wav2VecEncoder(StoredNetwork):
    """wav2vec 2.0 (Baevski et al. 2020) as Hallo uses it, in one pass over the whole sound.

    The convolutions' rows, about 50 per second, are brought to the video's frame rate before the transformer. A frame
    hears the outputs of all `layers` for 5 frames around it, as 5 * layers tokens of `width` numbers, frame by frame.
    Clips of `clip` frames are always heard whole: the sound is continued with silence, and rows for the frames behind
    its end are given too. The network is the one of transformers, which is loaded only when it is built.
    """

    @recorded
    def __init__(
        self,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        feed_forward: int = 3072,
        widths: Sequence[int] = (512, 512, 512, 512, 512, 512, 512),
        kernels: Sequence[int] = (10, 3, 3, 3, 3, 2, 2),
        place_kernel: int = 128,
        place_groups: int = 16,
        clip: int = 16,
    ) -> None:
        super().__init__()
        from transformers import Wav2Vec2Config
        from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

        config = Wav2Vec2Config(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=feed_forward,
            conv_dim=tuple(widths),
            conv_kernel=tuple(kernels),
            conv_stride=STRIDES,
            num_conv_pos_embeddings=place_kernel,
            num_conv_pos_embedding_groups=place_groups,
            mask_time_prob=0.0,
            layerdrop=0.0,
        )
        model = Wav2Vec2Model(config)
        self.feature_extractor, self.feature_projection = model.feature_extractor, model.feature_projection
        self.encoder = model.encoder
        self.width, self.clip = width, clip
        reach, step = 1, 1
        for kernel, stride in zip(kernels, STRIDES, strict=True):
            reach, step = reach + (kernel - 1) * step, step * stride
        self.samples = reach  # that one row sees
        self.tokens = (2 * REACH + 1) * layers
        self.eval()

    def hear(self, waveform: Waveform, frames: int, fps: float) -> Features:
        """Samples at 16 kHz -> (frames or more, tokens, width): whole clips, the rest after the end."""
        states = self.states(torch.as_tensor(waveform[:]), frames, fps)
        rows, count = Tape(*states.shape[1:]), len(states)
        rows.add(states)
        return Windows(rows, count, lambda some: window_frames(some, count))

    def forward(self, waveform: Waveform, frames: int, fps: float) -> Tensor:
        """What `hear` gives, as one tensor."""
        return self.hear(waveform, frames, fps)[:]

    @torch.no_grad()
    def states(self, waveform: Tensor, frames: int, fps: float) -> Tensor:
        """Waveform (samples,) -> (frames of whole clips, layers, width): what every layer makes of every frame."""
        whole = -(-frames // self.clip) * self.clip
        padded = F.pad(even(waveform), (0, round((whole - frames) * RATE / fps)))
        rows = self.rows(padded.to(self.device, self.dtype))
        paced = F.interpolate(rows, whole, mode="linear", align_corners=True).transpose(1, 2)
        x = self.feature_projection(paced)[0]
        x = self.encoder.layer_norm(x + self.encoder.pos_conv_embed(x))
        states = []
        for layer in self.encoder.layers:
            said = layer(x)
            x = said if isinstance(said, Tensor) else said[0]  # a tuple before transformers 5
            states.append(x[0].float())
        return torch.stack(states, dim=1)

    def rows(self, waveform: Tensor) -> Tensor:
        """Waveform (samples,) -> (1, channels, rows), about 50 per second, in pieces that give the numbers of one pass.

        The first norm is over the whole sound, so its mean and variance are taken first.
        """
        count = (len(waveform) - self.samples) // ROW + 1
        if count <= _PIECE:
            whole: Tensor = self.feature_extractor(waveform[None])
            return whole
        first = self.feature_extractor.conv_layers[0]
        shift, scale = self._first_norm(waveform)
        pieces = []
        for start in range(0, count, _PIECE):
            stop = min(start + _PIECE, count)
            x = first.conv(waveform[None, None, start * ROW : (stop - 1) * ROW + self.samples])
            x = first.activation((x * scale + shift).to(x.dtype))
            for layer in self.feature_extractor.conv_layers[1:]:
                x = layer(x)
            pieces.append(x)
        return torch.cat(pieces, dim=2)

    def _first_norm(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """What the first norm adds and by what it multiplies, each (channels, 1), for the whole sound."""
        convolution, norm = (getattr(self.feature_extractor.conv_layers[0], name) for name in ("conv", "layer_norm"))
        width, stride = convolution.kernel_size[0], convolution.stride[0]
        columns = (len(waveform) - width) // stride + 1
        sums = torch.zeros(2, norm.num_channels, dtype=torch.float64, device=waveform.device)
        for start in range(0, columns, _PIECE * ROW // stride):
            stop = min(start + _PIECE * ROW // stride, columns)
            part = convolution(waveform[None, None, start * stride : (stop - 1) * stride + width])[0].double()
            sums += torch.stack([part.sum(1), part.square().sum(1)])
        mean, square = sums[..., None] / columns
        scale = norm.weight[:, None] / (square - mean.square() + norm.eps).sqrt()
        return norm.bias[:, None] - mean * scale, scale


def even(waveform: Tensor) -> Tensor:
    """Waveform (samples,) with mean 0 and variance 1 over the whole sound."""
    waveform = waveform.float()
    variance, mean = torch.var_mean(waveform.double(), correction=0)
    return ((waveform - mean) / (variance + _QUIETEST).sqrt()).float()


def window_frames(some: Tensor, frames: int) -> Tensor:
    """Indices (count, 5) of the frames that some of them (count,) hear; the ends are repeated."""
    return (some[:, None] + torch.arange(-REACH, REACH + 1)).clamp(0, frames - 1)
