# SPDX-License-Identifier: MIT
"""Topics: one block for all who subscribe, and whose it is when somebody is late, slow, gone or dead."""

import os
import random
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from helpers import BAD_LABELS, BAD_TIMEOUTS, Partner, Thread, all_free, drain, held, small, until

import shmq
from shmq import Region

MIB = 1 << 20

# ---- the way of a message ------------------------------------------------------------------------------------


def test_every_subscriber_reads_the_same_block_in_place_with_all_that_travels_with_it() -> None:
    with small(process="camera") as region:
        publisher = region.publisher("frames")
        subscribers = [region.subscriber("frames") for _ in range(3)]
        loan = publisher.loan((2, 3), "<f4", label=7)
        loan.array[:] = [[0, 1, 2], [3, 4, 5]]
        offset = loan.offset
        assert loan.send() == 3
        messages = [subscriber.receive(0) for subscriber in subscribers]
        for message in messages:
            assert message.array.tolist() == [[0, 1, 2], [3, 4, 5]]
            assert (message.shape, message.dtype, message.nbytes) == ((2, 3), np.dtype("<f4"), 24)
            assert (message.offset, message.label, message.seq, message.sender) == (offset, 7, 0, "camera")
            assert (message.redelivered, message.deliveries) == (False, 1)
            with pytest.raises(ValueError, match="read-only"):
                message.array[0, 0] = 9
        messages.clear()
        del message
        assert all_free(region)


def test_each_way_to_send_says_how_many_it_reached() -> None:
    with small() as region:
        tx, first = region.publisher("t"), region.subscriber("t")
        for reached in (1, 2):
            assert tx.subscribers == reached
            assert tx.send(b"bytes") == reached
            assert tx.send_nowait(bytearray(b"buffer")) == reached
            assert tx.send(np.arange(3)) == reached
            assert tx.loan(5).send() == reached
            assert tx.loan(5).send_nowait() == reached
            with tx.loan(5) as loan:
                loan[:] = b"withs"
            assert tx.send(region.sender("q").loan(5)) == reached
            assert tx.send_many([b"one", bytearray(b"two"), tx.loan(5)]) == 3
            if reached == 1:
                second = region.subscriber("t")
        assert [len(drain(subscriber)) for subscriber in (first, second)] == [20, 10]
        assert all_free(region)


def test_what_nobody_subscribes_to_reaches_nobody_and_is_freed() -> None:
    with small() as region:
        tx = region.publisher("t")
        loan = tx.loan(MIB)
        assert tx.subscribers == 0
        assert loan.send() == 0
        with pytest.raises(ValueError, match="has been sent"):
            loan.send()
        assert tx.send(b"x") == 0
        assert tx.send_many([b"x", b"y"]) == 2
        assert all_free(region)


def test_the_block_goes_back_with_the_last_who_releases_it() -> None:
    with small() as region:
        tx, subscribers = region.publisher("t"), [region.subscriber("t") for _ in range(3)]
        tx.send(bytes(MIB))
        messages = [subscriber.receive(0) for subscriber in subscribers]
        for index in (1, 0):
            messages[index].release()
            with pytest.raises(shmq.OutOfBlocks):
                tx.loan(1, timeout=0)
        view = messages[2].memoryview
        messages[2].release()
        with pytest.raises(shmq.OutOfBlocks):
            tx.loan(1, timeout=0)
        view.release()
        del view
        assert all_free(region)


def test_who_comes_late_sees_only_what_is_published_from_then_on() -> None:
    with small() as region:
        tx, early = region.publisher("t"), region.subscriber("t")
        tx.send(b"0")
        late = region.subscriber("t")
        tx.send(b"1")
        assert [(message.seq, bytes(message)) for message in early.receive_many(9, 0)] == [(0, b"0"), (1, b"1")]
        assert [(message.seq, bytes(message)) for message in late.receive_many(9, 0)] == [(1, b"1")]


def test_topics_do_not_meet_nor_does_a_queue_of_the_same_name() -> None:
    with small() as region:
        names = ["a", "b", "a/b"]
        subscribers = [region.subscriber(name) for name in names]
        queue = region.receiver("a")
        for name in names:
            assert region.publisher(name).send(name.encode()) == 1
        region.sender("a").send(b"queue")
        assert [drain(subscriber) for subscriber in subscribers] == [[b"a"], [b"b"], [b"a/b"]]
        assert drain(queue) == [b"queue"]
        with pytest.raises(ValueError, match="has no queue 'b'"):
            region.delete_queue("b")
        region.delete_queue("a")
        assert region.publisher("a").send(b"still there") == 1
        assert drain(subscribers[0]) == [b"still there"]


