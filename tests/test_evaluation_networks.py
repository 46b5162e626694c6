"""The networks of papers: files of exactly the published names and shapes are opened, all others are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from emo_cli.errors import IncompatibleCheckpoint, WeightsError
from emo_cli.evaluation.frechet import Gaussian
from emo_cli.evaluation.judges import Clips, Likeness, Pictures, Sync
from emo_cli.evaluation.published import arcface, cepstra, i3d, inception, reconstruction, syncnet
from emo_cli.evaluation.watching import Seen
from emo_cli.identity import five_points
from emo_cli.speech import Sound

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Published:
    """A file: how its network is made and opened, how many tensors it holds without counters, some of their shapes."""

    make: Callable[[], nn.Module]
    open: Callable[[Path], object]
    tensors: int
    shapes: dict[str, tuple[int, ...]]
    name: str = "weights.pth"


FILES = {
    "fid": Published(inception.Inception, inception.opened, 94 * 5 + 2, {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1), "Mixed_5d.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3), "Mixed_6c.branch7x7dbl_4.conv.weight": (160, 160, 7, 1),
        "Mixed_6e.branch7x7_2.conv.weight": (192, 192, 1, 7), "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1), "Mixed_7c.branch1x1.conv.weight": (320, 2048, 1, 1),
        "fc.weight": (1008, 2048), "fc.bias": (1008,),
    }),
    "fvd": Published(i3d.I3D, i3d.opened, 57 * 5 + 2, {
        "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7), "Conv3d_2c_3x3.bn.bias": (192,),
        "Mixed_3b.b0.conv3d.weight": (64, 192, 1, 1, 1), "Mixed_4d.b2b.conv3d.weight": (64, 24, 3, 3, 3),
        "Mixed_5c.b1b.conv3d.weight": (384, 192, 3, 3, 3), "Mixed_5c.b3b.bn.running_mean": (128,),
        "logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,),
    }),
    "efid": Published(reconstruction.Reconstruction, reconstruction.opened, 53 * 5 + 14, {
        "backbone.conv1.weight": (64, 3, 7, 7), "backbone.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "backbone.layer3.5.bn3.running_mean": (1024,), "backbone.layer4.0.conv2.weight": (512, 512, 3, 3),
        "final_layers.0.weight": (80, 2048, 1, 1), "final_layers.1.weight": (64, 2048, 1, 1),
        "final_layers.4.bias": (27,), "final_layers.6.bias": (1,),
    }),
    "fsim": Published(lambda: arcface.ArcFace((2, 2, 2, 2)), lambda path: arcface.opened(path, CPU), 156, {
        "conv1.weight": (64, 3, 3, 3), "prelu.weight": (64,), "layer1.0.downsample.0.weight": (64, 64, 1, 1),
        "layer2.1.bn1.running_var": (128,), "layer4.0.conv2.weight": (512, 512, 3, 3), "bn2.weight": (512,),
        "fc.weight": (512, 25088), "features.running_mean": (512,),
    }),
    "syncnet": Published(syncnet.SyncNet, syncnet.opened, 12 * 6 + 2 * 8, {
        "netcnnaud.0.weight": (64, 1, 3, 3), "netcnnaud.4.weight": (192, 64, 3, 3),
        "netcnnaud.18.weight": (512, 256, 5, 4), "netcnnaud.19.running_var": (512,), "netfcaud.3.weight": (1024, 512),
        "netcnnlip.0.weight": (96, 3, 5, 7, 7), "netcnnlip.4.weight": (256, 96, 1, 5, 5),
        "netcnnlip.18.weight": (512, 256, 1, 6, 6), "netfclip.0.bias": (512,), "netfclip.1.running_mean": (512,),
    }, "syncnet_v2.model"),
}  # fmt: skip


def thin(make: Callable[[], nn.Module]) -> dict[str, torch.Tensor]:
    """Tensors of the right shapes that take no room: each is one random number, seen everywhere. No counters, as in
    files of an older PyTorch."""
    random = torch.Generator().manual_seed(1)
    with torch.device("meta"):
        network = make()
    return {
        name: (torch.rand(1, generator=random) / 10 + 0.01).expand(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("kind", FILES)
def test_a_network_has_the_tensors_of_the_published_file(kind: str) -> None:
    published = FILES[kind]
    weights = thin(published.make)
    assert len(weights) == published.tensors
    assert {name: tuple(weights[name].shape) for name in published.shapes} == published.shapes


def test_networks_are_as_large_as_their_papers_say() -> None:
    with torch.device("meta"):
        sizes = [
            sum(value.numel() for value in network.parameters())
            for network in (reconstruction.ResNet(), inception.Inception(), arcface.ArcFace((3, 13, 30, 3)))
        ]
    assert sizes[0] == 25_557_032 - 1000 * 2049  # ResNet-50 without its thousand classes
    assert sizes[1] == 23_834_568 + 8 * 2049  # Inception v3 without its second head, and 1008 classes for 1000
    assert round(sizes[2] / 1e6, 2) == 65.16


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_used_as_it_is_or_the_key_that_it_misses_is_named(kind: str, tmp_path: Path) -> None:
    published, path = FILES[kind], tmp_path / FILES[kind].name
    weights = thin(published.make)
    torch.save(weights, path)
    opened = published.open(path)
    if isinstance(opened, nn.Module):
        assert all(torch.equal(opened.state_dict()[name], value) for name, value in weights.items())
        assert not opened.training

    first = next(iter(published.shapes))
    torch.save({name: value for name, value in weights.items() if name != first}, path)
    with pytest.raises(IncompatibleCheckpoint, match=f"misses 1 tensors .{first}"):
        published.open(path)


def test_a_key_too_many_or_of_another_shape_is_named(tmp_path: Path) -> None:
    weights, path = thin(syncnet.SyncNet), tmp_path / "syncnet_v2.model"
    torch.save({**weights, "extra.weight": torch.zeros(3)}, path)
    with pytest.raises(IncompatibleCheckpoint, match="unknown 1 tensors .extra.weight"):
        syncnet.opened(path)
    torch.save({**weights, "netfclip.0.bias": torch.zeros(3)}, path)
    with pytest.raises(IncompatibleCheckpoint, match="misshapen 1 tensors .netfclip.0.bias"):
        syncnet.opened(path)


def test_a_file_that_could_run_a_program_is_not_opened(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="could run a program"):
        inception.opened(tmp_path / "model.pth")


def test_the_reconstruction_is_found_inside_a_training_checkpoint(tmp_path: Path) -> None:
    weights = thin(reconstruction.Reconstruction)
    torch.save({"net_recon": weights, "opt_00": {"state": {}}}, tmp_path / "epoch_20.pth")
    torch.save({f"net_recon.{name}": value for name, value in weights.items()}, tmp_path / "flat.pth")
    for name in ("epoch_20.pth", "flat.pth"):
        opened = reconstruction.opened(tmp_path / name)
        assert torch.equal(opened.final_layers[1].bias, weights["final_layers.1.bias"])


def test_inception_gives_2048_numbers_that_depend_on_the_picture() -> None:
    torch.manual_seed(0)
    network = inception.Inception().eval()
    pictures = torch.rand(2, 3, 64, 80) * 255
    with torch.inference_mode():
        told = network(inception.prepared(pictures))
    assert told.shape == (2, 2048)
    assert not torch.equal(told[0], told[1])


def test_inception_leaves_the_border_out_of_averages_but_for_the_last_block() -> None:
    flat = torch.ones(1, 1, 5, 5)
    assert torch.equal(inception.POOLS["average"](flat), flat)
    assert inception.BLOCKS["Mixed_7b"][-1][0] == "average"
    assert inception.BLOCKS["Mixed_7c"][-1][0] == "highest"


def test_pictures_are_shown_to_the_networks_between_minus_one_and_one() -> None:
    black_and_white = torch.cat([torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 255.0)])
    assert [float(one.mean()) for one in inception.prepared(black_and_white)] == [-1, 1]
    clip = i3d.prepared(black_and_white)
    assert clip.shape == (1, 3, 2, 224, 224)
    assert [float(clip[:, :, time].mean()) for time in (0, 1)] == [-1, 1]


def test_i3d_gives_400_numbers_of_a_clip() -> None:
    torch.manual_seed(0)
    network = i3d.I3D().eval()
    with torch.inference_mode():
        told = network(torch.rand(1, 3, 9, 224, 224))
    assert told.shape == (1, 400)


@pytest.mark.parametrize(("length", "kernel", "stride"), [(16, 7, 2), (15, 7, 2), (9, 3, 1), (7, 3, 2), (5, 2, 2)])
def test_padding_leaves_the_length_to_the_stride(length: int, kernel: int, stride: int) -> None:
    three = (kernel,) * 3, (stride,) * 3
    padded = i3d.padded(torch.ones(1, 1, length, length, length), *three)
    assert (padded.shape[2] - kernel) // stride + 1 == math.ceil(length / stride)
    zeros = int((padded[0, 0, :, padded.shape[3] // 2, padded.shape[4] // 2] == 0).sum())
    behind = int((padded[0, 0, -4:, padded.shape[3] // 2, padded.shape[4] // 2] == 0).sum())
    assert behind == zeros - zeros // 2


def test_the_reconstruction_sees_a_face_at_its_own_size_and_place() -> None:
    """Five spots where the 3D model's points are seen from the front, forty pixels per unit, around (150, 120)."""
    landmarks = np.zeros((478, 3))
    spots = 40 * reconstruction.PLACES[:, :2] * (1, -1) + (150, 120)
    order = five_points(np.arange(478.0)[:, None].repeat(2, 1))  # which numbers five_points looks at is its own affair
    assert order.shape == (5, 2)
    _put(landmarks, spots)
    picture = np.zeros((240, 300, 3), np.uint8)
    picture[120, 150] = 255
    face = reconstruction.prepared(picture, landmarks)
    assert face.shape == (1, 3, 224, 224)
    y, x = np.unravel_index(int(face[0, 0].argmax()), (224, 224))
    assert abs(x - 112) <= 3 and abs(y - 112) <= 3  # one pixel of the picture is 2.55 of the crop


