# SPDX-License-Identifier: MIT
"""Passing on: a received message is modified in place, or handed on untouched, and never lost on the way."""

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from helpers import BAD_TIMEOUTS, Partner, Thread, all_free, drain, held, is_asleep, small, until

import shmq
from shmq import Region

MIB = 1 << 20


def queued_message(region: Region, data: Any = b"content", label: int = 7) -> shmq.Message:
    """A message received from a queue of its own."""
    region.sender("source").send(data, label=label)
    return region.receiver("source").receive(0)


def published_message(region: Region, data: Any = b"content", label: int = 7) -> shmq.Message:
    """A message received from a topic to which nobody else subscribes."""
    rx = region.subscriber("source")
    region.publisher("source").send(data, label=label)
    return rx.receive(0)


ORIGINS = pytest.mark.parametrize("origin", [queued_message, published_message])

# ---- edit ----------------------------------------------------------------------------------------------------


@ORIGINS
def test_an_edited_message_is_a_loan_of_the_same_block_with_type_and_label(origin: Callable[..., Any]) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        message = origin(region, np.arange(6, dtype="<i4").reshape(2, 3))
        offset = message.offset
        with message.edit(tx) as loan:
            assert (loan.offset, loan.label, loan.shape, loan.dtype) == (offset, 7, (2, 3), np.dtype("<i4"))
            assert held(region) == (1, 0)
            loan.array[:] += 100
        with rx.receive(0) as edited:
            assert edited.array.tolist() == [[100, 101, 102], [103, 104, 105]]
            assert (edited.offset, edited.label, edited.seq, edited.deliveries) == (offset, 7, 0, 1)
        assert all_free(region)


@ORIGINS
def test_an_edited_message_is_the_handles_no_more(origin: Callable[..., Any]) -> None:
    with small() as region:
        with origin(region) as message:
            loan = message.edit()
            for call in (message.edit, lambda: message.forward(region.sender("q")), lambda: bytes(message)):
                with pytest.raises(ValueError, match=r"message .label 7. has been released"):
                    call()
            message.release()
        assert loan[:] == b"content"
        loan.discard()
        assert all_free(region)


def test_a_loan_edited_for_nobody_in_particular_is_sent_by_any_sender() -> None:
    with small() as region:
        loan = queued_message(region).edit()
        for call in (loan.send, loan.send_nowait):
            with pytest.raises(ValueError, match=r"label 7. was edited for nobody in particular: .*edit\(tx\)"):
                call()
        with pytest.raises(ValueError, match="edited for nobody"), loan:
            pass
        assert region.sender("q").send(loan) is True
        assert drain(region.receiver("q")) == [b"content"]
        rx = region.subscriber("t")
        assert region.publisher("t").send(queued_message(region).edit(region.sender("q"))) == 1
        assert drain(rx) == [b"content"]
        assert all_free(region)


@ORIGINS
@pytest.mark.parametrize("end", ["discard", "drop", "exception"])
def test_an_edit_that_is_given_up_is_gone_and_nothing_is_redelivered(origin: Callable[..., Any], end: str) -> None:
    with small() as region:
        tx, source = region.sender("q"), region.receiver("q")
        loan = origin(region).edit(tx)
        if end == "discard":
            loan.discard()
            loan.discard()
        elif end == "exception":
            with pytest.raises(KeyError), loan:
                raise KeyError
        del loan
        assert source.qsize() == 0
        assert region.receiver("source").qsize() == 0
        assert region.stats()["requeued"] == 0
        assert all_free(region)


@ORIGINS
def test_a_message_with_live_views_is_neither_edited_nor_forwarded_and_still_ones_own(
    origin: Callable[..., Any],
) -> None:
    with small() as region:
        tx = region.sender("q")
        message = origin(region)
        views = [message.array, message.memoryview]
        for call, what in ((lambda: message.edit(tx), "editing"), (lambda: message.forward(tx), "forwarding")):
            with pytest.raises(BufferError) as caught:
                call()
            for part in ("2 views", f"before {what} it", "still yours"):
                assert part in str(caught.value)
        assert bytes(message) == bytes(views[0]) == b"content"
        views.clear()
        assert message.forward(tx) is True
        assert drain(region.receiver("q")) == [b"content"]
        assert all_free(region)