def test_a_subscriber_gets_what_each_publisher_sends_in_its_order() -> None:
    with small() as region:
        rx = region.subscriber("t", depth=8)
        count = 300

        def publish(mark: int) -> None:
            tx = region.publisher("t")
            for number in range(count):
                assert tx.send(bytes([mark]) + number.to_bytes(4, "big"), timeout=20) == 1

        publishing = [Thread(publish, mark) for mark in range(3)]
        found: list[list[int]] = [[], [], []]
        seqs = []
        for _ in range(3 * count):
            with rx.receive(20) as message:
                found[message[0]].append(int.from_bytes(message[1:], "big"))
                seqs.append(message.seq)
        for one in publishing:
            one.result()
        assert found == [list(range(count))] * 3
        assert sorted(seqs) == list(range(3 * count))
        assert rx.dropped == 0


def test_one_publisher_is_shared_by_threads_while_subscribers_come_and_go() -> None:
    with small() as region:
        tx, steady = region.publisher("t"), region.subscriber("t", depth=4)
        count = 200

        def publish(mark: int) -> None:
            for number in range(count):
                assert tx.send(bytes([mark]) + number.to_bytes(4, "big"), timeout=20) >= 1

        def come_and_go() -> None:
            for _ in range(50):
                with region.subscriber("t", depth=2, overflow="drop_oldest") as guest:
                    drain(guest)

        working = [Thread(publish, mark) for mark in range(3)] + [Thread(come_and_go) for _ in range(2)]
        found: list[list[int]] = [[], [], []]
        for _ in range(3 * count):
            with steady.receive(20) as message:
                found[message[0]].append(int.from_bytes(message[1:], "big"))
        for one in working:
            one.result()
        assert found == [list(range(count))] * 3
        assert tx.subscribers == 1
        assert all_free(region)


@pytest.mark.parametrize("timeout", BAD_TIMEOUTS)
def test_a_bad_timeout_is_refused_whoever_subscribes(timeout: float) -> None:
    with small() as region:
        tx = region.publisher("t")
        for _ in range(2):
            loan = tx.loan(1)
            for call in (
                lambda: tx.send(b"x", timeout=timeout),
                lambda: tx.send_many([], timeout=timeout),
                lambda: tx.loan(1, timeout=timeout),
                lambda loan=loan: loan.send(timeout),
            ):
                with pytest.raises(ValueError, match="timeout"):
                    call()
            loan.discard()
            region.subscriber("t").close()


@pytest.mark.parametrize("label", BAD_LABELS)
def test_a_bad_label_is_refused(label: int) -> None:
    with small() as region:
        tx = region.publisher("t")
        for call in (lambda: tx.send(b"x", label=label), lambda: tx.loan(1, label=label)):
            with pytest.raises(ValueError, match=rf"label is {label}"):
                call()


# ---- handles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "é", "."])
def test_a_topic_may_not_be_called(name: str) -> None:
    with small() as region:
        for call in (region.publisher, region.subscriber):
            with pytest.raises(ValueError, match="topic name") as caught:
                call(name)
            assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("depth", 0, "1 to 65536"),
        ("depth", 65537, "1 to 65536"),
        ("overflow", "drop", "block, drop_oldest, drop_newest"),
        ("spin", -1, "from 0 up"),
    ],
)
def test_an_option_out_of_range_is_refused_and_subscribes_nobody(option: str, value: Any, rule: str) -> None:
    with small() as region:
        with pytest.raises(ValueError, match=rule) as caught:
            region.subscriber("t", **{option: value})
        assert option in str(caught.value)
        assert repr(value) in str(caught.value)
        assert region.publisher("t").subscribers == 0


