"""Sound in: every kind of file is heard right, whole, at the right time, and what cannot be heard is said."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
import torch

from emo_cli import speech
from emo_cli.errors import InputError, ModelError
from emo_cli.sound.loudness import levelled, loudness, voice_share
from emo_cli.tape import Waveform
from made_sound import lag


def voice(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """Tones whose loudness rises and falls at random, different in each channel: (samples, channels)."""
    generator = np.random.default_rng(7)
    times = np.arange(round(rate * seconds)) / rate
    tones = sum(np.sin(2 * np.pi * pitch * times) for pitch in (220, 470, 1130, 2300))
    swell = generator.uniform(0, 1, (int(seconds * 12) + 2, channels))
    rise = np.stack([np.interp(times * 12, np.arange(len(swell)), swell[:, i]) for i in range(channels)], 1)
    return (0.12 * tones[:, None] * rise + 0.01 * generator.standard_normal((len(times), channels))).astype("f4")


def convert(source: Path, target: Path, *options: str) -> Path:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True, timeout=60)
    return target


def wav(path: Path, samples: np.ndarray, rate: int = 16_000, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype, format="WAV")
    return path


@pytest.mark.parametrize("rate", [44_100, 48_000, 24_000, 22_050, 8_000, 192_000, 11_025, 44_056])
def test_resampled_tones_are_the_ideal_tones_and_none_fold_back(rate: int) -> None:
    kept = [pitch for pitch in (220, 1000, 3500, 7000) if pitch < 0.45 * rate]
    lost = [pitch for pitch in (8300, 9500, 15_000) if pitch < 0.45 * rate]
    times = np.arange(rate) / rate
    tones = sum(np.sin(2 * np.pi * pitch * times) for pitch in kept + lost) / 8
    resampler = speech.Resampler(rate)
    blocks = torch.from_numpy(tones.astype("f4")).split(3001)
    result = torch.cat([*(resampler.push(block) for block in blocks), resampler.finish()]).numpy()
    assert len(result) == 16_000
    ideal = sum(np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000) for pitch in kept) / 8
    assert np.abs(result - ideal)[1000:-1000].max() < 1e-5


def test_an_impulse_stays_where_it_was() -> None:
    samples = torch.zeros(48_000)
    samples[24_000] = 1.0
    resampler = speech.Resampler(48_000)
    result = torch.cat([resampler.push(samples), resampler.finish()])
    assert int(result.argmax()) == 8_000


@pytest.mark.parametrize("length", [1, 2, 441, 44_099, 44_101])
def test_resampling_rounds_the_length_up(length: int) -> None:
    resampler = speech.Resampler(44_100)
    count = len(resampler.push(torch.ones(length))) + len(resampler.finish())
    assert count == -(-length * 160 // 441)


def test_five_minutes_are_read_in_less_memory_than_they_fill(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 48_000, 2) as file:
        for _ in range(300):
            file.write(np.zeros((48_000, 2), "i2"))
    program = (
        "import resource, sys; from pathlib import Path; from emo_cli import speech\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = used(); sound = speech.read(Path(sys.argv[1])); print(sound.seconds, used() - before)"
    )
    pytest.importorskip("resource")
    result = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    seconds, mebibytes = (float(word) for word in result.stdout.split())
    assert seconds == 300
    assert mebibytes < 300 * 48_000 * 2 * 4 / 2**20


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3", "m4a", "webm", "aiff", "w64"])
def test_every_kind_of_file_is_heard_at_the_right_time(tmp_path: Path, kind: str) -> None:
    samples = voice(44_100, 2.137)
    original = wav(tmp_path / "original.wav", samples, 44_100)
    true = speech.read(original)
    heard = speech.read(convert(original, tmp_path / f"copy.{kind}"))
    assert true.seconds == len(samples) / 44_100
    assert abs(heard.seconds - true.seconds) < 0.001
    assert lag(heard.waveform, true.waveform) == 0
    count = min(len(heard.waveform), len(true.waveform))
    assert np.corrcoef(heard.waveform[:count], true.waveform[:count])[0, 1] > 0.98


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", None)])
def test_what_is_heard_equals_what_libsndfile_decodes(tmp_path: Path, kind: str, subtype: str | None) -> None:
    path = tmp_path / f"speech.{kind.lower()}"
    soundfile.write(path, voice(16_000, 1.5, channels=2), 16_000, format=kind, subtype=subtype)
    true, _ = soundfile.read(path, dtype="float32")
    heard = speech.read(path)
    assert len(heard.waveform) == len(true)
    assert np.abs(heard.waveform - true.mean(1)).max() < 1e-4


def test_an_mp3_without_an_index_is_heard_to_its_end(tmp_path: Path) -> None:
    original = wav(tmp_path / "original.wav", voice(44_100, 3.0), 44_100)
    path = convert(original, tmp_path / "old.mp3", "-q:a", "5", "-write_xing", "0")
    assert speech.read(path).seconds >= 3.0


def test_a_wave_file_piped_without_its_length_is_heard_to_its_end(tmp_path: Path) -> None:
    data = bytearray(wav(tmp_path / "whole.wav", voice(16_000, 1.0), subtype="PCM_16").read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\0\0\0\0"
    assert speech.read(bytes(data)).seconds == 1.0


def test_the_sound_of_a_video_is_heard(tmp_path: Path) -> None:
    original = wav(tmp_path / "original.wav", voice(48_000, 1.2), 48_000)
    options = ["-f", "lavfi", "-i", "color=size=32x32:duration=1.2", "-shortest"]
    heard = speech.read(convert(original, tmp_path / "clip with spaces ä%03d.mp4", *options))
    assert lag(heard.waveform, speech.read(original).waveform) == 0


@pytest.mark.parametrize("name", ["http:talk.m4a", "concat:a|b.m4a", "-i.m4a", "pipe:0.m4a"])
def test_a_name_is_a_file_and_never_an_address_or_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = convert(wav(tmp_path / "original.wav", voice(16_000, 0.5)), tmp_path / "plain.m4a")
    monkeypatch.chdir(tmp_path)
    try:
        path.rename(name)
    except OSError:
        pytest.skip("this system does not allow such names")
    assert speech.read(Path(name)).seconds == pytest.approx(0.5, abs=0.01)


def test_channels_are_averaged(tmp_path: Path) -> None:
    samples = voice(16_000, 0.5, channels=7)
    heard = speech.read(wav(tmp_path / "seven.wav", samples))
    assert np.allclose(heard.waveform, samples.mean(1), atol=1e-6)


def test_eight_bits_are_enough(tmp_path: Path) -> None:
    samples = voice(16_000, 0.5)
    heard = speech.read(wav(tmp_path / "eight.wav", samples, subtype="PCM_U8"))
    assert np.abs(heard.waveform - samples[:, 0]).max() < 0.01


def test_samples_that_are_no_numbers_become_silence_and_the_rest_is_kept(tmp_path: Path) -> None:
    samples = voice(16_000, 0.5)
    broken = samples.copy()
    broken[100], broken[200], broken[300] = np.nan, np.inf, -np.inf
    path = wav(tmp_path / "broken.wav", broken)
    heard = speech.read(path)
    samples[[100, 200, 300]] = 0
    assert np.array_equal(heard.waveform, samples[:, 0])
    assert heard.source != path
    assert np.abs(soundfile.read(heard.source, dtype="float32")[0] - samples[:, 0]).max() < 1e-6


def test_a_part_is_cut_to_the_sample(tmp_path: Path) -> None:
    samples = voice(16_000, 2.0)
    path = wav(tmp_path / "whole.wav", samples)
    heard = speech.read(path, start=0.5, duration=0.75)
    assert np.array_equal(heard.waveform, samples[8_000:20_000, 0])
    assert (heard.seconds, heard.start, heard.duration, heard.source) == (0.75, 0.5, 0.75, path)


def test_a_part_is_the_same_whichever_decoder_reads_it(tmp_path: Path) -> None:
    path = wav(tmp_path / "whole.wav", voice(44_100, 2.0, channels=2), 44_100)
    lossless = convert(path, tmp_path / "whole.mka", "-c:a", "flac", "-sample_fmt", "s32")
    one, other = (speech.read(file, start=0.7, duration=0.6) for file in (path, lossless))
    assert one.seconds == other.seconds
    assert np.abs(one.waveform - other.waveform).max() < 1e-5


def test_a_part_beyond_the_end_is_what_is_left(tmp_path: Path) -> None:
    heard = speech.read(wav(tmp_path / "short.wav", voice(16_000, 1.0)), start=0.75, duration=9.0)
    assert heard.seconds == 0.25


def test_sound_shorter_than_a_frame_gives_one_frame(tmp_path: Path) -> None:
    heard = speech.read(wav(tmp_path / "click.wav", voice(48_000, 0.001), 48_000))
    assert len(heard.waveform) == 16
    assert speech.frame_count(heard.seconds, 25) == 1


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"),
    [(1.0, 25, 25), (1.001, 25, 26), (0.1 + 0.2, 10, 3), (5.225, 30, 157), (10.01, 29.97, 300)],
)
def test_frames_cover_the_sound(seconds: float, fps: float, frames: int) -> None:
    assert speech.frame_count(seconds, fps) == frames


def test_bytes_are_heard_like_the_file(tmp_path: Path) -> None:
    original = wav(tmp_path / "original.wav", voice(44_100, 1.0), 44_100)
    path = convert(original, tmp_path / "speech.m4a")
    assert np.array_equal(speech.read(path.read_bytes()).waveform, speech.read(path).waveform)


def test_the_private_file_lives_as_long_as_a_sound_that_needs_it(tmp_path: Path) -> None:
    sound = speech.read(wav(tmp_path / "speech.wav", voice(16_000, 0.1)).read_bytes())
    private = str(sound.source)
    louder = dataclasses.replace(sound, samples=sound.waveform * 2)
    del sound
    gc.collect()
    assert Path(private).stat().st_mode & 0o077 == 0 or sys.platform == "win32"
    del louder
    gc.collect()
    assert not Path(private).exists()


def damaged(folder: Path, kind: str) -> Path:
    whole = wav(folder / "whole.wav", voice(44_100, 1.0), 44_100)
    path = folder / f"{kind}.m4a"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no sound here\n")
    elif kind == "beheaded":
        path.write_bytes(convert(whole, path).read_bytes()[:2000])
    elif kind == "no samples":
        wav(path, np.zeros((0, 1), "f4"))
    elif kind == "silent film":
        convert(whole, folder / "film.mp4", "-f", "lavfi", "-i", "color=size=32x32:duration=1", "-map", "1:v")
        (folder / "film.mp4").rename(path)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "is empty"),
        ("text", "cannot be read as sound"),
        ("beheaded", "cannot be read as sound"),
        ("no samples", "holds no sound"),
        ("silent film", "has no sound track"),
        ("folder", "is not a sound file"),
        ("missing", "is not a sound file"),
    ],
)
def test_a_file_without_sound_is_named_with_its_fault(tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        speech.read(damaged(tmp_path, kind))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"no sound here"])
def test_bytes_without_sound_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="standard input"):
        speech.read(data)


@pytest.mark.parametrize(
    ("start", "duration", "words"),
    [
        (1.0, None, "1.00 seconds long"),
        (5.0, None, "1.00 seconds long"),
        (-0.1, None, "cannot start"),
        (float("nan"), None, "cannot start"),
        (0.0, 0.0, "cannot last"),
        (0.0, -1.0, "cannot last"),
        (0.0, float("inf"), "cannot last"),
        (0.0, 1e-9, "shorter than one sample"),
    ],
)
@pytest.mark.parametrize("kind", ["wav", "mka"])
def test_an_impossible_part_is_refused(
    tmp_path: Path, kind: str, start: float, duration: float | None, words: str
) -> None:
    path = wav(tmp_path / "one second.wav", voice(16_000, 1.0))
    if kind == "mka":
        path = convert(path, tmp_path / "one second.mka", "-c:a", "flac")
    with pytest.raises(InputError, match=words):
        speech.read(path, start, duration)


class FrameLoudness:
    """A sound encoder that tells each frame's loudness, as heard."""

    tokens, width = 1, 1

    def hear(self, waveform: Waveform, frames: int, fps: float) -> torch.Tensor:
        whole = torch.as_tensor(waveform[:])
        pieces = torch.nn.functional.pad(whole, (0, round(frames * 16_000 / fps) - len(whole)))
        return pieces.reshape(frames, 1, -1).square().mean(2, keepdim=True).sqrt()


