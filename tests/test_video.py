"""Video out: whole or not at all, sound and pictures in step, colours kept, nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from emo_cli import footage, speech, video
from emo_cli.errors import DeviceError, OutputError, UsageError
from emo_cli.tape import Tape
from made_sound import lag


def frames(count: int, height: int = 32, width: int = 32) -> Iterator[np.ndarray]:
    """Grey frames that grow brighter, by 2 per frame from 20 on."""
    return (np.full((height, width, 3), (20 + 2 * i) % 256, np.uint8) for i in range(count))


def noise(seconds: float, rate: int = 44_100, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(3).standard_normal((round(seconds * rate), channels)).astype("f4")


@dataclass(frozen=True)
class Track:
    source: Path | None
    start: float
    seconds: float


def track(folder: Path, seconds: float, rate: int = 44_100, channels: int = 1) -> Track:
    path = folder / f"sound {seconds:.4f} {rate}.wav"
    soundfile.write(path, noise(seconds, rate, channels), rate, subtype="FLOAT")
    return Track(path, 0.0, round(seconds * rate) / rate)


def samples_of(path: Path) -> np.ndarray:
    """The sound as it is stored: (samples, 2)."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    result = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return np.frombuffer(result.stdout, "<f4").reshape(-1, 2)


ODD_LENGTHS = [
    *[(0.011, 25), (0.04, 25), (0.0401, 25), (0.333, 30), (0.5, 24), (0.777, 29.97), (0.999, 25)],
    *[(1.0, 25), (1.001, 30), (1.0399, 25), (1.0401, 25), (1.111, 60), (1.2345, 23.976), (1.333, 50)],
    *[(1.5, 12.5), (1.61803, 30000 / 1001), (1.999, 15), (2.001, 48), (2.71828, 25), (3.14159, 25)],
]


@pytest.mark.parametrize(("seconds", "fps"), ODD_LENGTHS)
def test_pictures_and_sound_are_equally_long(tmp_path: Path, seconds: float, fps: float) -> None:
    sound = track(tmp_path, seconds)
    count = video.frame_count(sound.seconds, fps)
    written = video.write(tmp_path / "talk.mp4", frames(count), fps, sound)
    found = footage.probe(written.path)
    assert found.frames == written.frames == count
    assert found.fps == pytest.approx(fps, abs=1e-4)
    assert found.seconds == pytest.approx(written.seconds, abs=1e-4)
    assert found.seconds >= sound.seconds - 1e-6
    assert found.sound_seconds == pytest.approx(found.seconds, abs=min(1 / fps, 0.001))


@pytest.mark.parametrize("count", [20, 40])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_sound_is_cut_or_filled_to_as_many_frames_as_came(tmp_path: Path, count: int, rate: int) -> None:
    sound = track(tmp_path, 1.2, rate)
    found = footage.probe(video.write(tmp_path / "talk.mp4", frames(count), 25, sound).path)
    assert found.frames == count
    assert found.sound_seconds == pytest.approx(count / 25, abs=0.001)
    assert [file.name for file in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".MP4"])
def test_every_container_holds_all_frames_and_the_sound(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"talk{suffix}"
    video.write(path, frames(26), 25, track(tmp_path, 1.04))
    found = footage.probe(path)
    assert (found.frames, found.width, found.height) == (26, 32, 32)
    assert found.sound_seconds == pytest.approx(1.04, abs=0.025)


@pytest.mark.parametrize(("height", "width"), [(333, 511), (1, 1), (2, 3), (17, 64), (64, 17)])
def test_odd_sizes_get_their_edge_twice(tmp_path: Path, height: int, width: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, -1] = 200
    written = video.write(tmp_path / "odd.mp4", [picture] * 3, 25)
    found = list(footage.read(written.path))
    assert [frame.shape for frame in found] == [(height + height % 2, width + width % 2, 3)] * 3
    assert abs(int(found[0][0, -1, 0]) - 200) < 25


COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "white": (255,) * 3,
    "skin": (224, 172, 140),
}


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_come_back(tmp_path: Path, colour: str, suffix: str) -> None:
    picture = np.broadcast_to(np.array(COLOURS[colour], np.uint8), (64, 64, 3))
    written = video.write(tmp_path / f"{colour}{suffix}", [picture] * 2, 25)
    found = next(iter(footage.read(written.path)))
    assert np.abs(found.astype(int) - picture).max() <= 3