def test_handles_tell_what_they_are_and_end_with_their_with_block() -> None:
    with small() as region:
        with region.publisher("t") as tx, region.subscriber("t", depth=5) as rx:
            assert (repr(tx), repr(rx)) == ("<shmq.Publisher of 't'>", "<shmq.Receiver of 't'>")
            assert (tx.queue, rx.queue, rx.depth, rx.shared) == ("t", "t", 5, False)
            assert tx.region is rx.region is region
        assert tx.closed
        assert rx.closed
        for call in (
            lambda: tx.send(b"x"),
            lambda: tx.send_many([]),
            lambda: tx.loan(1),
            lambda: tx.subscribers,
            lambda: tx.depth,
            tx.qsize,
            tx.shutdown,
            tx.__enter__,
        ):
            with pytest.raises(ValueError, match="publisher of topic 't' has been closed"):
                call()
        for call in (rx.receive, rx.qsize, lambda: rx.dropped, lambda: rx.receive_many(1), rx.__enter__):
            with pytest.raises(ValueError, match="receiver of topic 't' has been closed"):
                call()


def test_a_publisher_tells_the_shallowest_depth_and_the_fullest_queue_of_its_subscribers() -> None:
    with small() as region:
        tx = region.publisher("t")
        assert (tx.subscribers, tx.depth, tx.qsize()) == (0, 0, 0)
        subscribers = [region.subscriber("t", depth=depth) for depth in (9, 5, 7)]
        assert (tx.subscribers, tx.depth, tx.qsize()) == (3, 5, 0)
        tx.send_many([b"x"] * 4)
        drain(subscribers[0])
        assert (tx.depth, tx.qsize()) == (5, 4)
        kept = subscribers[1].receive(0)
        subscribers[1].close()  # its index stays while it holds a message, but it is nobody to wait for
        drain(subscribers[2])
        assert (tx.subscribers, tx.depth, tx.qsize()) == (2, 7, 0)
        kept.release()


def test_publishers_are_not_made_by_hand() -> None:
    with pytest.raises(TypeError, match="come from a Region"):
        shmq.Publisher()


def test_a_loan_outlives_its_publishers_handle_and_goes_through_another() -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t")
        loan = tx.loan(4)
        tx.close()
        with pytest.raises(ValueError, match="closed"):
            loan.send()
        assert region.publisher("t").send(loan) == 1
        assert len(drain(rx)) == 1


def test_stats_tell_the_topics_and_their_subscribers() -> None:
    with small(max_queues=9) as region, Region.attach("r") as other:
        assert region.stats()["max_topics"] == 3
        region.publisher("lonely")
        own = region.subscriber("t", depth=2, overflow="drop_newest")
        other.subscriber("elsewhere", depth=3)
        tx = region.publisher("t")
        for _ in range(3):
            tx.send(bytes(600))
        stats = region.stats()
        assert stats["topics"] == {
            "lonely": [],
            "t": [{"slot": 0, "depth": 2, "queued": 2, "dropped": 1, "overflow": "drop_newest"}],
            "elsewhere": [],
        }
        assert (stats["queued"], stats["queued_bytes"], stats["queues"]) == (2, 2048, {})
        drain(own)


def test_a_published_message_counts_with_everyone_who_holds_it() -> None:
    with small(process="a") as region, Region.attach("r", process="b") as other:
        tx, here, there = region.publisher("t"), region.subscriber("t"), other.subscriber("t")
        tx.send(bytes(1000))
        assert [(info.name, info.held, info.bytes) for info in region.processes() if info.held] == []
        assert region.stats()["queued"] == 1
        mine = here.receive(0)
        assert [info.name for info in region.processes() if info.held] == ["a"]
        assert region.stats()["queued"] == 1
        theirs = there.receive(0)
        assert [(info.name, info.held) for info in region.processes() if info.held] == [("a", 1), ("b", 1)]
        assert min(info.bytes for info in region.processes()) >= 1024
        assert region.stats()["queued"] == 0
        mine.release()
        assert [info.name for info in region.processes() if info.held] == ["b"]
        theirs.release()
        assert held(region) == (0, 0)


# ---- limits --------------------------------------------------------------------------------------------------


def test_a_topic_has_120_subscribers_and_the_next_is_told_so() -> None:
    with small() as region:
        subscribers = [region.subscriber("t", depth=1) for _ in range(120)]
        with pytest.raises(shmq.RegistryFullError) as caught:
            region.subscriber("t")
        for part in ("'t'", "'r'", "120 subscribers", "close some", "two topics"):
            assert part in str(caught.value)
        tx = region.publisher("t")
        assert tx.subscribers == tx.send(b"x") == 120
        messages = [subscriber.receive(0) for subscriber in subscribers]
        assert len({message.offset for message in messages}) == 1
        random.Random(1).shuffle(messages)
        for message in messages:
            message.release()
        subscribers[77].close()
        subscribers[77] = region.subscriber("t", depth=1)
        assert tx.send(b"y") == 120
        assert [drain(subscriber) for subscriber in subscribers] == [[b"y"]] * 120
        assert all_free(region)