def sound_of(waveform: np.ndarray) -> speech.Sound:
    return speech.Sound(waveform.astype("f4"), len(waveform) / 16_000, None, 0.0, None)


def test_speech_has_one_row_per_frame() -> None:
    heard = speech.encode(sound_of(voice(16_000, 1.01)[:, 0]), FrameLoudness(), 25.0)
    assert heard.frames == 26
    assert heard.features.shape == (26, 1, 1)


@pytest.mark.parametrize("gain", [0.3, 1.0, 4.0])
def test_the_model_hears_soft_and_loud_speakers_alike(gain: float) -> None:
    samples = voice(16_000, 2.0)[:, 0]
    heard = speech.encode(sound_of(samples * gain + 0.2), FrameLoudness(), 25.0)
    plain = speech.encode(sound_of(samples), FrameLoudness(), 25.0)
    assert torch.allclose(heard.features, plain.features, rtol=1e-2, atol=1e-4)
    assert abs(loudness(levelled(samples * gain)) + 23) < 0.01


def test_silence_and_faint_noise_are_not_made_loud() -> None:
    faint = 2e-4 * np.random.default_rng(0).standard_normal(16_000).astype("f4")
    assert np.abs(levelled(faint)[:]).max() < 1e-3
    assert not levelled(np.zeros(16_000, "f4"))[:].any()
    assert loudness(np.zeros(16_000, "f4")) == -np.inf