def _put(landmarks: np.ndarray, spots: np.ndarray) -> None:
    from emo_cli.face.landmarks import LEFT_EYE, MOUTH_CORNERS, NOSE_TIP, RIGHT_EYE

    for points, spot in zip((RIGHT_EYE, LEFT_EYE, (NOSE_TIP,), *((c,) for c in MOUTH_CORNERS)), spots, strict=True):
        landmarks[list(points), :2] = spot


def test_expression_is_the_second_of_the_reconstruction_s_parts() -> None:
    assert sum(reconstruction.WIDTHS) == 257
    network = reconstruction.Reconstruction().eval()
    with torch.no_grad():
        for index, layer in enumerate(network.final_layers):
            layer.weight.zero_()
            layer.bias.fill_(index)
        told = network(torch.rand(1, 3, 64, 64))
    assert told.shape == (1, 257)
    assert set(told[0, reconstruction.EXPRESSION].tolist()) == {1.0}


def test_arcface_tells_its_depth_from_the_file_and_gives_512_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(arcface.ArcFace((1, 2, 1, 1)).state_dict(), tmp_path / "backbone.pth")
    recogniser = arcface.opened(tmp_path / "backbone.pth", CPU)
    landmarks = np.zeros((478, 3))
    _put(landmarks, np.array([[60, 60], [100, 60], [80, 80], [65, 100], [95, 100]]))
    told = recogniser(np.random.default_rng(0).integers(0, 255, (160, 160, 3)).astype(np.uint8), landmarks)
    assert told.shape == (512,)
    assert arcface.likeness(told, 3 * told) == pytest.approx(100)
    with pytest.raises(IncompatibleCheckpoint, match="no ArcFace network"):
        arcface.depths({"conv1.weight": torch.zeros(1)}, tmp_path)