def test_when_all_topics_are_taken_the_error_says_how_many_there_can_be() -> None:
    with small(max_queues=5) as region:
        region.publisher("one")
        region.subscriber("two").close()
        for call in (region.publisher, region.subscriber):
            with pytest.raises(shmq.RegistryFullError) as caught:
                call("three")
            for part in ("'three'", "all 2 topics", "'r'", "quarter of max_queues", "region's life"):
                assert part in str(caught.value)
        assert region.publisher("two").subscribers == 0


def test_when_all_queues_are_taken_nobody_can_subscribe_until_one_leaves() -> None:
    with small(max_queues=2) as region:
        first, _second = region.subscriber("t"), region.sender("queue")
        with pytest.raises(shmq.RegistryFullError) as caught:
            region.subscriber("t")
        for part in ("'t'", "all 2 queues", "'r'", "queue", "max_queues"):
            assert part in str(caught.value)
        first.close()
        region.subscriber("t")


def test_a_message_larger_than_any_block_is_refused_with_both_sizes() -> None:
    with small() as region:
        tx = region.publisher("t")
        with pytest.raises(ValueError, match="largest block") as caught:
            tx.send(bytes(MIB + 1))
        for part in (str(MIB + 1), str(MIB), "pieces"):
            assert part in str(caught.value)


def test_blocks_that_a_subscriber_elsewhere_holds_are_waited_for_and_named() -> None:
    with small() as region, Region.attach("r", process="slow") as other:
        tx, rx = region.publisher("t"), other.subscriber("t")
        tx.send(bytes(MIB))
        with pytest.raises(shmq.OutOfBlocks, match="queues: 1 messages, 1 MiB"):
            tx.send(b"x", timeout=0)
        message = rx.receive(0)
        with pytest.raises(shmq.OutOfBlocks, match=r"'slow' \(pid \d+, slot 1\): 0 loans, 1 messages held, 0 cached"):
            tx.send(b"x", timeout=0.01)
        sending = Thread(tx.send, b"x")
        until(sending.is_asleep)
        message.release()
        assert sending.result() == 1
        assert drain(rx) == [b"x"]


def test_blocks_that_only_this_process_holds_are_not_waited_for() -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t")
        tx.send(bytes(MIB))
        message = rx.receive(0)
        with pytest.raises(shmq.OutOfBlocks, match="1 messages held"):
            tx.send(b"x")  # without end
        message.release()
        assert tx.send(b"x") == 1
        assert drain(rx) == [b"x"]


# ---- leaving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "leave its with", "drop", "close the region"])
def test_who_unsubscribes_gives_back_what_was_queued_and_nobody_waits_for_it(how: str) -> None:
    with small() as region:
        other = Region.attach("r")
        tx, stays, leaves = region.publisher("t"), region.subscriber("t"), other.subscriber("t", depth=2)
        for number in range(2):
            assert tx.send(bytes([number])) == 2
        if how == "close":
            leaves.close()
            leaves.close()
        elif how == "leave its with":
            with leaves:
                pass
        elif how == "close the region":
            other.close()
        del leaves
        assert tx.subscribers == 1
        for number in range(2, 9):
            assert tx.send(bytes([number])) == 1
        assert drain(stays) == [bytes([number]) for number in range(9)]
        other.close()
        assert all_free(region)


def test_messages_that_are_held_outlive_the_subscription_and_disturb_nobody() -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t", depth=4)
        for number in range(3):
            tx.send(bytes([number]) * 1000)
        first, second = rx.receive(0), rx.receive(0)
        view = second.array
        second.release()
        rx.close()
        assert held(region) == (0, 2)
        assert (tx.subscribers, tx.send(b"nobody hears")) == (0, 0)
        again = region.subscriber("t", depth=1)
        for number in range(40):
            assert tx.send(bytes([100 + number]) * 1000) == 1
            assert drain(again) == [bytes([100 + number]) * 1000]
        assert bytes(first) == bytes(1000)
        assert bytes(view) == b"\x01" * 1000
        first.release()
        assert held(region) == (0, 1)
        del view
        assert all_free(region)
        assert tx.subscribers == 1