def test_colours_are_stored_and_tagged_as_television_expects(tmp_path: Path) -> None:
    picture = np.broadcast_to(np.array((255, 0, 0), np.uint8), (64, 64, 3))
    written = video.write(tmp_path / "red.mp4", [picture] * 2, 25)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(written.path), "-f", "rawvideo", "-"]
    result = subprocess.run(command, capture_output=True, timeout=60)
    planes = np.frombuffer(result.stdout, np.uint8)
    found = int(planes[0]), int(planes[64 * 64]), int(planes[64 * 64 * 5 // 4])
    assert np.abs(np.array(found) - (63, 102, 240)).max() <= 1
    assert b"yuv420p(tv, bt709, progressive)" in result.stderr


@pytest.mark.parametrize("rate", [44_100, 48_000, 16_000])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_is_not_shifted(tmp_path: Path, suffix: str, rate: int) -> None:
    sound = track(tmp_path, 1.3, rate)
    written = video.write(tmp_path / f"talk{suffix}", frames(33), 25, sound)
    assert lag(speech.read(written.path).waveform, speech.read(sound.source).waveform) == 0


@pytest.mark.parametrize("kind", ["wav", "mp3", "m4a", "ogg"])
def test_the_chosen_part_of_the_sound_is_what_the_model_heard(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"whole.{kind}"
    original = track(tmp_path, 3.0).source
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(original), str(path)], check=True)
    sound = speech.read(path, start=0.777, duration=1.1)
    written = video.write(tmp_path / "part.mp4", frames(28), 25, sound)
    heard = speech.read(written.path).waveform[: len(sound.waveform)]
    assert lag(heard, sound.waveform) == 0
    assert np.corrcoef(heard, sound.waveform)[0, 1] > 0.95


def test_the_original_track_is_in_the_video_and_not_what_the_model_hears(tmp_path: Path) -> None:
    times = np.arange(44_100) / 44_100
    left, right = 0.1 * np.sin(2 * np.pi * 12_000 * times), 0.1 * np.sin(2 * np.pi * 1_000 * times)
    soundfile.write(tmp_path / "high.wav", np.stack([left, right], 1), 44_100)
    written = video.write(tmp_path / "talk.mp4", frames(25), 25, speech.read(tmp_path / "high.wav"))
    spectrum = np.abs(np.fft.rfft(samples_of(written.path)[4096:36_864], axis=0)) / 16_384
    pitches = np.fft.rfftfreq(32_768, 1 / 44_100)
    for channel, pitch in enumerate((12_000, 1_000)):
        near = np.abs(pitches - pitch) < 20
        assert np.sqrt((spectrum[near, channel] ** 2).sum()) == pytest.approx(0.1, rel=0.05)
        assert np.sqrt((spectrum[near, 1 - channel] ** 2).sum()) < 0.005


@pytest.mark.parametrize("channels", [3, 6, 7, 9, 16])
def test_sound_of_many_channels_is_carried(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "many.wav"
    soundfile.write(path, noise(0.5, 48_000, channels), 48_000)
    found = footage.probe(video.write(tmp_path / "talk.mp4", frames(13), 25, speech.read(path)).path)
    assert found.sound_seconds == pytest.approx(0.52, abs=0.001)


def test_sound_with_samples_that_are_no_numbers_is_carried(tmp_path: Path) -> None:
    samples = noise(0.5, 192_000)
    samples[1000:1010], samples[2000] = np.nan, np.inf
    soundfile.write(tmp_path / "broken.wav", samples, 192_000, subtype="FLOAT")
    sound = speech.read(tmp_path / "broken.wav")
    found = footage.probe(video.write(tmp_path / "talk.mp4", frames(13), 25, sound).path)
    assert found.sound_seconds == pytest.approx(0.52, abs=0.001)


def test_sound_from_bytes_is_carried(tmp_path: Path) -> None:
    sound = speech.read(track(tmp_path, 0.5).source.read_bytes())
    found = footage.probe(video.write(tmp_path / "talk.mp4", frames(13), 25, sound).path)
    assert found.sound_seconds == pytest.approx(0.52, abs=0.001)


def test_what_the_sound_file_says_about_itself_stays_there(tmp_path: Path) -> None:
    about = tmp_path / "about.txt"
    about.write_text(";FFMETADATA1\nartist=somebody\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=one\n")
    source, path = track(tmp_path, 0.5).source, tmp_path / "song.m4a"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), "-i", str(about)]
    subprocess.run([*command, "-map", "0:a", "-map_metadata", "1", str(path)], check=True, timeout=60)
    written = video.write(tmp_path / "talk.mp4", frames(13), 25, speech.read(path))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i"]
    before, after = (subprocess.run([*command, str(file)], capture_output=True).stderr for file in (path, written.path))
    for word in (b"somebody", b"Chapter"):
        assert word in before
        assert word not in after