def test_a_dead_editor_redelivers_nothing(start: Callable[..., Any]) -> None:
    with small() as region:
        for data in (b"first", b"second"):
            region.sender("source").send(data)
        child = Partner(start, edit_and_linger)
        assert child.hear() == b"first"
        child.kill()
        rx = region.receiver("source")
        assert [bytes(message) for message in rx.receive_many(9, 20)] == [b"second"]
        assert region.stats()["requeued"] == 0
        assert all_free(region)


def edit_and_linger(link: Connection) -> None:
    region = Region.attach("r")
    message = region.receiver("source").receive(20)
    before = bytes(message)
    loan = message.edit()
    loan[0] = 0
    link.send(before)
    link.recv()
    print(loan)


# ---- edit of what others have, too ---------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["holds it", "has it queued"])
def test_a_message_that_others_have_too_is_copied_and_they_see_the_old_content(other: str) -> None:
    with small() as region:
        publisher, first, second = region.publisher("t"), region.subscriber("t"), region.subscriber("t")
        tx, rx = region.sender("q"), region.receiver("q")
        publisher.send(np.arange(3.0), label=9)
        message = first.receive(0)
        theirs = second.receive(0) if other == "holds it" else None
        offset = message.offset
        with message.edit(tx) as loan:
            assert loan.offset != offset
            assert (loan.label, loan.dtype, loan.array.tolist()) == (9, np.dtype("f8"), [0, 1, 2])
            loan.array[:] = -1
            assert held(region) == (1, 1 if theirs else 0)
        theirs = theirs or second.receive(0)
        assert (theirs.array.tolist(), theirs.offset) == ([0, 1, 2], offset)
        theirs.release()
        assert [message.array.tolist() for message in [rx.receive(0)]] == [[-1, -1, -1]]
        assert all_free(region)


def test_the_last_who_has_a_published_message_edits_it_in_place() -> None:
    with small() as region:
        publisher, subscribers = region.publisher("t"), [region.subscriber("t") for _ in range(3)]
        publisher.send(b"content")
        messages = [subscriber.receive(0) for subscriber in subscribers]
        offset = messages[0].offset
        messages[0].release()
        messages[2].release()
        loan = messages[1].edit(publisher)
        assert loan.offset == offset
        loan[:] = b"changed"
        assert loan.send() == 3
        assert [drain(subscriber) for subscriber in subscribers] == [[b"changed"]] * 3
        assert all_free(region)


def test_a_copying_edit_without_blocks_leaves_the_message_as_it_is() -> None:
    with small() as region:
        publisher, first, second = region.publisher("t"), region.subscriber("t"), region.subscriber("t")
        publisher.send(bytes(MIB))
        message, theirs = first.receive(0), second.receive(0)
        for timeout in (0, 0.02, None):
            with pytest.raises(shmq.OutOfBlocks, match=rf"{MIB} bytes asked; .*\n.* 2 messages held"):
                message.edit(timeout=timeout)
            assert message[0] == 0
            assert message.array.shape == (MIB,)
        theirs.release()
        loan = message.edit()
        loan.discard()
        assert all_free(region)


