"""Cutting a video into segments and windows."""

import pytest

from emo_cli import clips
from emo_cli.family import Family

CARRYING = Family(name="carrying", window=16, motion_frames=4)
BLENDING = Family(name="blending", window=12, overlap=3, motion_frames=0, motion="none", chaining="blend")


@pytest.mark.parametrize("frames", range(1, 201))
def test_every_frame_is_shown_by_exactly_one_segment(frames: int) -> None:
    plan = clips.plan(frames, CARRYING)
    shown = [frame for segment in plan.segments for frame in range(segment.start, segment.start + segment.shown)]
    assert shown == list(range(frames))


def test_all_segments_of_a_carrying_family_have_the_same_length() -> None:
    assert {segment.length for segment in clips.plan(37, CARRYING).segments} == {16}


def test_a_blending_family_has_one_segment_without_frames_beyond_the_end() -> None:
    (segment,) = clips.plan(37, BLENDING).segments
    assert (segment.start, segment.stop, segment.shown) == (0, 37, 37)


def test_a_long_blended_video_is_cut_into_segments_but_not_where_it_must_be_exact() -> None:
    family = Family(name="x", chaining="blend", window=4, longest=10)
    segments = [(s.start, s.stop, s.shown) for s in clips.plan(23, family).segments]
    assert segments == [(0, 10, 10), (10, 20, 10), (20, 23, 3)]
    assert len(clips.plan(23, family.with_changes(exact=True)).segments) == 1


def test_a_video_of_no_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        clips.plan(0, CARRYING)


@pytest.mark.parametrize("shift", (0, 2, 5, 9, 14))
@pytest.mark.parametrize("frames", (1, 7, 12, 13, 21, 60, 200))
def test_open_windows_cover_every_frame_and_never_leave_the_video(frames: int, shift: int) -> None:
    windows = list(clips.windows(frames, 12, 3, shift))
    assert {frame for window in windows for frame in window} == set(range(frames))
    assert all(window == tuple(range(window[0], window[-1] + 1)) for window in windows)


def test_open_windows_move_their_borders_with_the_shift() -> None:
    assert list(clips.windows(60, 12, 3, 0))[1][0] != list(clips.windows(60, 12, 3, 4))[1][0]


def test_closed_windows_wrap_around_the_end() -> None:
    assert list(clips.windows(20, 12, 3, closed=True))[-1] == (18, 19, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)


def test_a_short_closed_video_is_one_rotated_window() -> None:
    assert list(clips.windows(5, 12, 3, shift=2, closed=True)) == [(2, 3, 4, 0, 1)]
