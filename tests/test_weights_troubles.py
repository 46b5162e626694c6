"""Fetching weights when the network, the Hub, the token, the table or the disk is not as it should be: one sentence."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emo_cli import catalogue, hub
from emo_cli.errors import OutputError
from hub_bench import BACKBONE, TABLE, Bench, bench
from hub_server import Fault


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Bench]:
    """Nothing is fetched yet."""
    with bench(tmp_path) as running:
        yield running


def _refused(empty: Bench, *arguments: str, **changes: str) -> str:
    """The sentence with which a fetch fails; it must leave nothing under a final name."""
    said = empty.emo("weights", "get", *(arguments or ("singer",)), **changes)
    assert (said.code, said.out) == (5, "")
    assert empty.blobs() == [] and not (empty.folder("singer") / "net.pth").exists()
    return said.sentence


REFUSALS = {
    "a missing file": (Fault("404"), "them/singer has no file net.pth at main. Look for a newer emo."),
    "forbidden": (Fault("403"), "does not let you read them/singer (403). Check what the token in HF_TOKEN may read."),
    "too many requests": (Fault("429"), "was asked too often (429). Run the same command again later;"),
    "a trouble of the server": (Fault("500"), "has a trouble of its own (500). Run the same command again later;"),
    "no answer in time": (Fault("slow", amount=5), "answers too slowly. Run the same command again later;"),
    "no Hub at all": (Fault("not a hub"), "does not answer as a Hugging Face Hub does. Check HF_ENDPOINT"),
}


@pytest.mark.parametrize("trouble", REFUSALS)
def test_each_refusal_is_one_sentence(empty: Bench, trouble: str) -> None:
    empty.hub.faults["net.pth"], sentence = REFUSALS[trouble]
    assert sentence in _refused(empty)


def test_a_trouble_that_passes_is_not_told(empty: Bench) -> None:
    empty.hub.faults["net.pth"] = Fault("503", times=1, method="HEAD")
    assert empty.emo("weights", "get", "singer").code == 0


def test_a_storage_that_fails_is_told(empty: Bench) -> None:
    empty.hub.faults["storage:net.pth"] = Fault("500")
    assert "has a trouble of its own (500)" in _refused(empty)


def test_a_missing_revision_and_repository_are_told(empty: Bench) -> None:
    empty.table.write_text(TABLE.replace('"them/singer" = { revision = "main"', '"them/singer" = { revision = "v9"'))
    assert "them/singer has no revision v9." in _refused(empty)
    empty.table.write_text(TABLE.replace("them/singer", "them/nobody"))
    assert "shows no repository them/nobody (401). If it is private, set HF_TOKEN" in _refused(empty)


def test_a_wrong_token_is_told_and_a_right_one_goes_no_further_than_the_hub(empty: Bench) -> None:
    empty.hub.token = "right"
    assert "refuses the access token (401). Set HF_TOKEN to a valid one" in _refused(empty, HF_TOKEN="wrong")
    assert empty.emo("weights", "get", "singer", HF_TOKEN="right").code == 0
    assert {request.token for request in empty.hub.requests if request.path.startswith("/storage/")} == {None}


def test_a_gated_repository_names_the_page_to_accept_its_terms(empty: Bench) -> None:
    empty.hub.gated = ("them/singer",)
    sentence = _refused(empty)
    assert "them/singer is open only to those who accepted its terms. Accept them at http" in sentence
    assert "/them/singer, then set HF_TOKEN" in sentence


def test_without_a_network_the_sentence_says_so(empty: Bench) -> None:
    sentence = _refused(empty, HF_ENDPOINT="http://127.0.0.1:9")
    assert "127.0.0.1:9 cannot be reached. Check the network (or HF_ENDPOINT, if you set it)." in sentence


def test_offline_the_switch_is_named(empty: Bench) -> None:
    sentence = _refused(empty, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set, and net.pth of them/singer is not in the cache. Unset it to fetch." in sentence
    assert empty.hub.requests == []


def test_bytes_that_stay_altered_are_thrown_away(empty: Bench) -> None:
    empty.hub.faults["storage:net.pth"] = Fault("altered")
    sentence = _refused(empty)
    assert re.search(r"net\.pth arrived altered from 127\S+ twice: .* thrown away; try another network", sentence)
    assert empty.parts() == []


def test_a_git_lfs_pointer_in_the_place_of_a_file_is_named_as_such(empty: Bench) -> None:
    empty.hub.faults["storage:net.pth"] = Fault("pointer")
    assert "sent a Git LFS pointer instead of net.pth. Its copy of the repository is not whole" in _refused(empty)


def test_a_repository_whose_file_is_another_is_refused_before_it_is_fetched(empty: Bench) -> None:
    empty.hub.repositories["them/singer"]["net.pth"] = BACKBONE[::-1]
    assert "net.pth of them/singer is not the file that emo knows: its hash differs" in _refused(empty)
    assert empty.hub.count("GET") == {}


def test_no_room_is_told_before_anything_is_fetched(empty: Bench) -> None:
    empty.hub.faults["sound/ear.pt"] = Fault("huge", amount=1e16)
    said = empty.emo("weights", "get", "singer")
    assert said.code == 7
    assert re.search(r"takes 10000000 GB, and .* has .* free\. Make room, or let HF_HOME name", said.sentence)
    assert empty.hub.count("GET") == {}


def test_a_disk_that_fills_up_on_the_way_is_told() -> None:
    file = catalogue.find("hallo").files[0]
    sentence = r"The disk filled up while hallo/net\.pth came in\. Make room, or move HF_HOME"
    with pytest.raises(OutputError, match=sentence), hub.explained(file, "main"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_home_that_is_a_file_is_told(empty: Bench) -> None:
    empty.home.write_text("not a folder")
    said = empty.emo("weights", "get", "singer")
    assert said.code == 7
    assert re.search(r"emo: \S+ cannot be written \(.*\)\. Choose another HF_HOME\.", said.sentence)


def test_names_and_extras_that_are_not_there_are_told(empty: Bench) -> None:
    assert _refused(empty, "dancer") == (
        "emo: There is no model called 'dancer'. Choose one of: singer, listener, giant."
    )
    assert _refused(empty, "singer", "--with", "wings") == (
        "emo: singer has no extra called 'wings'. It has identity."
    )


def test_a_broken_table_is_told(empty: Bench) -> None:
    empty.table.write_text("[models\n")
    assert re.search(r"The table of models .* cannot be read \(.*\); the environment variable", _refused(empty))
