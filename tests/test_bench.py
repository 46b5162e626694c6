"""`emo bench`: stages, arithmetic and a second setting."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch

from batch_bench import small_photo
from emo_cli.animate import AnimateOptions
from emo_cli.bench import Comparison, bench, changed, matrix_speed
from emo_cli.errors import UsageError

SONG = Path(__file__).parents[1] / "examples" / "song.wav"
OPTIONS = AnimateOptions(Path("photo.jpg"), SONG, duration=0.6, seed=1, steps=4, size=128, guidance=2.0)


@pytest.fixture(scope="module")
def found(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    options = replace(OPTIONS, photo=small_photo(tmp_path_factory.mktemp("photo")), model=str(model))
    return bench(options, against="steps=1, guidance=1", rounds=1)


def test_every_stage_of_a_video_is_timed(found: Comparison) -> None:
    assert found.first.frames == 15
    assert all(seconds > 0 for seconds in astuple(found.first.stages))


def test_the_arithmetic_of_a_stage_is_counted_there_and_nowhere_else(found: Comparison) -> None:
    assert found.against is not None
    first, against = found.first.teraflops, found.against.teraflops
    assert first.reference == against.reference > 0  # no step and no guidance changes it
    # Four guided steps ask eight times, one without guidance asks once; nothing of ReferenceNet is in either.
    assert first.denoise == pytest.approx(8 * against.denoise, rel=0.05)
    assert first.portrait > 0 and first.sound > 0 and first.encode == 0
    assert found.first.share_of_peak == found.first.shares.denoise < 1


def test_first_frame_and_pace_are_told(found: Comparison) -> None:
    assert found.first.first_frame > 0 and found.first.per_second > 0


def test_a_second_setting_is_measured_beside_the_first(found: Comparison) -> None:
    assert found.against is not None
    assert (found.first.steps, found.against.steps, found.against.guidance) == (4, 1, 1.0)
    assert found.faster is not None and found.faster > 0


def test_arithmetic_grows_with_the_steps_and_the_guidance(found: Comparison) -> None:
    assert found.against is not None
    more = found.first.teraflops.denoise - found.against.teraflops.denoise
    assert found.first.teraflop_per_frame - found.against.teraflop_per_frame == pytest.approx(more / 15) and more > 0


def test_a_setting_is_read_from_words() -> None:
    asked = changed(OPTIONS, "steps=8, dtype=bfloat16,guidance=2.5")
    assert (asked.steps, asked.dtype, asked.guidance, asked.photo) == (8, "bfloat16", 2.5, OPTIONS.photo)
    assert changed(OPTIONS, "compile=1").compile is True and changed(OPTIONS, "offload=0").offload is False


@pytest.mark.parametrize(
    ("words", "complaint"),
    [("steps", "is no setting"), ("photo=x", "is no setting"), ("steps=many", "is no value for steps")],
)
def test_words_that_are_no_setting_are_told(words: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        changed(OPTIONS, words)


def test_the_machine_s_own_speed_is_a_number_of_teraflops() -> None:
    assert 0.001 < matrix_speed(torch.device("cpu"), torch.float32) < 1000