def test_a_copying_edit_waits_for_blocks_that_others_hold() -> None:
    with small() as region, Region.attach("r") as other:
        publisher, first, second = region.publisher("t"), region.subscriber("t"), other.subscriber("t")
        in_the_way = other.sender("q").loan(MIB // 2)
        publisher.send(bytes(MIB // 2))
        message, theirs = first.receive(0), second.receive(0)
        editing = Thread(message.edit)
        until(editing.is_asleep)
        in_the_way.discard()
        loan = editing.result()
        assert loan.nbytes == MIB // 2
        loan.discard()
        theirs.release()
        other.close()
        assert all_free(region)


@pytest.mark.parametrize("meanwhile", ["released", "region closed"])
def test_a_copying_edit_whose_message_goes_meanwhile_takes_no_block(meanwhile: str) -> None:
    with small() as region:
        other = Region.attach("r")
        publisher, second = region.publisher("t"), region.subscriber("t")
        first = other.subscriber("t")
        in_the_way = region.sender("q").loan(MIB // 2)
        publisher.send(bytes(MIB // 2))
        message, theirs = first.receive(0), second.receive(0)
        editing = Thread(message.edit)
        until(editing.is_asleep)
        if meanwhile == "released":
            message.release()
            in_the_way.discard()
        else:
            other.close()
        with pytest.raises(ValueError, match="has been released" if meanwhile == "released" else "has been closed"):
            editing.result()
        in_the_way.discard()
        theirs.release()
        other.close()
        assert all_free(region)


# ---- forward -------------------------------------------------------------------------------------------------


@ORIGINS
def test_a_forwarded_message_stays_where_it_is_with_type_and_label(origin: Callable[..., Any]) -> None:
    with small(process="first") as region, Region.attach("r", process="second") as other:
        rx = other.receiver("q")
        region.sender("q").send(b"before")
        message = origin(region, np.arange(6, dtype=">i2").reshape(3, 2))
        offset = message.offset
        assert message.forward(region.sender("q")) is True
        assert held(region) == (0, 0)
        rx.receive(0).release()
        with rx.receive(0) as forwarded:
            assert (forwarded.array.tolist(), forwarded.dtype) == ([[0, 1], [2, 3], [4, 5]], np.dtype(">i2"))
            assert (forwarded.offset, forwarded.label, forwarded.seq) == (offset, 7, 1)
            assert (forwarded.sender, forwarded.redelivered, forwarded.deliveries) == ("first", False, 1)
        other.close()
        assert all_free(region)


@ORIGINS
def test_a_forwarded_message_is_the_handles_no_more(origin: Callable[..., Any]) -> None:
    with small() as region:
        tx = region.sender("q")
        with origin(region) as message:
            assert message.forward(tx) is True
            for call in (lambda: message.forward(tx), message.edit, lambda: bytes(message), lambda: message.seq):
                with pytest.raises(ValueError, match="has been released"):
                    call()
            assert repr(message) == "<shmq.Message released>"
        assert drain(region.receiver("q")) == [b"content"]


@ORIGINS
def test_a_message_forwarded_to_a_topic_reaches_all_who_subscribe(origin: Callable[..., Any]) -> None:
    with small() as region:
        publisher, subscribers = region.publisher("t"), [region.subscriber("t") for _ in range(2)]
        message = origin(region)
        offset = message.offset
        assert message.forward(publisher) == 2
        for subscriber in subscribers:
            with subscriber.receive(0) as forwarded:
                assert (bytes(forwarded), forwarded.offset, forwarded.label, forwarded.seq) == (
                    b"content",
                    offset,
                    7,
                    0,
                )
        assert origin(region).forward(region.publisher("nobody")) == 0
        assert all_free(region)


def test_a_message_can_be_forwarded_to_the_topic_and_the_queue_that_it_came_from() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        publisher, subscriber = region.publisher("t"), region.subscriber("t")
        tx.send(b"again")
        publisher.send(b"and again")
        for number in range(300):
            message = rx.receive(0)
            assert (bytes(message), message.seq) == (b"again", number)
            assert message.forward(tx) is True
            message = subscriber.receive(0)
            assert (bytes(message), message.seq) == (b"and again", number)
            assert message.forward(publisher) == 1
        assert len(drain(rx) + drain(subscriber)) == 2
        assert all_free(region)


def test_a_message_that_others_have_too_is_forwarded_as_a_copy() -> None:
    with small() as region:
        publisher, first, second = region.publisher("t"), region.subscriber("t"), region.subscriber("t")
        publisher.send(np.arange(3), label=3)
        message = first.receive(0)
        offset = message.offset
        assert message.forward(region.sender("q")) is True
        assert held(region) == (0, 0)
        with region.receiver("q").receive(0) as copy, second.receive(0) as original:
            assert copy.offset != original.offset == offset
            assert (copy.label, copy.array.tolist(), original.array.tolist()) == (3, [0, 1, 2], [0, 1, 2])
        assert all_free(region)


def unable(region: Region) -> dict[str, tuple[Any, Any, str]]:
    """Where a message cannot be forwarded now: to whom, what is raised, and what the text says."""
    full, shut, deleted, left = region.sender("full", depth=1), region.sender("shut"), region.sender("deleted"), None
    full.send(b"in the way")
    shut.shutdown()
    region.delete_queue("deleted")
    with Region.attach("r", process="left"):
        left = region.peer("left")
    return {
        "full": (full, shmq.Full, "'full' holds its 1 messages"),
        "shut": (shut, shmq.ShutDown, "'shut' has been shut down"),
        "deleted": (deleted, shmq.QueueClosedError, "'deleted' was deleted"),
        "left": (left, shmq.PeerDied, "'left' .* has left or died"),
    }


@ORIGINS
@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("where", ["full", "shut", "deleted", "left"])
def test_a_forward_that_fails_leaves_the_message_as_it_was(
    where: str, others: bool, origin: Callable[..., Any]
) -> None:
    with small() as region:
        tx, error, text = unable(region)[where]
        second = region.subscriber("source") if others else None
        message = origin(region)
        theirs = second.receive(0) if second is not None and second.qsize() else None
        for timeout in (0, 0.02):
            with pytest.raises(error, match=text):
                message.forward(tx, timeout=timeout)
            assert sum(held(region)) == (2 if theirs else 1)  # of a published one the tickets are given back first
            view = message.array
            assert (bytes(view), bytes(message), message.label) == (b"content", b"content", 7)
            del view
        assert message.forward(region.sender("elsewhere")) is True
        assert drain(region.receiver("elsewhere")) == [b"content"]
        del theirs
        region.delete_queue("full")
        assert all_free(region)


def test_a_forward_waits_for_room() -> None:
    with small() as region:
        tx, rx = region.sender("full", depth=1), region.receiver("full")
        tx.send(b"first")
        message = queued_message(region)
        forwarding = Thread(message.forward, tx)
        until(forwarding.is_asleep)
        with pytest.raises(ValueError, match="has been released"):
            message.forward(region.sender("another"))  # one of two threads passes it on
        rx.receive(0).release()
        assert forwarding.result() is True
        assert drain(rx) == [b"content"]
        assert all_free(region)


@ORIGINS
@pytest.mark.parametrize("end", ["region", "sender"])
def test_closing_ends_a_forward_that_waits(origin: Callable[..., Any], end: str) -> None:
    with small() as region:
        region.sender("full", depth=1).send(b"first")
        other = Region.attach("r")
        tx = other.sender("full")
        message = origin(other)
        forwarding = Thread(message.forward, tx)
        until(forwarding.is_asleep)
        (other if end == "region" else tx).close()
        with pytest.raises(ValueError, match="closed"):
            forwarding.result()
        if end == "sender":
            assert bytes(message) == b"content"
            other.close()
        with pytest.raises(ValueError, match=r"closed|released"):
            bytes(message)
        message.release()
        assert drain(region.receiver("full")) == [b"first"]
        if origin is queued_message:
            with region.receiver("source").receive(0) as again:
                assert (bytes(again), again.redelivered) == (b"content", True)
        assert all_free(region)


def test_a_forward_that_the_policy_drops_says_so_and_the_message_is_still_ones_own() -> None:
    with small() as region:
        region.receiver("q", depth=1, overflow="drop_newest")
        tx = region.sender("q")
        tx.send(b"in the way")
        for origin in (queued_message, published_message):
            message = origin(region)
            assert message.forward(tx) is False
            assert bytes(message) == b"content"
            assert message.edit(tx).send() is False
        rx = region.receiver("oldest", depth=1, overflow="drop_oldest")
        for _ in range(3):
            assert queued_message(region).forward(region.sender("oldest")) is True
        assert (rx.dropped, drain(rx)) == (2, [b"content"])
        region.delete_queue("q")
        assert all_free(region)


@ORIGINS
def test_a_published_forward_that_times_out_has_reached_some_and_is_gone(origin: Callable[..., Any]) -> None:
    with small() as region:
        publisher, full, other = region.publisher("t"), region.subscriber("t", depth=1), region.subscriber("t")
        publisher.send(b"first")
        message = origin(region)
        assert message.forward(publisher, timeout=0.02) == 1
        with pytest.raises(ValueError, match="released"):
            bytes(message)
        assert (full.dropped, drain(full), drain(other)) == (1, [b"first"], [b"first", b"content"])
        assert all_free(region)


@ORIGINS
def test_a_published_forward_that_is_ended_in_its_wait_has_reached_some_and_is_gone(origin: Callable[..., Any]) -> None:
    with small() as region:
        publisher, full, other = region.publisher("t"), region.subscriber("t", depth=1), region.subscriber("t")
        publisher.send(b"first")
        message = origin(region)
        forwarding = Thread(message.forward, publisher)
        until(forwarding.is_asleep)
        publisher.close()
        with pytest.raises(ValueError, match="closed"):
            forwarding.result()
        for call in (lambda: bytes(message), message.edit, lambda: message.array):
            with pytest.raises(ValueError, match="released"):
                call()
        message.release()
        assert (full.dropped, drain(full), drain(other)) == (1, [b"first"], [b"first", b"content"])
        assert all_free(region)


# ---- misuse --------------------------------------------------------------------------------------------------


@ORIGINS
def test_another_regions_sender_is_refused_and_both_are_named(origin: Callable[..., Any]) -> None:
    with small() as region, small("other") as other:
        message = origin(region)
        for tx in (other.sender("q"), other.publisher("t")):
            for call in (message.edit, message.forward):
                with pytest.raises(ValueError, match="belongs to region 'other', the message to region 'r'") as caught:
                    call(tx)
                assert "tx.send(message)" in str(caught.value)
        rx = other.receiver("q")
        assert other.sender("q").send(message) is True  # as the text says
        assert drain(rx) == [b"content"]
        message.release()


def test_another_opening_of_the_same_region_is_refused_as_such() -> None:
    with small() as region, Region.attach("r") as again:
        message = queued_message(region)
        for call in (message.edit, message.forward):
            with pytest.raises(ValueError, match="belongs to another opening of the region, the message to region 'r'"):
                call(again.sender("q"))


@ORIGINS
def test_a_closed_sender_is_refused_and_the_message_is_still_ones_own(origin: Callable[..., Any]) -> None:
    with small() as region:
        message = origin(region)
        for tx in (region.sender("q"), region.publisher("t")):
            tx.close()
            for call in (message.edit, message.forward):
                with pytest.raises(ValueError, match="has been closed"):
                    call(tx)
        assert bytes(message) == b"content"


@pytest.mark.parametrize("what", [None, "q", 5])
def test_a_message_is_forwarded_to_a_sender_and_nothing_else(what: Any) -> None:
    with small() as region:
        message = queued_message(region)
        with pytest.raises(TypeError):
            message.forward(what)
        if what is not None:
            with pytest.raises(TypeError):
                message.edit(what)
        assert bytes(message) == b"content"


@ORIGINS
@pytest.mark.parametrize("timeout", BAD_TIMEOUTS)
def test_a_bad_timeout_is_refused_whether_or_not_there_is_a_wait(origin: Callable[..., Any], timeout: float) -> None:
    with small() as region:
        message = origin(region)
        for call in (
            lambda: message.edit(timeout=timeout),
            lambda: message.forward(region.sender("q"), timeout=timeout),
        ):
            with pytest.raises(ValueError, match="timeout"):
                call()
        assert bytes(message) == b"content"


# ---- loans handed over ---------------------------------------------------------------------------------------


def test_a_loan_given_to_send_is_handed_over_by_any_sender_of_its_region() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        loan = region.sender("another").loan((2,), "<i8", label=3)
        loan.array[:] = [1, 2]
        offset = loan.offset
        assert tx.send(loan) is True
        with pytest.raises(ValueError, match="has been sent"):
            tx.send(loan)
        with rx.receive(0) as message:
            assert (message.array.tolist(), message.label, message.offset) == ([1, 2], 3, offset)
        assert tx.send(tx.loan(1, label=3), label=4) is True
        with rx.receive(0) as message:
            assert message.label == 4
        assert all_free(region)


def test_a_loan_of_another_region_is_copied_and_stays_ones_own() -> None:
    with small() as region, small("other") as other:
        loan = other.sender("q").loan(4)
        loan[:] = b"data"
        assert region.sender("q").send(loan) is True
        assert drain(region.receiver("q")) == [b"data"]
        assert loan[:] == b"data"
        loan.discard()


def test_loans_among_many_items_are_handed_over_and_the_rest_stays_ones_own() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=3), region.receiver("q")
        loans = [tx.loan(1) for _ in range(4)]
        for number, loan in enumerate(loans):
            loan[0] = number
        with pytest.raises(shmq.Full) as caught:
            tx.send_many(loans, timeout=0)
        assert caught.value.sent == 3
        assert drain(rx) == [b"\0", b"\1", b"\2"]
        assert loans[3][0] == 3
        with pytest.raises(ValueError, match="has been sent") as again:
            tx.send_many([loans[3], loans[3]])
        assert again.value.sent == 1
        assert drain(rx) == [b"\3"]


def test_a_loan_with_live_views_is_not_handed_over() -> None:
    with small() as region:
        tx = region.sender("q")
        loan = tx.loan(4)
        view = loan.memoryview
        for other in (region.sender("another"), region.publisher("t")):
            with pytest.raises(BufferError, match="1 writable views"):
                other.send(loan)
        view.release()
        del view
        loan[:] = b"mine"
        assert tx.send(loan) is True
        assert drain(region.receiver("q")) == [b"mine"]


# ---- deaths --------------------------------------------------------------------------------------------------


def receive_and_wait_to_forward(link: Connection) -> None:
    region = Region.attach("r")
    message = region.receiver("source").receive(20)
    tx = region.sender("full")
    link.send("forwards")
    message.forward(tx)


def test_a_forwarder_killed_while_it_waits_gives_the_message_back_to_its_queue(start: Callable[..., Any]) -> None:
    with small() as region:
        region.sender("full", depth=1).send(b"in the way")
        region.sender("source").send(b"content", label=7)
        child = Partner(start, receive_and_wait_to_forward)
        child.hear()
        until(lambda: is_asleep(child.pid))
        child.kill()
        with region.receiver("source").receive(20) as message:
            assert (bytes(message), message.label) == (b"content", 7)
            assert (message.redelivered, message.deliveries) == (True, 2)
            message.forward(region.sender("next"))
        with region.receiver("next").receive(20) as message:
            assert (message.redelivered, message.deliveries) == (True, 2)
        assert drain(region.receiver("full")) == [b"in the way"]
        assert all_free(region)


def forward_without_end(link: Connection) -> None:
    region = Region.attach("r")
    rx, tx = region.receiver("source"), region.sender("target")
    link.send("ready")
    for message in rx:
        message.forward(tx)


def test_forwarders_killed_anywhere_lose_and_double_nothing(start: Callable[..., Any]) -> None:
    """A forward moves a message from queue to queue in one step: it is in one of them, whoever dies when."""
    with small() as region:
        source, target = region.sender("source", depth=8), region.receiver("target", depth=8)
        total = 1000
        feeding = Thread(lambda: [source.send(number.to_bytes(4, "big") * 100, timeout=20) for number in range(total)])
        child = Partner(start, forward_without_end)
        child.hear()
        seen = []
        while len(seen) < total:
            if len(seen) % 250 == 249:
                os.kill(child.pid, signal.SIGKILL)
                child.kill()
                child = Partner(start, forward_without_end)
            with target.receive(20) as message:
                number = int.from_bytes(message[:4], "big")
                assert bytes(message) == number.to_bytes(4, "big") * 100
                seen.append(number)
        feeding.result()
        child.kill()
        region.recover()
        assert sorted(seen) == list(range(total))
        assert all_free(region)


def edit_without_end(link: Connection) -> None:
    region = Region.attach("r")
    rx, tx = region.receiver("source", shared=True), region.sender("target")
    link.send("ready")
    for message in rx:
        with message.edit(tx) as loan:
            loan.array[:] += 1


def test_editors_killed_anywhere_hand_on_nothing_half_modified_and_double_nothing(start: Callable[..., Any]) -> None:
    with small() as region:
        source, target = region.sender("source", depth=8), region.receiver("target", depth=8)
        content = np.zeros(500, "<u4")
        children = [Partner(start, edit_without_end) for _ in range(2)]
        for child in children:
            child.hear()

        def feed() -> None:
            for number in range(1000):
                content[:] = number
                source.send(content, timeout=20)
            source.shutdown()

        def collect() -> None:
            for message in target:
                with message:
                    assert len(set(message.array.tolist())) == 1
                    seen.append(int(message.array[0]) - 1)

        seen: list[int] = []
        feeding, collecting = Thread(feed), Thread(collect)
        for death in (100, 300, 500, 700):
            until(lambda death=death: len(seen) >= death)
            children.pop(0).kill()
            region.recover()  # before the others may see the end of the source
            children.append(Partner(start, edit_without_end))
        feeding.result()
        for child in children:
            child.result()
        region.sender("target").shutdown()
        collecting.result()
        assert len(seen) == len(set(seen))
        assert len(seen) >= 1000 - 4  # an editor takes with it what it had acknowledged and not yet sent
        assert all_free(region)


# ---- a pipeline ----------------------------------------------------------------------------------------------


def add_one(link: Connection, source: str, target: str) -> list[int]:
    """A stage: each message is modified where it lies."""
    with Region.attach("r") as region:
        rx, tx = region.receiver(source), region.sender(target)
        link.send("ready")
        offsets = []
        for message in rx:
            with message.edit(tx) as loan:
                loan.array[:] += 1
                offsets.append(loan.offset)
        tx.shutdown()
        return offsets


def test_a_block_goes_through_a_pipeline_of_processes_without_being_copied(start: Callable[..., Any]) -> None:
    with small() as region:
        tx, rx = region.sender("0", depth=4), region.receiver("3", depth=4)
        stages = [Partner(start, add_one, str(number), str(number + 1)) for number in range(3)]
        for stage in stages:
            stage.hear()

        def feed() -> list[int]:
            offsets = []
            for number in range(200):
                with tx.loan((100,), "<i4", label=number, timeout=20) as loan:
                    loan.array[:] = number
                    offsets.append(loan.offset)
            tx.shutdown()
            return offsets

        feeding = Thread(feed)
        found = []
        for message in rx:
            with message:
                assert (message.array == message.label + 3).all()
                found.append(message.offset)
        offsets = feeding.result()
        assert [stage.result() for stage in stages] == [offsets] * 3
        assert found == offsets
        assert all_free(region)
