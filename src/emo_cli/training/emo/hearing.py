"""What the sound encoder makes of every clip, kept on disk beside the run, so that it listens only once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emo_cli import scratch, speech
from emo_cli.dataset.manifest import TrainingClip, video_of
from emo_cli.sound.encoders import SoundEncoder
from emo_cli.sound.loudness import levelled
from emo_cli.sound.wav2vec import Wav2VecEncoder, window_frames
from emo_cli.training import processes
from emo_cli.training.journal import Progress

HEARD = "heard"


class Hearing:
    """Features of the clips in `data`, float16, in `folder`/heard, one file per clip and encoder.

    wav2vec's frames are kept once, not once for every frame that hears them.
    """

    def __init__(self, data: Path, encoder: SoundEncoder, folder: Path) -> None:
        self.data, self.encoder = data, encoder
        self.folder = folder / HEARD / _fingerprint(encoder)

    def listen(self, clips: list[TrainingClip], progress: Progress | None) -> None:
        """Hear every clip that has not been heard; each process of the group takes its share. Raises OutputError."""
        scratch.make_folder(self.folder)
        missing = [clip for clip in clips if not self._file(clip).exists()]
        mine = missing[processes.rank() :: processes.count()]
        for index, clip in enumerate(mine):
            self._keep(clip)
            if progress is not None:
                progress("listening", index + 1, len(mine))
        processes.wait_for_all()

    def features(self, clip: TrainingClip, first: int, frames: int) -> Tensor:
        """Features (frames, tokens, width) of a part of a clip; only that part is read."""
        kept = np.load(self._file(clip), mmap_mode="r")
        wanted = torch.arange(first, first + frames).clamp(0, len(kept) - 1)
        if isinstance(self.encoder, Wav2VecEncoder):
            around = window_frames(wanted, len(kept))  # (frames, 5)
            return _copied(kept, around).flatten(1, 2)
        return _copied(kept, wanted)

    @torch.no_grad()
    def _keep(self, clip: TrainingClip) -> None:
        sound = speech.read(video_of(self.data, clip))
        if isinstance(self.encoder, Wav2VecEncoder):
            waveform = torch.from_numpy(levelled(sound.samples)[:])
            features = self.encoder.states(waveform, speech.frame_count(sound.seconds, clip.fps), clip.fps)
        else:
            features = speech.encode(sound, self.encoder, clip.fps).features[:]
        with scratch.replaced(self._file(clip)) as part:
            np.save(part, features.half().cpu().numpy())

    def _file(self, clip: TrainingClip) -> Path:
        return self.folder / f"{clip.name}.npy"


def _copied(kept: np.ndarray, rows: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(kept[rows.numpy()])).float()


def _fingerprint(encoder: SoundEncoder) -> str:
    """A name for exactly this encoder."""
    digest = hashlib.sha256(type(encoder).__name__.encode())
    if isinstance(encoder, nn.Module):
        for name, value in encoder.state_dict().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