def test_leaving_and_joining_with_messages_held_uses_nothing_up() -> None:
    with small() as region:
        tx = region.publisher("t")
        kept: list[shmq.Message] = []
        for number in range(400):
            with region.subscriber("t", depth=1) as rx:
                assert tx.send(number.to_bytes(2, "big")) == 1
                kept.append(rx.receive(0))
            if len(kept) == 7:
                assert [int.from_bytes(bytes(message), "big") for message in kept] == list(
                    range(number - 6, number + 1)
                )
                kept.clear()
        kept.clear()
        assert all_free(region)
        assert tx.subscribers == 0


@pytest.mark.parametrize("unsubscribed", [False, True])
def test_a_view_of_a_published_message_outlives_its_region_and_others_go_on(unsubscribed: bool) -> None:
    with small(process="stays") as region:
        other = Region.attach("r", process="leaves")
        tx, own = region.publisher("t"), region.subscriber("t", depth=1)
        rx = other.subscriber("t", depth=4)
        for letter in (b"a", b"b", b"c"):
            tx.send(letter * 1000)
            drain(own)
        messages = [rx.receive(0), rx.receive(0)]
        view = messages[1].memoryview
        if unsubscribed:
            rx.close()
        other.close()
        assert [info.held for info in region.processes() if info.name == "leaves"] == [1]
        assert tx.subscribers == 1
        for number in range(60):
            assert tx.send(bytes([number]) * 1000) == 1
            assert drain(own) == [bytes([number]) * 1000]
        assert bytes(view) == b"b" * 1000
        messages.clear()
        assert bytes(view) == b"b" * 1000
        del view
        assert [info.name for info in region.processes()] == ["stays"]
        assert all_free(region)


def test_a_subscriber_that_leaves_frees_a_publisher_that_waits_for_it() -> None:
    with small() as region:
        tx, full, other = region.publisher("t"), region.subscriber("t", depth=1), region.subscriber("t")
        tx.send(b"first")
        publishing = Thread(tx.send, b"second")
        until(publishing.is_asleep)
        assert drain(other) == [b"first", b"second"]  # who has room has it already
        full.close()
        assert publishing.result() == 1
        assert all_free(region)


def test_shutdown_ends_the_streams_of_who_subscribes_and_begins_new_ones() -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t")
        waiting = Thread(list, region.subscriber("t", depth=1, overflow="drop_oldest"))
        until(waiting.is_asleep)
        tx.send(b"last")
        until(lambda: not waiting.is_asleep() or region.stats()["topics"]["t"][1]["queued"] == 0)
        region.publisher("t").shutdown()
        assert tx.subscribers == 0
        assert tx.send(b"unheard") == 0
        assert [bytes(message) for message in rx] == [b"last"]
        for call in (rx.receive, lambda: rx.receive(0), lambda: rx.receive_many(3)):
            with pytest.raises(shmq.ShutDown, match="topic 't' has been shut down: subscribe anew"):
                call()
        assert [bytes(message) for message in waiting.result()] == [b"last"]
        fresh = region.subscriber("t")
        assert tx.send(b"heard") == 1
        assert drain(fresh) == [b"heard"]


def test_shutdown_frees_a_publisher_that_waits() -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t", depth=1)
        tx.send(b"first")
        publishing = Thread(tx.send, b"second")
        until(publishing.is_asleep)
        region.publisher("t").shutdown()
        assert publishing.result() == 0
        assert [bytes(message) for message in rx] == [b"first"]


@pytest.mark.parametrize("end", ["publisher", "region"])
def test_closing_ends_a_publish_that_waits_and_those_that_it_reached_have_it(end: str) -> None:
    with small() as region:
        other = Region.attach("r")
        tx, full, rx = other.publisher("t"), region.subscriber("t", depth=1), region.subscriber("t")
        tx.send(b"first")
        loan = tx.loan(6)
        loan[:] = b"second"
        publishing = Thread(loan.send)
        until(publishing.is_asleep)
        (tx if end == "publisher" else other).close()
        with pytest.raises(ValueError, match="closed"):
            publishing.result()
        assert drain(rx) == [b"first", b"second"]
        assert drain(full) == [b"first"]
        with pytest.raises(ValueError, match="sent or discarded" if end == "publisher" else "sent or discarded|closed"):
            loan.send()
        loan.discard()
        other.close()
        assert all_free(region)


