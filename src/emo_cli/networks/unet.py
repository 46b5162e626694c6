"""The one UNet of which EMO's ReferenceNet and Backbone are two configurations, for every family of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from emo_cli.networks.attention import BlockContext, KeysValues, SpatialBlock, SpatialTransformer
from emo_cli.networks.audio import AudioBlock, AudioTransformer, HierarchicalAudioBlock, RegionMasks
from emo_cli.networks.head import HeadInput, HeadPrediction, HeadStream
from emo_cli.networks.resnet import Resample, ResnetBlock, TimeEmbedding, timestep_features
from emo_cli.networks.reuse import Change, Reuse, anew
from emo_cli.networks.temporal import TemporalModule
from emo_cli.stored import StoredNetwork, recorded


@dataclass(frozen=True)
class Reference:
    """ReferenceNet's hidden state per attention block, in running order; each (images, tokens, width)."""

    hidden: tuple[Tensor, ...]

    def rounded(self) -> Reference:
        """The same after a passage through 16 bits, as in the authors' code of EchoMimic and Hallo."""
        return Reference(tuple(hidden.half().to(hidden.dtype) for hidden in self.hidden))


@dataclass(frozen=True)
class Conditions:
    """All that the Backbone takes besides latents and t; a field is None when it plays no part.

    reference: keys and values per attention block (Backbone.remember); audio: keys and values per audio layer
    (Backbone.listen), None for zero tokens; heard: the audio tokens themselves (batch, frames, tokens, width), for the
    head; motion: ReferenceNet's features of earlier frames per temporal module, each (batch, earlier, channels, h, w);
    face: (batch or rows, channels, h, w); identity: tokens (batch, tokens, width); speed: (batch, 3) head speeds or
    (batch, frames, width) features; masks: Hallo's regions; head: pose, blinks, gaze of a clip; lips: how much of the
    sound's part the spatial blocks add, 1 as trained; still: pass the temporal modules by, for pictures on their own;
    alone: how many clips at the end of the batch nothing of this reaches but the noise: neither portrait nor sound nor
    face, as guidance wants them.
    """

    reference: tuple[KeysValues, ...] | None = None
    audio: tuple[tuple[KeysValues, ...], ...] | None = None
    heard: Tensor | None = None
    motion: tuple[Tensor, ...] | None = None
    face: Tensor | None = None
    identity: tuple[KeysValues, ...] | None = None
    speed: Tensor | None = None
    masks: RegionMasks | None = None
    head: HeadInput | None = None
    lips: float = 1.0
    still: bool = False
    alone: int = 0


@dataclass(frozen=True)
class Prediction:
    """The network's answer for the latents (batch, frames, channels, h, w), and for the head where there is one."""

    sample: Tensor
    head: HeadPrediction | None = None


@dataclass
class Walk:
    """One pass through the network: what every layer reads, and the features it leaves behind."""

    frames: int
    embedding: Tensor  # (rows, width), after SiLU
    speed: Tensor | None
    masks: RegionMasks | None
    reference: Iterator[KeysValues] | None
    cross: Iterator[KeysValues] | None
    audio: Iterator[tuple[KeysValues, ...]] | None
    motion: Iterator[Tensor] | None
    lips: float = 1.0
    still: bool = False
    recompute: bool = False
    alone: int = 0
    reuse: Reuse | None = None
    hidden: list[Tensor] = field(default_factory=list)

    def change(self, depth: int) -> Change:
        """How the layers of a level come to what they add."""
        return anew if self.reuse is None else self.reuse.at(depth)


@dataclass(frozen=True)
class Told:
    """What one layer is told; it may run a second time with the same, where its memory is given up in between."""

    embedding: Tensor
    reference: KeysValues | None = None
    cross: KeysValues | None = None
    audio: tuple[KeysValues, ...] | None = None
    motion: Tensor | None = None