def test_loudness_is_that_of_the_loud_part() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000).astype("f4")
    hum = 3e-3 * np.random.default_rng(0).standard_normal(64_000).astype("f4")
    with_pause = np.concatenate([hum, tone])
    assert abs(loudness(tone) + 23.01) < 0.01
    assert abs(loudness(with_pause) - loudness(tone)) < 1.0


def test_a_voice_is_told_from_silence_and_from_hiss() -> None:
    samples = voice(16_000, 2.0)[:, 0]
    hiss = np.diff(np.random.default_rng(0).standard_normal(32_001)).astype("f4") * 0.1
    assert voice_share(samples) > 0.7
    assert voice_share(np.zeros(32_000, "f4")) == 0
    assert voice_share(hiss) < 0.2
    assert (
        abs(voice_share(np.concatenate([samples, np.zeros(32_000, "f4")])) * 2 - voice_share(samples))
        < 0.1
    )


def test_an_encoder_that_gives_nonsense_is_not_believed() -> None:
    class Broken(FrameLoudness):
        def hear(self, waveform: Waveform, frames: int, fps: float) -> torch.Tensor:
            return torch.full((frames, 1, 1), torch.nan)

    with pytest.raises(ModelError, match="finite numbers"):
        speech.encode(sound_of(voice(16_000, 1.0)[:, 0]), Broken(), 25.0)
