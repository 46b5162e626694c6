"""`emo weights` as a user meets it: real commands against a Hub on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub_bench import BACKBONE, FILES, GIANT, PERSON, Bench, bench
from hub_server import COMMIT, Fault, sha256, wait_for


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Bench]:
    """Nothing is fetched yet."""
    with bench(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the singer was fetched, to copy from."""
    with bench(tmp_path_factory.mktemp("stock")) as running:
        assert running.emo("weights", "get", "singer").code == 0
        return running.home


@pytest.fixture
def full(empty: Bench, stock: Path) -> Bench:
    """The singer is fetched; links are relative, so a copy of the home is a home."""
    shutil.copytree(stock, empty.home, symlinks=True)
    return empty


def test_get_brings_only_the_needed_files_and_records_them(empty: Bench) -> None:
    empty.hub.repositories["them/singer"]["unneeded.bin"] = b"x" * 10
    said = empty.emo("weights", "get", "singer")
    assert said.code == 0, said.err
    folder = empty.folder("singer")
    assert said.out == f"singer: {folder} (460 kB, 460 kB received)\n"
    assert "licence: MIT" in said.err and "fetching net.pth, file 1 of 3 (400 kB)" in said.err
    assert (folder / "net.pth").read_bytes() == BACKBONE
    assert (folder / "ear" / "tiny.pt").read_bytes() == FILES["sound/ear.pt"]
    entries = json.loads((folder / "weights.lock").read_text())["files"]
    assert {entry["commit"] for entry in entries} == {COMMIT}
    assert {entry["path"]: entry["sha256"] for entry in entries} == {name: sha256(FILES[name]) for name in FILES}
    assert empty.hub.count("GET").keys() == FILES.keys()


def test_what_is_here_and_whole_is_not_asked_for_again(full: Bench) -> None:
    said = full.emo("weights", "get", "singer")
    assert said.code == 0 and "0 bytes received" in said.out
    assert full.hub.requests == []


def test_models_share_their_parts_and_removing_one_keeps_the_others_files(full: Bench) -> None:
    assert "0 bytes received" in full.emo("weights", "get", "listener").out
    assert full.hub.count("GET") == {}
    assert full.emo("weights", "remove", "singer").out == "singer: removed, 400 kB freed\n"
    assert full.emo("weights", "verify").out == "All 2 files are as they were published.\n"
    assert full.emo("weights", "remove", "listener").code == 0
    assert full.blobs() == []
    assert [path for path in full.home.glob("hub/*/snapshots/*/*") if path.is_symlink()] == []


def test_list_and_path_tell_what_is_where(full: Bench) -> None:
    said = full.emo("weights", "path", "listener")
    assert (said.code, said.out) == (5, "")
    assert said.err == (
        "emo: The weights of listener are not on this machine (about 61 kB). "
        "Fetch them with `emo weights get listener`, or add --download.\n"
    )
    assert full.emo("weights", "path", "singer").out == f"{full.folder('singer')}\n"
    rows = json.loads(full.emo("weights", "list", "--json").out)["models"]
    states = {row["name"]: row["state"] for row in rows}
    assert states == {"singer": "fetched", "listener": "not fetched", "giant": "not fetched"}


@pytest.mark.parametrize("way", ["truncated", "reset"])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(empty: Bench, way: str) -> None:
    empty.hub.faults["storage:giant.pth"] = Fault(way, times=1, amount=15_000_000)
    assert empty.emo("weights", "get", "giant").code == 0
    assert empty.resumed() == ["bytes=10485760-"]
    assert (empty.folder("giant") / "giant.pth").read_bytes() == GIANT


def test_an_interrupted_fetch_goes_on_in_the_next_run(empty: Bench) -> None:
    empty.hub.faults["storage:giant.pth"] = Fault("stalled", times=1, amount=15_000_000)
    running = empty.begin("weights", "get", "giant", HF_HUB_DOWNLOAD_TIMEOUT="60")
    wait_for(lambda: any(part.stat().st_size > 10_000_000 for part in empty.parts()))
    running.send(signal.SIGTERM)
    said = running.end(30)
    assert (said.code, said.sentence) == (143, "emo: Stopped; no half-made file is left.")
    assert empty.blobs() == [] and list(empty.folder("giant").glob("*")) == []
    assert empty.emo("weights", "get", "giant").out.endswith("(24 MB, 14 MB received)\n")
    assert empty.resumed() == ["bytes=10485760-"]


