"""Hearing for Hallo: wav2vec 2.0, all of whose layers are heard at the video's frame rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from emo_cli.sound.resampler import RATE
from emo_cli.stored import StoredNetwork, recorded
from emo_cli.tape import Abreast, Features, Rows, Tape, Waveform, Windows, pieces, runs

REACH = 2  # frames before and after its own that a frame hears
STRIDES = (5, 2, 2, 2, 2, 2, 2)
ROW = 320  # samples from one row of the convolutions to the next
_PIECE = 500  # rows that pass a layer at once, so that memory does not grow with the sound
_BLOCK = 1 << 16  # samples
_QUIETEST = 1e-7  # added to the variance, so that silence stays silence


class Wav2VecEncoder(StoredNetwork):
    """wav2vec 2.0 (Baevski et al. 2020) as Hallo uses it: every frame attends to the whole sound.

    The convolutions' rows, about 50 per second, are brought to the video's frame rate before the transformer. A frame
    hears the outputs of all `layers` for 5 frames around it, as 5 * layers tokens of `width` numbers, frame by frame.
    Clips of `clip` frames are always heard whole: the sound is continued with silence, and rows for the frames behind
    its end are given too. All that is made of a long sound lies on tapes between one layer and the next, so that memory
    does not grow with it. The network is the one of transformers, which is loaded only when it is built.
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
        states = self._layers(waveform, frames, fps)
        count = len(states)
        return Windows(states, count, lambda some: window_frames(some, count))

    def forward(self, waveform: Waveform, frames: int, fps: float) -> Tensor:
        """What `hear` gives, as one tensor."""
        return self.hear(waveform, frames, fps)[:]

    def states(self, waveform: Waveform, frames: int, fps: float) -> Tensor:
        """Samples -> (frames of whole clips, layers, width): what every layer makes of every frame, as one tensor."""
        return torch.from_numpy(self._layers(waveform, frames, fps)[:])

    @torch.no_grad()
    def _layers(self, waveform: Waveform, frames: int, fps: float) -> Abreast:
        """The same on tapes."""
        whole = -(-frames // self.clip) * self.clip
        silence = round((whole - frames) * RATE / fps)
        x = self._placed(self._projected(self.rows(Even(waveform, silence)), whole))
        states = []
        for layer in self.encoder.layers:
            x = self._through(layer, x)
            states.append(x)
        return Abreast(states)

    def rows(self, waveform: Waveform) -> Tape:
        """Samples -> rows (channels,), about 50 per second, in pieces that give the numbers of one pass.

        The first norm is over the whole sound, so its mean and variance are taken first.
        """
        count = (len(waveform) - self.samples) // ROW + 1
        made = Tape(self.feature_extractor.conv_layers[-1].conv.out_channels)
        if count <= _PIECE:
            made.add(self.feature_extractor(self._here(waveform[:])[None])[0].T)
            return made
        first = self.feature_extractor.conv_layers[0]
        shift, scale = self._first_norm(waveform)
        for start, stop in runs(count, _PIECE):
            x = first.conv(self._here(waveform[start * ROW : (stop - 1) * ROW + self.samples])[None, None])
            x = first.activation((x * scale + shift).to(x.dtype))
            for layer in self.feature_extractor.conv_layers[1:]:
                x = layer(x)
            made.add(x[0].T)
        return made

    def _first_norm(self, waveform: Waveform) -> tuple[Tensor, Tensor]:
        """What the first norm adds and by what it multiplies, each (channels, 1), for the whole sound."""
        convolution, norm = (getattr(self.feature_extractor.conv_layers[0], name) for name in ("conv", "layer_norm"))
        width, stride = convolution.kernel_size[0], convolution.stride[0]
        columns = (len(waveform) - width) // stride + 1
        sums = torch.zeros(2, norm.num_channels, dtype=torch.float64, device=self.device)
        for start, stop in runs(columns, _PIECE * ROW // stride):
            part = self._here(waveform[start * stride : (stop - 1) * stride + width])
            heard = convolution(part[None, None])[0].double()
            sums += torch.stack([heard.sum(1), heard.square().sum(1)])
        mean, square = sums[..., None] / columns
        scale = norm.weight[:, None] / (square - mean.square() + norm.eps).sqrt()
        return norm.bias[:, None] - mean * scale, scale

    def _projected(self, rows: Tape, frames: int) -> Tape:
        """The convolutions' rows at the video's rate and in the transformer's width: (frames, width)."""
        made = Tape(self.width)
        for start, stop in runs(frames, _PIECE):
            x, _ = self.feature_projection(self._here(paced(rows, frames, start, stop))[None])
            made.add(x[0])
        return made

    def _placed(self, rows: Tape) -> Tape:
        """What the first layer takes: each row with what its neighbourhood tells about its place."""
        made, reach = Tape(self.width), self.encoder.pos_conv_embed.conv.kernel_size[0]
        for start, stop in runs(len(rows), _PIECE):
            first, last = max(0, start - reach), min(len(rows), stop + reach)
            x = self._here(rows[first:last])[None]
            x = self.encoder.layer_norm(x + self.encoder.pos_conv_embed(x))
            made.add(x[0, start - first : stop - first])
        return made

    def _through(self, layer: Any, rows: Tape) -> Tape:
        """A transformer layer's rows; every row attends to all, of a long sound piece by piece."""
        made = Tape(self.width)
        if len(rows) <= _PIECE:
            said = layer(self._here(rows[:])[None])
            made.add(said[0] if isinstance(said, Tensor) else said[0][0])  # a tuple before transformers 5
            return made
        attention, known = layer.attention, Tape(2, self.width)
        for start, stop in runs(len(rows), _PIECE):
            x = self._here(rows[start:stop])
            known.add(torch.stack([attention.k_proj(x), attention.v_proj(x)], dim=1))
        for start, stop in runs(len(rows), _PIECE):
            x = self._here(rows[start:stop])
            pairs = (self._here(known[first:last]) for first, last in runs(len(rows), _PIECE))
            x = layer.layer_norm(x + attention.out_proj(attended(attention.q_proj(x), pairs, attention.num_heads)))
            made.add(layer.final_layer_norm(x + layer.feed_forward(x)))
        return made

    def _here(self, numbers: Any) -> Tensor:
        return torch.as_tensor(numbers).to(self.device, self.dtype)


def attended(queries: Tensor, pairs: Iterable[Tensor], heads: int) -> Tensor:
    """Attention of queries (count, width) to keys and values that come in parts (some, 2, width): (count, width).

    The softmax over all parts is kept as its largest logit so far, its sum, and the weighted values, which are scaled
    again whenever the largest grows (Milakov and Gimelshein 2018): the numbers of one pass, but for rounding.
    """
    asked = queries.float().unflatten(1, (heads, -1)).transpose(0, 1)  # (heads, count, width of a head)
    asked = asked / asked.shape[-1] ** 0.5
    most = asked.new_full((*asked.shape[:2], 1), -torch.inf)
    total, found = torch.zeros_like(most), torch.zeros_like(asked)
    for pair in pairs:
        keys, values = pair.float().unflatten(2, (heads, -1)).permute(1, 2, 0, 3)  # (heads, some, width of a head)
        logits = asked @ keys.transpose(1, 2)
        larger = torch.maximum(most, logits.amax(2, keepdim=True))
        weights, before = (logits - larger).exp(), (most - larger).exp()
        total = total * before + weights.sum(2, keepdim=True)
        found = found * before + weights @ values
        most = larger
    return (found / total).transpose(0, 1).flatten(1).to(queries.dtype)


def paced(rows: Rows, frames: int, start: int, stop: int) -> Tensor:
    """Rows (count, width) at the rate of `frames` in the same time: those of the frames start..stop.

    Linear between neighbours, the first and the last row kept: torch's interpolation with align_corners, in its
    arithmetic.
    """
    scale = torch.tensor((len(rows) - 1.0) / max(1, frames - 1) if frames > 1 else 0.0)
    place = scale * torch.arange(start, stop).float()
    lower = place.long().clamp_max(len(rows) - 1)
    upper = (lower + 1).clamp_max(len(rows) - 1)
    share = (place - lower).clamp(0, 1)[:, None]
    first = int(lower[0])
    some = torch.as_tensor(rows[first : int(upper[-1]) + 1])
    return some[lower - first] * (1 - share) + some[upper - first] * share


class Even:
    """A sound with mean 0 and variance 1 over all of it, piece by piece as it is read; then so much silence."""

    def __init__(self, waveform: Waveform, silence: int = 0) -> None:
        self._waveform, self._silence = waveform, silence
        total = torch.zeros((), dtype=torch.float64)
        for part in pieces(waveform, _BLOCK):
            total += torch.as_tensor(part).double().sum()
        self._mean = total / len(waveform)
        squares = torch.zeros((), dtype=torch.float64)
        for part in pieces(waveform, _BLOCK):
            squares += (torch.as_tensor(part).double() - self._mean).square().sum()
        self._deviation = (squares / len(waveform) + _QUIETEST).sqrt()

    def __len__(self) -> int:
        return len(self._waveform) + self._silence

    def __getitem__(self, part: slice, /) -> Tensor:
        start, stop, _ = part.indices(len(self))
        heard = torch.as_tensor(self._waveform[start:stop]).float()
        return F.pad((heard - self._mean) / self._deviation, (0, stop - start - len(heard)))


def even(waveform: Waveform) -> Tensor:
    """A whole sound (samples,) with mean 0 and variance 1."""
    return Even(waveform)[:]


def window_frames(some: Tensor, frames: int) -> Tensor:
    """Indices (count, 5) of the frames that some of them (count,) hear; the ends are repeated."""
    return (some[:, None] + torch.arange(-REACH, REACH + 1)).clamp(0, frames - 1)
