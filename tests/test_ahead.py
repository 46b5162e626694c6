"""Working ahead on a stream."""

import threading
from collections.abc import Iterator

import pytest

from emo_cli.ahead import ahead


def counting(made: list[int], stop: int = 100) -> Iterator[int]:
    for number in range(stop):
        made.append(number)
        yield number


def test_items_come_in_order_and_all_of_them() -> None:
    assert list(ahead(counting([], 50))) == list(range(50))


def test_no_more_than_the_depth_is_made_in_advance() -> None:
    made: list[int] = []
    stream = ahead(counting(made, 10), depth=2)
    for read, _ in enumerate(stream, start=1):
        # Besides what was read: two wait in line, one is in the maker's hand.
        assert len(made) <= read + 3
    assert made == list(range(10))


def test_the_next_item_is_made_while_the_last_is_used() -> None:
    second_begun = threading.Event()

    def watched() -> Iterator[int]:
        yield 1
        second_begun.set()
        yield 2

    stream = ahead(watched())
    assert next(stream) == 1
    assert second_begun.wait(timeout=30)
    stream.close()


def test_a_problem_of_the_maker_reaches_the_reader() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    stream = ahead(broken())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="no more"):
        next(stream)


def test_a_reader_who_leaves_ends_the_maker() -> None:
    stream = ahead(counting([]))
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "emo-ahead"]