def test_likeness_is_told_with_the_reference_and_from_frame_to_frame() -> None:
    directions = iter(np.radians([0, 60, 60, 90]))

    def recogniser(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        angle = next(directions)
        return np.array([np.cos(angle), np.sin(angle)])

    seen = Seen(np.zeros((8, 8, 3), np.uint8), np.zeros((478, 3)))
    likeness = Likeness(recogniser, np.array([2.0, 0]))
    for _ in range(4):
        likeness.see(seen)
    assert likeness.similarity() == pytest.approx((100 + 50 + 50 + 0) / 4)
    assert likeness.adjacent() == pytest.approx((50 + 100 + 100 * math.cos(math.radians(30))) / 3)


def test_features_of_all_frames_and_of_whole_clips_reach_the_gaussians() -> None:
    class Flat(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :4]

    pictures, clips = Gaussian(), Gaussian()
    onlookers = Pictures(Flat(), CPU, pictures), Clips(Flat(), CPU, clips)  # type: ignore[arg-type]
    for onlooker in onlookers:
        for _ in range(35):
            onlooker.see(Seen(np.full((12, 12, 3), 255, np.uint8), None))
        onlooker.finish()
    assert (pictures.count, clips.count) == (35, 2)
    assert pictures.moments()[0].tolist() == pytest.approx([1] * 4)


def test_cepstra_are_those_of_the_formula() -> None:
    """One window, worked out number by number."""
    waveform = np.random.default_rng(0).normal(0, 0.1, 400).astype(np.float32)
    told = cepstra.cepstra(waveform)
    samples = waveform.astype(np.float64) * 32768
    sharp = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    power = np.abs(np.fft.rfft(sharp, 512)) ** 2 / 512
    top = 2595 * np.log10(1 + 8000 / 700)
    edges = [math.floor(513 * 700 * (10 ** (k * top / 27 / 2595) - 1) / 16000) for k in range(28)]
    logs = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        energy = sum(power[k] * (k - low) / (middle - low) for k in range(low, middle))
        energy += sum(power[k] * (high - k) / (high - middle) for k in range(middle, high))
        logs.append(math.log(energy))
    second = math.sqrt(2 / 26) * sum(value * math.cos(math.pi * 2 * (k + 0.5) / 26) for k, value in enumerate(logs))
    assert told.shape == (1, 13)
    assert float(told[0, 0]) == pytest.approx(math.log(power.sum()), rel=1e-5)
    assert float(told[0, 2]) == pytest.approx(second * (1 + 11 * math.sin(math.pi * 2 / 22)), rel=1e-4)


def test_a_late_sound_is_heard_late_and_an_early_one_has_lost_its_beginning() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    told = cepstra.cepstra(waveform)
    late, early = cepstra.cepstra(waveform, 1600), cepstra.cepstra(waveform, -1600)
    assert (len(late) - len(told), len(early) - len(told)) == (10, -10)
    assert torch.allclose(late[11:], told[1:])
    assert torch.allclose(early[1:], told[11:])


def test_cepstra_come_a_hundred_times_a_second() -> None:
    assert cepstra.cepstra(np.zeros(16000, np.float32)).shape == (99, 13)
    assert torch.isfinite(cepstra.cepstra(np.zeros(100, np.float32))).all()


def test_syncnet_makes_points_of_faces_and_of_sound() -> None:
    torch.manual_seed(0)
    network = syncnet.SyncNet().eval()
    with torch.inference_mode():
        assert network.hear(torch.rand(2, 1, 13, 20)).shape == (2, 1024)
        assert network.see(torch.rand(1, 3, 5, 224, 224)).shape == (1, 1024)


class Clockwork(nn.Module):
    """Sees the time that is written in a face's first pixel and hears the one in the first cepstrum; both go round."""

    def see(self, faces: torch.Tensor) -> torch.Tensor:
        return self._point(faces[:, 0, 0, 0, 0])

    def hear(self, pieces: torch.Tensor) -> torch.Tensor:
        return self._point(pieces[:, 0, 0, 0])

    def _point(self, time: torch.Tensor) -> torch.Tensor:
        angle = 2 * math.pi * time[:, None] / torch.tensor([40.0, 27.0])
        return torch.cat([angle.sin(), angle.cos(), torch.zeros(len(time), 1020)], 1)


@pytest.mark.parametrize("late", [0, 3, -7])
def test_syncnet_s_distances_find_lips_that_are_late(late: int) -> None:
    heard = torch.zeros(4 * 106, 13)
    heard[:, 0] = torch.arange(4 * 106) / 4
    distances = syncnet.Distances(Clockwork(), heard, CPU)  # type: ignore[arg-type]
    faces = torch.zeros(100, 3, 1, 1, 1)
    faces[:, 0, 0, 0, 0] = torch.arange(100) - late
    for part in faces.split(30):
        distances.add(part)
    score = distances.score()
    assert score is not None
    assert score.offset == late
    assert score.confidence > 0.5 and score.distance < 0.5


def test_syncnet_is_shown_the_lower_face_in_windows_of_five_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """The square is 2.8 half faces wide, its middle 0.4 half faces below the face's."""
    network = syncnet.SyncNet()
    shown: list[torch.Tensor] = []
    monkeypatch.setattr(network, "see", lambda faces: shown.append(faces) or torch.zeros(len(faces), 1024))
    monkeypatch.setattr(network, "hear", lambda pieces: torch.zeros(len(pieces), 1024))
    sync = Sync(network, Sound(np.zeros(32000, np.float32), 2.0, None, 0.0, None), 0.0, CPU)
    frame = np.zeros((300, 300, 3), np.uint8)
    frame[150 + 20, 140] = (250, 0, 0)  # half a face is 50 pixels
    landmarks = np.zeros((478, 3))
    landmarks[:, :2] = (140, 150)
    landmarks[0, :2], landmarks[1, :2] = (90, 100), (190, 200)
    for index in range(30):
        sync.see(Seen(frame, landmarks if index > 4 else None))
    sync.finish()
    windows = torch.cat(shown)
    assert windows.shape == (26, 3, 5, 224, 224)
    blue_first = windows[10, :, 2]
    y, x = np.unravel_index(int(blue_first[2].argmax()), (224, 224))
    assert abs(x - 112) <= 2 and abs(y - 112) <= 2
    assert float(blue_first[0].max()) == 0