def test_players_can_start_before_the_whole_file_has_come(tmp_path: Path) -> None:
    data = video.write(tmp_path / "web.mp4", frames(5), 25, tags={"model": "mini"}).path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_stream_plays_and_its_sound_is_not_shifted(tmp_path: Path) -> None:
    sound = track(tmp_path, 1.3)
    with (tmp_path / "stream.mp4").open("wb") as file:
        written = video.stream(file, frames(33), 25, sound)
    found = footage.probe(tmp_path / "stream.mp4")
    assert (written.frames, found.frames) == (33, 33)
    assert found.sound_seconds == pytest.approx(1.32, abs=0.03)
    heard = speech.read(tmp_path / "stream.mp4").waveform
    assert lag(heard, speech.read(sound.source).waveform) == 0


def failing(error: BaseException) -> Iterator[np.ndarray]:
    yield from frames(10)
    raise error


@pytest.mark.parametrize("error", [ValueError("model"), KeyboardInterrupt(), OSError(28, "photo"), GeneratorExit()])
def test_frames_that_fail_leave_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    sound = track(tmp_path, 1.0)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(type(error)) as caught:
        video.write(tmp_path / "talk.mp4", failing(error), 25, sound)
    assert caught.value is error
    assert sorted(tmp_path.iterdir()) == before


def test_frames_that_fail_leave_the_old_video_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"the old one")
    with pytest.raises(ValueError, match="model"):
        video.write(path, failing(ValueError("model")), 25, overwrite=True)
    assert path.read_bytes() == b"the old one"


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_program_leaves_no_video_under_the_final_name(tmp_path: Path) -> None:
    program = (
        "import sys, time, numpy; from pathlib import Path; from emo_cli import video\n"
        "def frames():\n"
        "    for i in range(1000): yield numpy.full((64, 64, 3), i % 256, 'uint8'); time.sleep(0.01)\n"
        "video.write(Path(sys.argv[1]), frames(), 25)"
    )
    path = tmp_path / "talk.mp4"
    with subprocess.Popen([sys.executable, "-c", program, str(path)]) as child:
        limit = time.monotonic() + 20
        while not list(tmp_path.glob(".talk.part-*")) and time.monotonic() < limit:
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    time.sleep(0.3)
    assert not path.exists() and all(file.name.startswith(".talk.part-") for file in tmp_path.iterdir())


def test_frames_are_taken_only_as_fast_as_they_are_written(tmp_path: Path) -> None:
    seen: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched() -> Iterator[np.ndarray]:
        nonlocal most
        for frame in frames(120, 256, 256):
            seen.append(weakref.ref(frame))
            most = max(most, sum(reference() is not None for reference in seen))
            yield frame
            del frame

    video.write(tmp_path / "long.mp4", watched(), 25)
    assert len(seen) == 120
    assert most <= 4


def test_an_existing_video_is_refused_before_any_frame_is_made(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"the old one")
    untouched = frames(5)
    with pytest.raises(OutputError, match="exists already"):
        video.write(path, untouched, 25)
    assert len(list(untouched)) == 5
    assert path.read_bytes() == b"the old one"