def test_the_last_to_close_is_warned_of_published_messages_that_nobody_received() -> None:
    region = small()
    tx, subscribers = region.publisher("t"), [region.subscriber("t") for _ in range(2)]
    for _ in range(3):
        tx.send(b"x")
    subscribers[0].receive(0).release()
    with pytest.warns(ResourceWarning, match="3 messages undelivered"):
        region.close()


# ---- other processes -----------------------------------------------------------------------------------------


def subscribe_and_count(link: Connection, name: str) -> list[int]:
    with Region.attach("r", process=name) as region:
        rx = region.subscriber("t", depth=16)
        link.send("subscribed")
        numbers = []
        for message in rx:
            with message:
                assert bytes(message) == bytes([message.label % 251]) * 700
                numbers.append(message.label)
        return numbers


def test_subscribers_in_other_processes_get_every_message_once_and_in_order(start: Callable[..., Any]) -> None:
    with small() as region:
        tx = region.publisher("t")
        children = [Partner(start, subscribe_and_count, f"child-{number}") for number in range(3)]
        for child in children:
            assert child.hear() == "subscribed"
        for number in range(2000):
            assert tx.send(bytes([number % 251]) * 700, label=number, timeout=20) == 3
        tx.shutdown()
        for child in children:
            assert child.result() == list(range(2000))
        assert all_free(region)


def subscribe_and_hold(link: Connection, depth: int) -> None:
    region = Region.attach("r", process="doomed")
    rx = region.subscriber("t", depth=depth)
    link.send("subscribed")
    message = rx.receive(20)
    link.send("holds")
    link.recv()
    print(message)


def test_what_a_killed_subscriber_held_or_had_queued_comes_back(start: Callable[..., Any]) -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t")
        child = Partner(start, subscribe_and_hold, 8)
        child.hear()
        for number in range(5):
            assert tx.send(bytes([number]) * 700) == 2
        child.hear()
        child.kill()
        assert region.recover() == 1
        assert tx.subscribers == 1
        assert drain(rx) == [bytes([number]) * 700 for number in range(5)]
        assert all_free(region)


def publish_without_end(link: Connection) -> None:
    region = Region.attach("r")
    tx = region.publisher("t")
    link.send("ready")
    number = 0
    while True:
        with tx.loan(700, label=number) as loan:
            loan[:] = number.to_bytes(4, "big") * 175
        number += 1


def test_a_publisher_killed_anywhere_leaves_each_subscriber_a_whole_stream_up_to_its_death(
    start: Callable[..., Any],
) -> None:
    with small() as region:
        subscribers = [region.subscriber("t", depth=depth) for depth in (1, 3, 16)]
        for turn in range(6):
            child = Partner(start, publish_without_end)
            child.hear()
            numbers = [0, 0, 0]

            def take(index: int, numbers: list[int] = numbers) -> None:
                with subscribers[index].receive(20) as message:
                    assert bytes(message) == numbers[index].to_bytes(4, "big") * 175
                    assert message.label == numbers[index]
                    numbers[index] += 1

            for _ in range(50 + turn):
                for index in range(3):
                    take(index)
            os.kill(child.pid, 9)
            child.kill()
            assert region.recover() <= 1
            for index in range(3):
                while subscribers[index].qsize():
                    take(index)
            assert max(numbers) - min(numbers) <= 1  # the last one may have reached some only
            assert all_free(region)


def come_and_go_without_end(link: Connection) -> None:
    region = Region.attach("r")
    link.send("ready")
    while True:
        with region.subscriber("t", depth=2) as rx:
            for _ in range(3):
                with rx.receive() as message:
                    assert bytes(message) == message.label.to_bytes(4, "big") * 175


def test_subscribers_killed_while_they_come_and_go_stop_nobody_and_use_nothing_up(start: Callable[..., Any]) -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t")
        number = 0
        for _ in range(6):
            child = Partner(start, come_and_go_without_end)
            child.hear()
            met = 0
            while met < 200:
                met += tx.send(number.to_bytes(4, "big") * 175, label=number, timeout=20) > 1
                number += 1
                drain(rx)
            os.kill(child.pid, 9)
            for _ in range(50):
                tx.send(number.to_bytes(4, "big") * 175, label=number, timeout=20)
                number += 1
                drain(rx)
            child.kill()
        region.recover()
        assert tx.subscribers == 1
        assert rx.dropped == 0
        assert all_free(region)
