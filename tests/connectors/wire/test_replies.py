from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.wire.replies import Failure, ReplyCounter
from millrace.errors import TargetError

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
REPLIES = st.one_of(
    st.just(("+", "OK")),
    st.just((":", "1")),
    st.tuples(st.just("+"), LINE),
    st.tuples(st.just(":"), st.integers(-(2**63), 2**63 - 1).map(str)),
    st.tuples(st.just("-"), LINE),
)


@given(st.lists(REPLIES, max_size=30), st.lists(st.integers(0, 400), max_size=8))
def test_any_replies_in_any_portions_are_counted_exactly(replies: list[tuple[str, str]], cuts: list[int]) -> None:
    stream = "".join(f"{kind}{text}\r\n" for kind, text in replies).encode()
    counter = ReplyCounter()
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(edges):
        counter.feed(stream[start:end])

    assert counter.count == len(replies)
    assert counter.total == sum(int(text) for kind, text in replies if kind == ":")
    assert counter.failures == [Failure(index, text) for index, (kind, text) in enumerate(replies) if kind == "-"]


def test_feed_tells_how_many_replies_it_completed() -> None:
    counter = ReplyCounter()
    assert [counter.feed(part) for part in (b"+O", b"K\r", b"\n+OK\r\n-", b"ERR no\r\n")] == [0, 0, 2, 1]


@pytest.mark.parametrize("reply", [b"$3\r\nabc\r\n", b"*1\r\n:1\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"\r\n"])
def test_a_reply_that_no_load_command_has_is_an_error(reply: bytes) -> None:
    with pytest.raises(TargetError, match="something else than statuses"):
        ReplyCounter().feed(b"+OK\r\n" + reply)