def test_a_video_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"

    def slow() -> Iterator[np.ndarray]:
        yield from frames(3)
        path.write_bytes(b"another one")

    with pytest.raises(OutputError, match="appeared"):
        video.write(path, slow(), 25)
    assert path.read_bytes() == b"another one"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("talk.avi", ".mp4, .mov, .mkv, .webm"),
        ("talk", ".mp4, .mov, .mkv, .webm"),
        ("missing/talk.mp4", "does not exist"),
        ("folder.mp4", "is not a file"),
    ],
)
def test_an_impossible_place_is_refused_early(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=words):
        video.check_output(tmp_path / name)
    video.check_output(tmp_path / "talk.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_refused_early() -> None:
    with pytest.raises(OutputError, match="Nothing can be written"):
        video.check_output(Path("/proc/talk.mp4"))


def test_long_and_foreign_names_work(tmp_path: Path) -> None:
    path = tmp_path / ("ä語 'a' %03d : " + "long" * 50 + ".mp4")
    assert footage.probe(video.write(path, frames(3), 25, overwrite=True).path).frames == 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    pictures = (np.random.default_rng(i).integers(0, 256, (128, 128, 3), np.uint8) for i in range(400))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
    try:
        with pytest.raises(OutputError, match="ffmpeg stopped writing"):
            video.write(tmp_path / "talk.mp4", pictures, 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk in memory with the options given; skipped where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no small disk can be mounted here")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True)


def test_a_disk_that_fills_up_is_said_and_leaves_nothing(mounted: Callable[[str], Path]) -> None:
    place = mounted("size=200k")
    pictures = (np.random.default_rng(i).integers(0, 256, (128, 128, 3), np.uint8) for i in range(400))
    with pytest.raises(OutputError, match="No space left on device.*check the disk"):
        video.write(place / "talk.mp4", pictures, 25)
    assert list(place.iterdir()) == []


def test_a_full_temporary_folder_is_said_with_the_next_step(
    mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = mounted("size=64k")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with pytest.raises(OutputError, match="No space left on device.*TMPDIR"):
        Tape(1000).add(np.zeros((100, 1000), np.float32))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_read_only_disk_is_said_before_the_work(mounted: Callable[[str], Path]) -> None:
    place = mounted("size=200k,ro")
    with pytest.raises(OutputError, match="Read-only"):
        video.check_output(place / "talk.mp4")


def test_a_second_pass_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    sound = track(tmp_path, 1.0)

    def shorter() -> Iterator[np.ndarray]:
        yield from frames(10, 256, 256)
        sound.source.unlink()

    with pytest.raises(OutputError, match="could not fit the sound"):
        video.write(tmp_path / "talk.mp4", shorter(), 25, sound)
    assert list(tmp_path.iterdir()) == []


def test_a_sound_that_is_gone_is_said_in_ffmpegs_words(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        video.write(tmp_path / "talk.mp4", frames(400), 25, Track(tmp_path / "gone.wav", 0.0, 16.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([], "no frames"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], "Frame 1"),
        ([np.zeros((8, 8, 3), np.float32)], "Frame 0"),
        ([np.zeros((8, 8), np.uint8)], "Frame 0"),
        ([np.zeros((8, 8, 4), np.uint8)], "Frame 0"),
    ],
)
def test_frames_that_make_no_video_are_refused(tmp_path: Path, pictures: list[np.ndarray], words: str) -> None:
    with pytest.raises(OutputError, match=words):
        video.write(tmp_path / "talk.mp4", pictures, 25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -25, 1000, float("nan"), float("inf")])
def test_impossible_frame_rates_are_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(UsageError, match="frames per second"):
        video.write(tmp_path / "talk.mp4", frames(3), fps)


def test_a_missing_ffmpeg_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(DeviceError, match="IMAGEIO_FFMPEG_EXE"):
        video.write(tmp_path / "talk.mp4", frames(3), 25)


def test_an_ffmpeg_that_does_not_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(tmp_path / "absent"))
    with pytest.raises(DeviceError, match="does not run"):
        video.write(tmp_path / "talk.mp4", frames(3), 25)
