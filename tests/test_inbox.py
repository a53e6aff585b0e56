# SPDX-License-Identifier: MIT
"""Inboxes: every process has a name and a message list of its own, which others send to."""

import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from helpers import AT_ONCE, Partner, Thread, all_free, drain, held, small, until

import shmq
from shmq import Region

INBOX_DEPTH = 1024


def test_what_is_sent_to_a_name_arrives_in_that_processes_inbox_only() -> None:
    with small(process="a") as a, Region.attach("r", process="b") as b, Region.attach("r", process="c") as c:
        assert (a.process, b.process, c.process) == ("a", "b", "c")
        assert a.peer("b").send(b"from a", label=5) is True
        assert c.peer("b").send(b"from c") is True
        with b.inbox.receive(0) as message:
            assert (bytes(message), message.label, message.sender, message.seq) == (b"from a", 5, "a", 0)
        with b.inbox.receive(0) as message:
            assert (bytes(message), message.sender, message.seq) == (b"from c", "c", 1)
        for one in (a, b, c):
            with pytest.raises(shmq.Empty, match=rf"inbox '{one.process}' \(depth {INBOX_DEPTH}\) is empty"):
                one.inbox.receive(0)


def test_a_process_can_write_to_itself() -> None:
    with small(process="me") as region:
        with region.peer("me").loan((2,), "<i8", label=1) as loan:
            loan.array[:] = [3, 4]
        with region.inbox.receive(0) as message:
            assert (message.array.tolist(), message.sender) == ([3, 4], "me")


def test_a_process_without_a_name_is_reached_by_its_number() -> None:
    with small() as region, Region.attach("r") as second:
        assert region.process == f"pid-{os.getpid()}"
        assert second.process == f"pid-{os.getpid()}-1"
        assert [info.name for info in region.processes()] == [region.process, second.process]
        region.peer(second.process).send(b"x")
        assert drain(second.inbox) == [b"x"]


def test_an_inbox_is_the_same_list_at_each_look_and_outlives_its_handles() -> None:
    with small(process="me") as region:
        first, second = region.inbox, region.inbox
        tx = region.peer("me")
        for number in range(4):
            tx.send(bytes([number]))
        assert first.receive(0)[0] == 0
        assert second.receive(0)[0] == 1
        first.close()
        with pytest.raises(ValueError, match="receiver of inbox 'me' has been closed"):
            first.receive()
        assert (second.qsize(), second.depth, second.dropped, second.shared) == (2, INBOX_DEPTH, 0, False)
        assert (repr(second), repr(tx)) == ("<shmq.Receiver of 'me'>", "<shmq.Sender of 'me'>")
        del second
        assert drain(region.inbox) == [b"\2", b"\3"]


def test_an_inbox_cannot_be_shut_down_deleted_or_taken_by_a_queue_of_its_name() -> None:
    with small(process="me") as region:
        tx = region.peer("me")
        for immediate in (False, True):
            with pytest.raises(ValueError, match=r"'me' is the inbox of a process: only that process can end it"):
                tx.shutdown(immediate)
        with pytest.raises(ValueError, match="has no queue 'me'"):
            region.delete_queue("me")
        region.sender("me").send(b"queue")
        tx.send(b"inbox")
        assert drain(region.inbox) == [b"inbox"]
        assert drain(region.receiver("me")) == [b"queue"]
        assert list(region.stats()["queues"]) == ["me"]


def test_an_inbox_that_is_full_says_so_and_can_be_waited_for() -> None:
    with small(process="me") as region:
        tx = region.peer("me")
        assert tx.send_many([b""] * INBOX_DEPTH) == INBOX_DEPTH
        for timeout in (0, 0.02):
            with pytest.raises(shmq.Full) as caught:
                tx.send(b"x", timeout=timeout)
            text = str(caught.value)
            for part in (f"inbox 'me' holds its {INBOX_DEPTH} messages", "receive faster", "timeout"):
                assert part in text
            assert "depth" not in text  # which an inbox has no choice of
        sending = Thread(tx.send, b"last")
        until(sending.is_asleep)
        region.inbox.receive(0).release()
        assert sending.result() is True
        assert drain(region.inbox)[-1] == b"last"


@pytest.mark.parametrize("name", ["", "a/b", "x" * 101, "ü", "a b"])
def test_a_peer_may_not_be_called(name: str) -> None:
    with small() as region, pytest.raises(ValueError, match="process name") as caught:
        region.peer(name)
    assert repr(name) in str(caught.value)


