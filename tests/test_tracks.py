"""The sound track in a video: the original packets where the container takes them, in time in any case."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from emo_cli import footage, speech, tracks, video
from test_speech import convert, lag, voice, wav

SECONDS = 1.537
ENCODINGS = {
    "mp3": ("-c:a", "libmp3lame"), "m4a": ("-c:a", "aac"), "aac": ("-c:a", "aac"), "flac": ("-c:a", "flac"),
    "caf": ("-c:a", "alac"), "ogg": ("-c:a", "libvorbis"), "opus": ("-c:a", "libopus"),
    "ac3": ("-c:a", "ac3"), "wav": (),
}  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wav(tmp_path_factory.mktemp("sound") / "original.wav", voice(44_100, SECONDS, 2), 44_100, "PCM_16")


def packets(path: Path) -> list[str]:
    """The codec and a checksum of every packet of the first sound track."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:a:0", "-c", "copy"]
    listed = subprocess.run([*command, "-f", "framecrc", "-"], capture_output=True, text=True, check=True).stdout
    codec = next(line.split()[-1] for line in listed.splitlines() if line.startswith("#codec_id"))
    return [codec, *(line.split(",")[5].split()[0] for line in listed.splitlines() if not line.startswith("#"))]


def filmed(sound: speech.Sound, path: Path) -> Path:
    """A video of grey pictures with this sound."""
    count = video.frame_count(sound.seconds, 25)
    return video.write(path, (np.full((16, 16, 3), 128, np.uint8) for _ in range(count)), 25, sound).path


@pytest.mark.parametrize(
    ("suffix", "copied"),
    [(".mp4", "mp3 m4a flac caf opus"), (".mov", "mp3 m4a caf"), (".mkv", "m4a flac caf ogg opus wav ac3"),
     (".webm", "ogg opus")],
)  # fmt: skip
def test_packets_are_copied_where_the_container_takes_them_and_lips_stay_in_time(
    original: Path, tmp_path: Path, suffix: str, copied: str
) -> None:
    for kind, options in ENCODINGS.items():
        sound = speech.read(convert(original, tmp_path / f"sound.{kind}", *options))
        made = filmed(sound, tmp_path / f"{kind}{suffix}")
        same = packets(made)[1:] == packets(sound.source)[1:]
        assert same == (kind in copied.split()), kind
        assert lag(speech.read(made).waveform, sound.waveform) == 0, kind
        probed = footage.probe(made)
        assert probed.sound_seconds is not None
        assert abs(probed.sound_seconds - probed.seconds) < 1 / 25, kind


def test_the_packets_of_a_bare_stream_are_copied_without_their_headers(original: Path, tmp_path: Path) -> None:
    sound = speech.read(convert(original, tmp_path / "sound.aac", "-c:a", "aac"))
    made = filmed(sound, tmp_path / "x.mp4")
    assert len(packets(made)) == len(packets(sound.source))
    assert np.array_equal(speech.read(made).waveform, sound.waveform)


@pytest.mark.parametrize("part", [{"start": 0.5}, {"duration": 1.0}], ids=str)
def test_a_part_of_a_sound_is_encoded_and_cut_exactly(original: Path, tmp_path: Path, part: dict[str, float]) -> None:
    sound = speech.read(convert(original, tmp_path / "sound.mp3"), **part)
    made = filmed(sound, tmp_path / "x.mp4")
    assert packets(made)[0] == "aac"
    assert lag(speech.read(made).waveform, sound.waveform) == 0


def test_what_must_be_encoded_is_aac_at_192_kilobits(original: Path, tmp_path: Path) -> None:
    noise = 0.3 * np.random.default_rng(0).standard_normal((44_100 * 4, 2)).astype("f4")
    made = filmed(speech.read(wav(tmp_path / "noise.wav", noise, 44_100)), tmp_path / "x.mp4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(made), "-map", "0:a:0", "-c", "copy"]
    size = len(subprocess.run([*command, "-f", "data", "-"], capture_output=True, check=True).stdout)
    assert size * 8 / 4 / 1000 == pytest.approx(192, rel=0.15)


def test_surround_sound_is_copied_whole(tmp_path: Path) -> None:
    wav(tmp_path / "six.wav", voice(48_000, 0.6, 6), 48_000, "PCM_16")
    sound = speech.read(convert(tmp_path / "six.wav", tmp_path / "six.m4a", "-c:a", "aac"))
    assert packets(filmed(sound, tmp_path / "x.mp4")) == packets(sound.source)


def test_a_track_whose_time_stamps_jump_is_not_copied(original: Path, tmp_path: Path) -> None:
    whole = convert(original, tmp_path / "whole.m4a", "-c:a", "aac")
    assert tracks.copyable(whole, SECONDS, {"aac"}) == "aac"
    drop = ("-c:a", "copy", "-bsf:a", "noise=drop=between(n\\,20\\,40)")
    torn = convert(whole, tmp_path / "torn.m4a", *drop)
    assert tracks.copyable(torn, speech.read(torn).seconds, {"aac"}) is None


@pytest.mark.parametrize("seconds", [SECONDS - 0.3, SECONDS + 0.3])
def test_a_track_of_another_length_than_was_heard_is_not_copied(
    original: Path, tmp_path: Path, seconds: float
) -> None:
    assert tracks.copyable(convert(original, tmp_path / "sound.mp3"), seconds, {"mp3"}) is None


def test_nothing_in_the_song_s_own_words_comes_along(original: Path, tmp_path: Path) -> None:
    words = ("-metadata", "artist=somebody", "-metadata:s:a:0", "title=secret", "-metadata:s:a:0", "language=nob")
    sound = speech.read(convert(original, tmp_path / "sound.m4a", "-c:a", "aac", *words))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(filmed(sound, tmp_path / "x.mp4"))]
    told = subprocess.run(command, capture_output=True, text=True).stderr
    assert "Audio: aac" in told and not [word for word in ("somebody", "secret", "nob)") if word in told]