def test_a_server_without_ranges_starts_the_file_again(empty: Bench) -> None:
    part = empty.home / "hub" / "models--them--singer" / "blobs" / f"{sha256(BACKBONE)}.emo-part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BACKBONE[:1000])
    empty.hub.faults["storage:net.pth"] = Fault("no ranges")
    said = empty.emo("weights", "get", "singer")
    assert said.code == 0, said.err
    assert (empty.folder("singer") / "net.pth").read_bytes() == BACKBONE


def test_altered_bytes_are_fetched_again(empty: Bench) -> None:
    empty.hub.faults["storage:net.pth"] = Fault("altered", times=1)
    assert empty.emo("weights", "get", "singer").code == 0
    assert empty.hub.count("GET")["net.pth"] == 2
    assert (empty.folder("singer") / "net.pth").read_bytes() == BACKBONE


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.resolve().write_bytes(BACKBONE[:100]), "net.pth has 100 of 400000 bytes"),
        (lambda path: path.resolve().write_bytes(BACKBONE[::-1]), "net.pth was altered: its bytes are not those"),
        (lambda path: path.unlink(), "net.pth is missing"),
        (
            lambda path: path.resolve().write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
            "net.pth is a Git LFS pointer, not the weights themselves",
        ),
    ],
    ids=["cut short", "altered", "gone", "pointer"],
)
def test_damage_is_found_and_mended(full: Bench, harm: Callable[[Path], object], told: str) -> None:
    harm(full.folder("singer") / "net.pth")
    said = full.emo("weights", "verify", "singer")
    assert said.code == 5
    assert said.out.startswith(f"singer: {told}") and "Mend it with `emo weights get singer`." in said.out
    assert full.emo("weights", "get", "singer").code == 0
    assert (full.folder("singer") / "net.pth").read_bytes() == BACKBONE


def test_what_was_fetched_before_the_table_named_other_bytes_is_fetched_anew(full: Bench) -> None:
    other = BACKBONE[::-1]
    full.table.write_text(full.table.read_text().replace(sha256(BACKBONE), sha256(other)))
    full.hub.repositories["them/singer"]["net.pth"] = other
    assert full.emo("weights", "get", "singer").code == 0
    assert (full.folder("singer") / "net.pth").read_bytes() == other


def test_a_restricted_licence_is_accepted_once(empty: Bench) -> None:
    said = empty.emo("weights", "get", "singer", "--with", "identity")
    assert said.code == 5 and empty.hub.requests == []
    assert said.sentence == (
        "emo: These weights are under a licence that restricts their use: research only (https://example.org/terms). "
        "If you accept it, run the command again with --accept-license."
    )
    assert empty.emo("weights", "get", "singer", "--with", "identity", "-y").code == 0
    assert (empty.folder("singer") / "face.onnx").read_bytes() == PERSON
    empty.emo("weights", "remove", "singer")
    assert empty.emo("weights", "get", "singer", "--with", "identity").code == 0


def test_an_extra_that_was_fetched_once_is_kept_whole(full: Bench) -> None:
    full.emo("weights", "get", "singer", "--with", "identity", "-y")
    (full.folder("singer") / "face.onnx").unlink()
    assert "face.onnx is missing. Mend them with `emo weights get singer`" in full.emo("weights", "path", "singer").err
    assert full.emo("weights", "get", "singer").code == 0
    assert (full.folder("singer") / "face.onnx").read_bytes() == PERSON


def test_offline_the_cache_of_any_program_is_enough(full: Bench) -> None:
    cached = full.home / "hub" / "models--them--singer"
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)  # as every other program leaves it
    shutil.rmtree(full.folder("singer"))
    assert full.emo("weights", "get", "singer", HF_HUB_OFFLINE="1").code == 0
    assert full.hub.requests == []
    assert (full.folder("singer") / "net.pth").read_bytes() == BACKBONE


def test_two_commands_at_once_fetch_a_file_once(empty: Bench) -> None:
    both = [empty.begin("weights", "get", "giant") for _ in range(2)]
    assert [running.end(60).code for running in both] == [0, 0]
    assert empty.hub.count("GET")["giant.pth"] == 1


@pytest.mark.skipif(os.name != "posix", reason="links need leave elsewhere")
def test_the_home_can_be_moved(full: Bench) -> None:
    moved = full.home.with_name("elsewhere")
    full.home.rename(moved)
    assert full.emo("weights", "verify", HF_HOME=str(moved)).out == "All 3 files are as they were published.\n"