# ---- names ---------------------------------------------------------------------------------------------------


def test_a_name_in_use_is_refused_with_its_holder_and_free_once_that_has_left() -> None:
    with small(process="me") as region:
        for call in (lambda: small(process="me"), lambda: Region.attach("r", process="me")):
            with pytest.raises(shmq.QueueInUseError) as caught:
                call()
            for part in ("'me'", "'r'", f"pid {os.getpid()}", "one process at a time", "another (process=), or none"):
                assert part in str(caught.value)
        assert len(region.processes()) == 1
        other = Region.attach("r", process="other")
        other.close()
        with Region.attach("r", process="other") as again:
            region.peer("other").send(b"x")
            assert drain(again.inbox) == [b"x"]


def test_when_the_names_of_its_own_making_are_taken_a_process_is_told_to_give_one() -> None:
    with small(process=f"pid-{os.getpid()}") as region:
        with Region.attach("r") as second:
            assert second.process == f"pid-{os.getpid()}-1"
            with Region.attach("r", process=f"pid-{os.getpid()}-3"), pytest.raises(shmq.QueueInUseError) as caught:
                Region.attach("r")
        text = str(caught.value)
        assert f"'pid-{os.getpid()}'" in text
        assert text.endswith("give another (process=)")
        assert len(region.processes()) == 1


def be(link: Connection, name: str) -> None:
    region = Region.attach("r", process=name)
    link.send(region.process)
    link.recv()
    print(region)


def test_the_name_of_a_killed_process_is_free_although_nobody_recovered(start: Callable[..., Any]) -> None:
    with small():
        for _ in range(3):
            child = Partner(start, be, "worker")
            assert child.hear() == "worker"
            with pytest.raises(shmq.QueueInUseError, match=f"by pid {child.pid}"):
                Region.attach("r", process="worker")
            child.kill()
        Region.attach("r", process="worker").close()


def test_many_that_want_one_name_at_once_give_it_to_one() -> None:
    with small() as region:

        def attach() -> Region | None:
            try:
                return Region.attach("r", process="wanted")
            except shmq.QueueInUseError:
                return None

        for _ in range(20):
            found = [thread.result() for thread in [Thread(attach) for _ in range(6)]]
            winners = [one for one in found if one is not None]
            assert len(winners) == 1
            assert [info.name for info in region.processes()].count("wanted") == 1
            winners[0].close()
        assert len(region.processes()) == 1


# ---- peers that are not there --------------------------------------------------------------------------------


def test_a_peer_that_is_not_there_is_named_beside_those_that_are() -> None:
    with small(process="me") as region, Region.attach("r", process="other"):
        with pytest.raises(shmq.NoReceiver) as caught:
            region.peer("nobody")
        for part in ("'nobody'", "'r'", "'me'", "'other'", "process='nobody'", "wait"):
            assert part in str(caught.value)


def test_a_peer_that_has_left_is_told_with_its_slot_and_epoch() -> None:
    with small(process="me") as region:
        for _ in range(2):
            other = Region.attach("r", process="other")
            tx = region.peer("other")
            tx.send(b"unread")
            loan = tx.loan(4)
            other.close()
            calls: list[Callable[[], Any]] = [
                lambda tx=tx: tx.send(b"x"),
                lambda tx=tx: tx.send(bytearray(b"x"), timeout=0),
                lambda tx=tx: tx.send_nowait(b"x"),
                lambda tx=tx: tx.send_many([b"x"]),
                loan.send,
                loan.send_nowait,
            ]
            for call in calls:
                with pytest.raises(shmq.PeerDied) as caught:
                    call()
                for part in ("'other'", "slot 1", "epoch", "left or died", "region.processes()", "region.peer"):
                    assert part in str(caught.value)
            loan[:] = b"mine"  # still
            loan.discard()
            with pytest.raises(shmq.NoReceiver, match="'other'"):
                region.peer("other")
        assert all_free(region)


def test_a_handle_on_a_peer_does_not_reach_a_later_process_of_its_name_or_slot() -> None:
    with small(process="me") as region:
        first = Region.attach("r", process="other")
        tx = region.peer("other")
        first.close()
        with Region.attach("r", process="other") as second:
            with pytest.raises(shmq.PeerDied):
                tx.send(b"for the first")
            region.peer("other").send(b"for the second")
            assert drain(second.inbox) == [b"for the second"]


