"""A video says what made it, to people and to programs."""

from __future__ import annotations

import json

import pytest

from emo_cli import __version__, provenance


@pytest.fixture
def recipe() -> provenance.Recipe:
    return provenance.Recipe(
        model="mini", seed=7, steps=4, guidance=2.0, fps=25.0, framing="portrait",
        motion=1.0, expression=1.0, lips=1.2, speed=1.0,
    )  # fmt: skip


def test_the_record_holds_settings_and_the_word_for_generated_media(recipe: provenance.Recipe) -> None:
    record = json.loads(provenance.tags(recipe)["comment"])
    assert record["generator"] == f"emo {__version__}"
    assert record["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert (record["model"], record["seed"], record["steps"], record["lips"]) == ("mini", 7, 4, 1.2)


def test_a_person_can_read_what_made_it(recipe: provenance.Recipe) -> None:
    assert "generative model" in provenance.tags(recipe)["description"]


def test_tags_are_names_that_mp4_keeps(recipe: provenance.Recipe) -> None:
    assert set(provenance.tags(recipe)) <= {"title", "artist", "comment", "description", "copyright"}