class Level(nn.Module):
    """The layers at one resolution: resnet, spatial attention, audio attention, temporal attention, repeated."""

    def __init__(
        self,
        layers: Sequence[dict[str, nn.Module]],
        depth: int,
        tail: nn.Module | None = None,
        down: int = 0,
        up: int = 0,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.resnets = nn.ModuleList([layer["resnet"] for layer in layers])
        if tail is not None:
            self.resnets.append(tail)
        for name, kind in (("attentions", "attention"), ("audio_modules", "audio"), ("motion_modules", "temporal")):
            if kind in layers[0]:
                self.add_module(name, nn.ModuleList([layer[kind] for layer in layers]))
        if down:
            self.downsamplers = nn.ModuleList([Resample(down, down, down=True)])
        if up:
            self.upsamplers = nn.ModuleList([Resample(up, up, down=False)])
        self.kinds, self.halves, self.doubles = frozenset(layers[0]), bool(down), bool(up)

    def layer(self, index: int, x: Tensor, walk: Walk) -> Tensor:
        """x (rows, channels, h, w) through layer `index`."""
        told = self._told(walk)
        if walk.recompute and torch.is_grad_enabled():
            x, normed = checkpoint(self._through, index, x, walk, told, use_reentrant=False, preserve_rng_state=False)
        else:
            x, normed = self._through(index, x, walk, told)
        if normed is not None:
            walk.hidden.append(normed)
        return x

    def _told(self, walk: Walk) -> Told:
        """The next of everything that this kind of layer reads."""
        attends, hears = "attention" in self.kinds, "audio" in self.kinds
        return Told(
            embedding=walk.embedding,
            reference=next(walk.reference) if attends and walk.reference else None,
            cross=next(walk.cross) if attends and walk.cross else None,
            audio=next(walk.audio) if hears and walk.audio else None,
            motion=next(walk.motion) if "temporal" in self.kinds and walk.motion else None,
        )

    def _through(self, index: int, x: Tensor, walk: Walk, told: Told) -> tuple[Tensor, Tensor | None]:
        change, normed = walk.change(self.depth), None
        x = self.resnets[index](x, told.embedding, change)
        if "attention" in self.kinds:
            context = BlockContext(told.reference, told.cross, walk.lips, change, walk.alone)
            x, normed = self.get_submodule(f"attentions.{index}")(x, context)
        if "audio" in self.kinds:
            module = self.get_submodule(f"audio_modules.{index}")
            assert isinstance(module, AudioTransformer)
            x = module.hear(x, told.audio, walk.masks)
        if "temporal" in self.kinds and not walk.still:
            x = self.get_submodule(f"motion_modules.{index}")(x, walk.frames, told.motion, walk.speed, change)
        return x, normed


class UNet(StoredNetwork):
    """Stable Diffusion's UNet with EMO's additions, each a field of the configuration.

    out_channels None makes a ReferenceNet; cross: see SpatialBlock; audio_layers: "none", "plain" (EMO) or
    "hierarchical" (Hallo) layers of their own; attention, temporal: per level, finest first; skip_inputs: whether the
    first convolution and the downsamplers feed the upper half too (Stable Diffusion does); speed: "none", "embedding"
    (three speeds into the time embedding, mini) or "attention" (EMO's speed layers); head_width: pose tokens or None,
    head_gaze: whether they tell of the eyes' gaze too.
    `recompute` is for training: layers keep no intermediate numbers and run again on the way back.
    """

    recompute = False

    @recorded
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int | None = 4,
        widths: Sequence[int] = (320, 640, 1280, 1280),
        layers: int = 2,
        heads: int = 8,
        groups: int = 32,
        attention: Sequence[bool] = (True, True, True, False),
        cross: str = "none",
        cross_width: int = 768,
        audio_scale: float = 1.0,
        audio_layers: str = "none",
        audio_width: int = 768,
        temporal: Sequence[bool] = (False, False, False, False),
        temporal_layers: int = 2,
        temporal_heads: int = 8,
        temporal_groups: int = 32,
        feed_forward: int = 4,
        scale_shift: bool = False,
        skip_inputs: bool = True,
        speed: str = "none",
        speed_width: int = 320,
        position_size: int | None = None,
        head_width: int | None = None,
        head_audio: int = 1280,
        head_gaze: bool = False,
    ) -> None:
        super().__init__()
        embedding, self.skip_inputs, self.speed = 4 * widths[0], skip_inputs, speed
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], embedding)
        if position_size is not None:
            self.position = nn.Parameter(torch.randn(1, widths[0], position_size, position_size) * 0.02)
        if speed == "embedding":
            self.speed_embedding = nn.Linear(3, embedding)
            nn.init.zeros_(self.speed_embedding.weight)
        last = len(widths) - 1

        def layer(narrow: int, wide: int, level: int, inner: int, middle: bool = False) -> dict[str, nn.Module]:
            parts: dict[str, nn.Module] = {"resnet": ResnetBlock(narrow, wide, embedding, groups, scale_shift)}
            if attention[level] or middle:
                block = SpatialBlock(wide, heads, cross, cross_width, audio_scale, feed_forward)
                parts["attention"] = SpatialTransformer(wide, groups, block)
                if audio_layers != "none":
                    make = HierarchicalAudioBlock if audio_layers == "hierarchical" else AudioBlock
                    heard = make(inner, heads, audio_width, feed_forward)
                    parts["audio"] = AudioTransformer(wide, groups, heard, inner, level)
            if temporal[level] or (middle and any(temporal)):
                paced = speed_width if speed == "attention" else None
                parts["temporal"] = TemporalModule(
                    wide, temporal_groups, temporal_heads, temporal_layers, feed_forward, paced
                )
            return parts

        skips = [widths[0]] if skip_inputs else []
        self.down_blocks = nn.ModuleList()
        for level, wide in enumerate(widths):
            before = widths[max(level - 1, 0)]
            rows = [layer(before if i == 0 else wide, wide, level, before if i == 0 else wide) for i in range(layers)]
            self.down_blocks.append(Level(rows, level, down=wide if level < last else 0))
            skips += [wide] * layers + ([wide] if skip_inputs and level < last else [])
        deepest = widths[-1]
        tail = ResnetBlock(deepest, deepest, embedding, groups, scale_shift)
        self.mid_block = Level([layer(deepest, deepest, last, deepest, middle=True)], last, tail)
        self.up_blocks = nn.ModuleList()
        below = deepest
        for level in range(last, -1, -1):
            wide, inner = widths[level], widths[max(level - 1, 0)]
            rows = []
            for i in range(layers + 1 if skip_inputs else layers):
                rows.append(layer((below if i == 0 else wide) + skips.pop(), wide, level, inner))
            self.up_blocks.append(Level(rows, level, up=wide if level > 0 else 0))
            below = wide
        if head_width is not None:
            self.head = HeadStream(head_width, head_audio, embedding, deepest, head_gaze)
        if out_channels is not None:
            self.conv_norm_out = nn.GroupNorm(groups, widths[0])
            self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def spatial_blocks(self) -> list[SpatialBlock]:
        """The spatial blocks in running order, which is also the order of Reference.hidden."""
        blocks = (m for level in self.levels() for m in level.modules() if isinstance(m, SpatialBlock))
        return list(blocks)

    def levels(self) -> list[nn.Module]:
        """Down, middle and up levels in running order."""
        return [*self.down_blocks, self.mid_block, *self.up_blocks]

    def remember(self, reference: Reference) -> tuple[KeysValues, ...]:
        """Keys and values of a reference, computed once and kept for all steps and segments."""
        pairs = zip(self.spatial_blocks(), reference.hidden, strict=True)
        return tuple(block.reference_keys_values(hidden) for block, hidden in pairs)

    def recognise(self, identity: Tensor) -> tuple[KeysValues, ...]:
        """Keys and values of identity tokens (rows, tokens, width) for every spatial block."""
        return tuple(block.attn2.keys_values(identity) for block in self.spatial_blocks())

    def listen(self, audio: Tensor) -> tuple[tuple[KeysValues, ...], ...]:
        """Keys and values of audio tokens (batch, frames, tokens, width) for every audio layer, once per segment."""
        rows = audio.flatten(0, 1)
        if self.config["audio_layers"] == "none":
            return tuple((block.attn2.keys_values(rows),) for block in self.spatial_blocks())
        layers = [m for level in self.levels() for m in level.modules() if isinstance(m, AudioTransformer)]
        return tuple(layer.keys_values(rows) for layer in layers)

    def forward(self, latents: Tensor, t: Tensor, conditions: Conditions, reuse: Reuse | None = None) -> Prediction:
        """latents (batch, frames, channels, h, w), t (batch,) or (batch, frames) -> Prediction of the same shape.

        reuse: what may be kept from step to step; its `begin` is the caller's.
        """
        batch, frames = latents.shape[:2]
        x, walk = self._enter(latents, t, conditions)
        walk.reuse = reuse
        x, skips = self._descend(x, walk)
        x = self._turn(x, walk)
        head = None
        if conditions.head is not None:
            head, feature = self.think(conditions, walk.embedding, x.mean(dim=(2, 3)).unflatten(0, (batch, frames)))
            walk.embedding = walk.embedding + feature.flatten(0, 1)
        x = self._ascend(x, skips, walk)
        x = self.conv_out(functional.silu(self.conv_norm_out(x)))
        return Prediction(x.unflatten(0, (batch, frames)), head)

    def look(self, latents: Tensor, identity: tuple[KeysValues, ...] | None = None) -> Reference:
        """ReferenceNet: features of clean pictures (images, channels, h, w), once per video or clip."""
        still = Conditions(identity=identity)
        x, walk = self._enter(latents[:, None], torch.zeros(len(latents), device=latents.device), still)
        x, skips = self._descend(x, walk)
        self._ascend(self._turn(x, walk), skips, walk)
        return Reference(tuple(walk.hidden))

    def think(
        self, conditions: Conditions, embedding: Tensor, middle: Tensor | None
    ) -> tuple[HeadPrediction, Tensor]:
        """The head's own tokens; embedding (rows, width), middle (batch, frames, channels) or None."""
        assert conditions.head is not None
        batch, frames = conditions.head.frames.shape[:2]
        heard = None if conditions.heard is None else conditions.heard.flatten(2)
        prediction: tuple[HeadPrediction, Tensor] = self.head(
            conditions.head, heard, embedding.unflatten(0, (batch, frames)), middle
        )
        return prediction

    def embed(self, t: Tensor, frames: int, speed: Tensor | None) -> Tensor:
        """t (batch,) or (batch, frames), speed (batch, 3) -> the time embedding of every row, after SiLU."""
        features = timestep_features(t, self.config["widths"][0]).to(self.conv_in.weight.dtype)
        embedding: Tensor = self.time_embedding(features)
        embedding = embedding if t.dim() == 2 else embedding[:, None].expand(-1, frames, -1)
        if self.speed == "embedding" and speed is not None:
            embedding = embedding + self.speed_embedding(speed)[:, None]
        return functional.silu(embedding).flatten(0, 1)

    def _enter(self, latents: Tensor, t: Tensor, conditions: Conditions) -> tuple[Tensor, Walk]:
        frames = latents.shape[1]
        x = self.conv_in(latents.flatten(0, 1))
        if self.config["position_size"] is not None:
            x = x + self.position
        alone = conditions.alone * frames
        if conditions.face is not None:
            rows = (len(x) - alone) // len(conditions.face)
            x = x + functional.pad(conditions.face.repeat_interleave(rows, dim=0), (0, 0, 0, 0, 0, 0, 0, alone))
        spatial_audio = self.config["cross"] == "audio" and conditions.audio is not None
        cross = tuple(pair for (pair,) in conditions.audio or ()) if spatial_audio else conditions.identity
        walk = Walk(
            frames=frames,
            embedding=self.embed(t, frames, conditions.speed),
            speed=conditions.speed if self.speed == "attention" else None,
            masks=conditions.masks,
            reference=iter(conditions.reference) if conditions.reference else None,
            cross=iter(cross) if cross else None,
            audio=iter(conditions.audio) if conditions.audio and not spatial_audio else None,
            motion=iter(conditions.motion) if conditions.motion else None,
            lips=conditions.lips,
            still=conditions.still,
            recompute=self.recompute,
            alone=alone,
        )
        return x, walk

    def _descend(self, x: Tensor, walk: Walk) -> tuple[Tensor, list[Tensor]]:
        skips = [x] if self.skip_inputs else []
        for block in _as_levels(self.down_blocks):
            for index in range(len(block.resnets)):
                x = block.layer(index, x, walk)
                skips.append(x)
            if block.halves:
                x = block.downsamplers[0](x)
                skips += [x] if self.skip_inputs else []
        return x, skips

    def _turn(self, x: Tensor, walk: Walk) -> Tensor:
        middle = self.mid_block
        out: Tensor = middle.resnets[1](middle.layer(0, x, walk), walk.embedding, walk.change(middle.depth))
        return out

    def _ascend(self, x: Tensor, skips: list[Tensor], walk: Walk) -> Tensor:
        for block in _as_levels(self.up_blocks):
            for index in range(len(block.resnets)):
                x = block.layer(index, torch.cat([x, skips.pop()], dim=1), walk)
            if block.doubles:
                x = block.upsamplers[0](x, skips[-1].shape[-2:])
        return x


def _as_levels(blocks: nn.ModuleList) -> list[Level]:
    return [block for block in blocks if isinstance(block, Level)]