def test_a_killed_peer_is_told_also_to_who_sends_without_a_wait(start: Callable[..., Any]) -> None:
    with small(process="me") as region:
        child = Partner(start, be, "doomed")
        child.hear()
        tx = region.peer("doomed")
        tx.send(b"unread")
        child.kill()
        with pytest.raises(shmq.NoReceiver, match="'doomed'"):  # which looks for the dead
            region.peer("doomed")
        with pytest.raises(shmq.PeerDied, match="'doomed'"):
            tx.send(b"x")
        assert all_free(region)


def test_a_peer_that_dies_while_its_full_inbox_is_waited_for_ends_the_wait(start: Callable[..., Any]) -> None:
    with small(process="me") as region:
        child = Partner(start, be, "doomed")
        child.hear()
        tx = region.peer("doomed")
        tx.send_many([b""] * INBOX_DEPTH)
        loan = tx.loan(3)
        waiting = [Thread(tx.send, b"x"), Thread(loan.send)]
        until(lambda: all(thread.is_asleep() for thread in waiting))
        child.kill()
        killed = time.monotonic()
        for thread in waiting:
            with pytest.raises(shmq.PeerDied, match=r"'doomed' \(slot 1, epoch \d+\)"):
                thread.result()
        assert time.monotonic() - killed < 2 * AT_ONCE
        loan.discard()
        assert all_free(region)


def test_a_peer_that_closes_its_region_ends_a_wait_for_its_full_inbox() -> None:
    with small(process="me") as region:
        other = Region.attach("r", process="other")
        tx = region.peer("other")
        tx.send_many([b""] * INBOX_DEPTH)
        sending = Thread(tx.send, b"x")
        until(sending.is_asleep)
        other.close()
        with pytest.raises(shmq.PeerDied):
            sending.result()
        assert all_free(region)


def test_what_is_held_from_an_inbox_ends_with_its_process_and_is_redelivered_to_nobody() -> None:
    with small(process="me") as region:
        other = Region.attach("r", process="other")
        region.peer("other").send(bytes(1000))
        view = other.inbox.receive(0).memoryview
        other.close()
        assert bytes(view) == bytes(1000)
        assert region.stats()["requeued"] == 0
        del view
        with Region.attach("r", process="other") as again:
            assert again.inbox.qsize() == 0
        assert all_free(region)


def test_the_last_to_close_is_warned_of_what_is_left_in_its_inbox() -> None:
    region = small(process="me")
    region.peer("me").send(b"x")
    with pytest.warns(ResourceWarning, match="1 message undelivered"):
        region.close()


# ---- request and reply ---------------------------------------------------------------------------------------


def serve(link: Connection) -> int:
    """Answer whoever asks, by name, until told to end."""
    with Region.attach("r", process="server") as region:
        link.send("ready")
        count = 0
        for request in region.inbox:
            with request:
                if request.label == 99:
                    break
                assert request.sender is not None
                region.peer(request.sender).send(bytes(request)[::-1], label=request.label)
                count += 1
        return count


def ask(name: str) -> list[bytes]:
    with Region.attach("r", process=name) as region:
        server = region.peer("server")
        answers = []
        for number in range(50):
            server.send(f"{name} {number}".encode(), label=number)
            with region.inbox.receive(20) as answer:
                assert (answer.label, answer.sender) == (number, "server")
                answers.append(bytes(answer))
        return answers


def test_requests_of_several_processes_are_answered_by_the_senders_name(start: Callable[..., Any]) -> None:
    with small(process="main") as region:
        server = Partner(start, serve)
        server.hear()
        clients = {name: start(ask, name) for name in ("ann", "bob")}
        for name, client in clients.items():
            assert client.result() == [f"{name} {number}".encode()[::-1] for number in range(50)]
        region.peer("server").send(b"", label=99)
        assert server.result() == 100
        assert held(region) == (0, 0)
        assert all_free(region)


def test_a_reply_to_who_has_left_finds_no_name() -> None:
    with small(process="server") as region:
        with Region.attach("r", process="client") as client:
            client.peer("server").send(b"request")
        with region.inbox.receive(0) as request:
            assert request.sender is None
        with pytest.raises(shmq.NoReceiver):
            region.peer("client")
