"""Which jobs a batch has: photos and sounds paired, tables read, nonsense told in one sentence."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path

import pytest

from emo_cli.animate import AnimateOptions
from emo_cli.batch import jobs, manifest
from emo_cli.cli.batch import batch
from emo_cli.cli.rows import parse
from emo_cli.errors import EmoError, InputError, UsageError

COMMON = AnimateOptions(Path(), Path())
STRANGE = ["with space", 'a "quoted" name', "it's", "new\nline", "-dash", "ümläut ✓", "100%[x]*?"]


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def _names(pairs: list[jobs.Pair]) -> list[tuple[str, str, str]]:
    return [(pair.photo.name, pair.sound.name, pair.name) for pair in pairs]


def test_a_folder_gives_photos_and_sounds_of_one_name(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "in", "ben.PNG", "ben.mp3", "anna.jpg", "anna.wav", "notes.txt", ".hidden.jpg")
    anna = jobs.Pair(folder / "anna.jpg", folder / "anna.wav", "anna")
    assert jobs.in_one_folder(folder) == ([anna, jobs.Pair(folder / "ben.PNG", folder / "ben.mp3", "ben")], [])


def test_who_has_no_partner_is_told(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "in", "anna.jpg", "anna.wav", "ben.jpg", "carl.wav")
    assert jobs.in_one_folder(folder)[1] == [
        "No sound of the same name for 1 photo(s): ben.jpg.",
        "No photo of the same name for 1 sound(s): carl.wav.",
    ]


@pytest.mark.parametrize("name", STRANGE)
def test_any_name_makes_a_pair(tmp_path: Path, name: str) -> None:
    folder = _touch(tmp_path / "in", f"{name}.jpg", f"{name}.wav")
    found = jobs.jobs(jobs.in_one_folder(folder)[0], COMMON, tmp_path / "out")
    assert [job.output for job in found] == [tmp_path / "out" / f"{name}.mp4"]
    assert jobs.paired(str(folder / f"{name}.jpg"), str(folder), "cross")[0][0].photo == folder / f"{name}.jpg"


def test_nothing_paired_and_two_of_one_name_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="have the same name"):
        jobs.in_one_folder(_touch(tmp_path / "none", "anna.jpg", "ben.wav"))
    with pytest.raises(UsageError, match=r"anna\.mp3 and anna\.wav are two sounds"):
        jobs.in_one_folder(_touch(tmp_path / "two", "anna.jpg", "anna.mp3", "anna.wav"))
    with pytest.raises(InputError, match="cannot be read"):
        jobs.in_one_folder(tmp_path / "absent")


def test_two_sides_can_be_crossed_zipped_or_matched(tmp_path: Path) -> None:
    photos = _touch(tmp_path / "photos", "a.jpg", "b.jpg")
    sounds = _touch(tmp_path / "sounds", "b.wav", "c.wav")
    cross = [("a.jpg", "b.wav", "a-b"), ("a.jpg", "c.wav", "a-c"), ("b.jpg", "b.wav", "b-b"), ("b.jpg", "c.wav", "b-c")]
    assert _names(jobs.paired(str(photos), str(sounds), "cross")[0]) == cross
    assert _names(jobs.paired(f"{photos}/*.jpg", f"{sounds}/?.wav", "zip")[0]) == [cross[0], cross[3]]
    assert _names(jobs.paired(str(photos), str(sounds), "stem")[0]) == [("b.jpg", "b.wav", "b")]


def test_zip_wants_as_many_photos_as_sounds(tmp_path: Path) -> None:
    photos = _touch(tmp_path / "photos", "a.jpg", "b.jpg")
    with pytest.raises(UsageError, match="there are 2 and 1"):
        jobs.paired(str(photos), str(_touch(tmp_path / "sounds", "b.wav")), "zip")


def test_one_sound_serves_all_photos(tmp_path: Path) -> None:
    photos = _touch(tmp_path / "photos", "a.jpg", "b.jpg", "b.png")
    found = jobs.with_one_sound(str(photos), Path("song.wav"))
    assert _names(found) == [("a.jpg", "song.wav", "a"), ("b.jpg", "song.wav", "b.jpg"), ("b.png", "song.wav", "b.png")]


def test_a_pattern_that_fits_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No photos found"):
        jobs.with_one_sound(f"{tmp_path}/*.jpg", Path("song.wav"))


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_parts_of_a_batch_hold_every_job_once(parts: int) -> None:
    whole = [jobs.Job(number, COMMON) for number in range(1, 6)]
    found = [job.number for part in range(1, parts + 1) for job in jobs.shard(whole, f"{part}/{parts}")]
    assert sorted(found) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("wish", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2"])
def test_a_part_that_does_not_exist_is_a_usage_error(wish: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        jobs.shard([jobs.Job(1, COMMON)], wish)


def test_a_job_s_key_does_not_depend_on_where_the_folder_is_mounted() -> None:
    here = jobs.Job(1, AnimateOptions(Path("a"), Path("b"), Path("/mnt/one/x.mp4"))).key(Path("/mnt/one"))
    there = jobs.Job(1, AnimateOptions(Path("a"), Path("b"), Path("/srv/two/x.mp4"))).key(Path("/srv/two"))
    other = jobs.Job(1, AnimateOptions(Path("a"), Path("b"), Path("/srv/two/y.mp4"))).key(Path("/srv/two"))
    assert here == there != other


def test_every_option_of_one_video_is_one_of_a_batch_and_of_a_row() -> None:
    known = {field.name for field in fields(AnimateOptions)}
    assert known - {"photo", "sound"} <= set(inspect.signature(batch).parameters)
    assert set(manifest.COLUMNS) == known


def test_every_column_is_read_as_the_command_line_reads_its_option() -> None:
    words = {"max_memory": "3.5", "sign": "a.pem,b.pem", "start": "1", "vocals": "centre", "download": "yes"}
    assert parse(words) == {
        "max_memory": 3.5, "sign": "a.pem,b.pem", "start": 1.0, "vocals": "centre", "download": True,
    }  # fmt: skip


def _table(folder: Path, text: str, name: str = "jobs.csv") -> list[jobs.Job]:
    (folder / name).write_text(text, encoding="utf-8")
    return manifest.jobs(str(folder / name), parse, COMMON, Path("out"))


def test_a_row_has_any_option_of_animate(tmp_path: Path) -> None:
    text = "photo,sound,output,motion,framing,seed,overwrite\na.jpg,b.wav,x.mp4,0.5,full,7,true\nc.jpg,d.wav,,,,,\n"
    one, two = _table(tmp_path, text)
    options = one.options
    assert (options.photo, options.sound, one.output) == (tmp_path / "a.jpg", tmp_path / "b.wav", Path("out/x.mp4"))
    assert (options.motion, options.framing, options.seed, options.overwrite) == (0.5, "full", 7, True)
    assert (two.options.motion, two.options.seed, two.output) == (1.0, None, Path("out/c-d.mp4"))


def test_lines_of_json_do_the_same(tmp_path: Path) -> None:
    rows = [{"photo": name, "sound": "s.wav", "steps": 3, "guidance": None} for name in ("new\nline.jpg", 'q"x.jpg')]
    found = _table(tmp_path, "\n".join(json.dumps(row) for row in rows), "jobs.jsonl")
    assert [job.options.photo.name for job in found] == ["new\nline.jpg", 'q"x.jpg']
    assert {job.options.steps for job in found} == {3}


def test_a_sound_for_all_rows_need_not_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("photo\na.jpg\n")
    common = AnimateOptions(Path(), Path("song.wav"))
    assert manifest.jobs(str(tmp_path / "jobs.csv"), parse, common, Path("out"))[0].options.sound == Path("song.wav")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("photo,sound,motoin\na.jpg,b.wav,1\n", r"Line 2 of jobs.csv: there is no option called 'motoin'"),
        ("photo,sound,motion\na.jpg,b.wav,9\n", r"Line 2 of jobs.csv: .*--motion.*3"),
        ("photo,sound,steps\na.jpg,b.wav,many\n", r"Line 2 of jobs.csv: .*--steps"),
        ("photo,sound,framing\na.jpg,b.wav,legs\n", r"Line 2 of jobs.csv: .*--framing"),
        ("photo,sound,overwrite\na.jpg,b.wav,maybe\n", r"Line 2 of jobs.csv: overwrite is true or false"),
        ("photo\na.jpg\n", r"Line 2 of jobs.csv: it names no sound"),
        ("photo,sound\na.jpg\n", r"Line 2 of jobs.csv has not as many cells"),
        ("photo,sound\na.jpg,b.wav,c\n", r"Line 2 of jobs.csv has not as many cells"),
        ('photo,sound\n"a.jpg,b.wav\n', r"jobs.csv is not a CSV table"),
        ("photo,sound\n", r"jobs.csv has no jobs"),
        ("", r"jobs.csv has no jobs"),
        ("photo,sound\na.jpg,b.wav\na.jpg,b.wav\n", r"Jobs 1 and 2 would both write"),
        ("photo,sound\n-,b.wav\n", r"Job 1 uses -"),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as told:
        _table(tmp_path, text)
    assert "\n" not in str(told.value).strip()


@pytest.mark.parametrize("text", ["{", "[1]", '{"photo": "a", "sound": "b", "colour": 1}'])
def test_a_mistake_in_lines_of_json_is_one_too(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"Line 1 of jobs\.jsonl"):
        _table(tmp_path, text, "jobs.jsonl")


def test_a_table_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes(b"\xff\xfe\x00\x81")
    for name in ("jobs.csv", "absent.csv"):
        with pytest.raises(EmoError, match="cannot be read"):
            manifest.read(str(tmp_path / name))
