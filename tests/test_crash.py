# SPDX-License-Identifier: MIT
"""Deaths: whoever is killed, the others go on, nothing is lost but what only the dead had, and nothing stays."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from helpers import Partner, Thread, drain, held, is_asleep, small, until

import shmq
from shmq import Region

MIB = 1 << 20


def names(folder: Path) -> list[str]:
    """What is there; whatever goes while one looks is not."""
    return sorted(name for _, folders, files in os.walk(folder) for name in [*folders, *files])


# ---- senders -----------------------------------------------------------------------------------------------


def send_and_linger(link: Connection, count: int) -> None:
    region = Region.attach("r", process="sender")
    tx = region.sender("q", depth=1024)
    for number in range(count):
        tx.send(number.to_bytes(4, "big") * 50, label=number)
    lost = tx.loan(1000)
    lost[:] = b"?" * 1000
    link.send("sent")
    link.recv()


def test_all_1000_messages_of_a_killed_sender_arrive(start: Callable[..., Any]) -> None:
    with small() as region:
        sender = Partner(start, send_and_linger, 1000)
        sender.hear()
        sender.kill()
        rx = region.receiver("q")
        for number in range(1000):
            with rx.receive(20) as message:
                assert (message.label, message.seq, message.redelivered) == (number, number, False)
                assert bytes(message) == number.to_bytes(4, "big") * 50
        with pytest.raises(shmq.Empty):
            rx.receive(0)
        region.recover()
        assert [info.pid for info in region.processes()] == [os.getpid()]
        region.sender("q").loan(MIB).discard()  # every block is back, the dead one's loan too


def recover_with_a_small_stack(link: Connection) -> list[int]:
    recovered = []
    region = Region.attach("r")
    threading.stack_size(max(1 << 16, os.sysconf("SC_THREAD_STACK_MIN")))
    thread = threading.Thread(target=lambda: (link.send("ready"), link.recv(), recovered.append(region.recover())))
    thread.start()
    thread.join()
    return recovered


def test_a_thread_with_a_stack_of_64_kib_recovers_a_dead_process(start: Callable[..., Any]) -> None:
    with small():
        recoverer, sender = Partner(start, recover_with_a_small_stack), Partner(start, send_and_linger, 10)
        recoverer.hear()
        sender.hear()
        sender.kill()
        recoverer.say("recover")
        assert recoverer.result() == [1]
        drain(Region.attach("r").receiver("q"))


def send_without_end(link: Connection) -> None:
    region = Region.attach("r")
    tx = region.sender("q")
    link.send("ready")
    number = 0
    while True:
        with tx.loan(700) as loan:
            loan[:] = number.to_bytes(4, "big") * 175
        number += 1


def test_a_sender_killed_in_the_midst_leaves_no_torn_no_double_and_no_lost_message(start: Callable[..., Any]) -> None:
    with small() as region:
        rx = region.receiver("q", depth=16)
        for _ in range(5):
            sender = Partner(start, send_without_end)
            sender.hear()
            next_number = 0

            def take(message: shmq.Message) -> None:
                nonlocal next_number
                with message:
                    assert bytes(message) == next_number.to_bytes(4, "big") * 175
                    next_number += 1

            while next_number < 500:
                take(rx.receive(20))
            os.kill(sender.pid, signal.SIGKILL)
            sender.kill()
            while rx.qsize():
                take(rx.receive(0))
        region.recover()
        assert held(region) == (0, 0)
        region.sender("q").loan(MIB).discard()


# ---- receivers ---------------------------------------------------------------------------------------------


def hold_one(link: Connection, shared: bool, tell: bool = True) -> None:
    region = Region.attach("r", process="holder")
    rx = region.receiver("q", shared=shared)
    message = rx.receive(20)
    kept = message.array
    if tell:
        link.send((bytes(message), message.deliveries, message.redelivered))
    link.recv()
    print(kept)


@pytest.mark.parametrize("shared", [False, True])
def test_what_a_killed_receiver_held_is_delivered_again_and_counted(start: Callable[..., Any], shared: bool) -> None:
    with small() as region:
        tx = region.sender("q")
        tx.send(b"held", label=5)
        tx.send(b"next")
        for deliveries in (1, 2, 3):
            holder = Partner(start, hold_one, shared)
            assert holder.hear() == (b"held", deliveries, deliveries > 1)
            holder.kill()
        assert region.recover() == 1
        rx = region.receiver("q", shared=shared)
        with rx.receive(20) as message:
            assert (bytes(message), message.label, message.seq) == (b"held", 5, 0)
            assert (message.deliveries, message.redelivered) == (4, True)
        with rx.receive(0) as message:
            assert (bytes(message), message.deliveries, message.redelivered) == (b"next", 1, False)
        assert region.stats()["requeued"] == 0


def test_a_waiting_competitor_gets_what_a_killed_receiver_held_without_being_told(start: Callable[..., Any]) -> None:
    with small() as region:
        region.sender("q").send(b"held")
        holder = Partner(start, hold_one, True)
        holder.hear()
        rx = region.receiver("q", shared=True)
        waiting = Thread(lambda: (message := rx.receive(), bytes(message), message.deliveries)[1:])
        until(waiting.is_asleep)
        os.kill(holder.pid, signal.SIGKILL)
        killed = time.monotonic()
        assert waiting.result() == (b"held", 2)
        assert time.monotonic() - killed < 5


def test_a_claim_of_a_killed_receiver_is_free_at_once(start: Callable[..., Any]) -> None:
    with small() as region:
        region.sender("q").send(b"x")
        holder = Partner(start, hold_one, False)
        holder.hear()
        with pytest.raises(shmq.QueueInUseError, match=str(holder.pid)):
            region.receiver("q")
        holder.kill()
        assert bytes(region.receiver("q").receive(0)) == b"x"


def test_blocks_of_a_killed_holder_are_back_when_they_are_needed(start: Callable[..., Any]) -> None:
    with small() as region:
        tx = region.sender("q")
        tx.send(bytes(MIB))
        holder = Partner(start, hold_one, True, False)
        until(lambda: tx.qsize() == 0)
        lending = Thread(tx.loan, 5000)
        until(lending.is_asleep)
        holder.kill()
        region.receiver("q", shared=True).receive(20).release()
        lending.result().discard()


def test_a_killed_receiver_does_not_stop_a_sender_that_waits_for_space(start: Callable[..., Any]) -> None:
    with small() as region:
        tx = region.sender("q", depth=1)
        tx.send(b"first")
        holder = Partner(start, hold_one, True)
        holder.hear()
        tx.send(b"second")
        sending = Thread(tx.send, b"third")
        until(sending.is_asleep)
        holder.kill()
        rx = region.receiver("q", shared=True)
        found = [bytes(rx.receive(20)) for _ in range(3)]
        sending.result()
        assert sorted(found) == [b"first", b"second", b"third"]


# ---- stopped, not dead -------------------------------------------------------------------------------------


def test_a_stopped_process_is_not_taken_for_dead(start: Callable[..., Any]) -> None:
    with small() as region:
        region.sender("q").send(b"held")
        holder = Partner(start, hold_one, True)
        holder.hear()
        os.kill(holder.pid, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        assert region.recover() == 0
        rx = region.receiver("q", shared=True)
        with pytest.raises(shmq.Empty):
            rx.receive(0.1)
        assert sorted(info.held for info in region.processes()) == [0, 1]
        region.sender("q").send(b"goes on")
        assert bytes(rx.receive(20)) == b"goes on"
        os.kill(holder.pid, signal.SIGCONT)
        holder.kill()
        with rx.receive(20) as message:
            assert (bytes(message), message.deliveries) == (b"held", 2)


# ---- regions -----------------------------------------------------------------------------------------------


def make(link: Connection, how: str) -> None:
    region = Region.create("r", size="1MiB") if how == "create" else shmq.open("r", size="1MiB")
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(b"x")
    message, loan = rx.receive(), tx.loan(5)
    link.send("made")
    link.recv()
    print(region, message, loan)


@pytest.mark.parametrize("next_to_come", ["list", "open", "create", "open another", "unlink", "attach"])
def test_what_a_killed_creator_leaves_is_swept_by_the_next_to_come(
    start: Callable[..., Any], shmq_dir: Path, next_to_come: str
) -> None:
    child = Partner(start, make, "create")
    child.hear()
    child.kill()
    assert "admin" in names(shmq_dir)
    if next_to_come == "list":
        assert shmq.list_regions() == []
    elif next_to_come == "open another":
        with small("another"):
            assert names(shmq_dir) == ["admin", "another", "data", "lock"]
    elif next_to_come == "unlink":
        shmq.unlink("r", missing_ok=True)
    elif next_to_come == "attach":
        with pytest.raises(shmq.RegionNotFoundError):
            Region.attach("r")
    else:
        with small() if next_to_come == "open" else Region.create("r", size="2MiB") as region:
            assert region.receiver("q").qsize() == 0
            assert len(region.processes()) == 1
    assert names(shmq_dir) == []


def test_the_region_of_a_killed_creator_goes_on_for_the_others(start: Callable[..., Any]) -> None:
    child = Partner(start, make, "open")
    child.hear()
    with Region.attach("r") as region:
        child.kill()
        region.recover()
        assert [info.pid for info in region.processes()] == [os.getpid()]
        with region.receiver("q").receive(20) as message:
            assert (bytes(message), message.redelivered) == (b"x", True)
        assert region.stats()["recovered"] == 1
    assert shmq.list_regions() == []


def open_and_close_without_end(link: Connection) -> None:
    link.send("ready")
    while True:
        region = small("r", process="victim")
        tx, rx = region.sender("q"), region.receiver("q", shared=True)
        tx.send(b"x", timeout=20)
        rx.receive(20).release()
        region.close()


def test_deaths_while_opening_and_closing_block_nobody_and_leave_nothing(
    start: Callable[..., Any], shmq_dir: Path
) -> None:
    for turn in range(8):
        victim = Partner(start, open_and_close_without_end)
        victim.hear()
        until(lambda: names(shmq_dir))
        for _ in range(turn * 3):
            small().close()  # a while, measured in other work
        victim.kill()
        with small() as region:
            region.recover()
            assert len(region.processes()) == 1
            tx, rx = region.sender("q"), region.receiver("q", shared=True)
            drain(rx)
            tx.send(b"works")
            assert bytes(rx.receive(20)) == b"works"
        assert shmq.list_regions() == []
        assert names(shmq_dir) == []


def fill_registry(link: Connection) -> None:
    region = Region.attach("r")
    link.send("in")
    link.recv()
    print(region)


def test_a_slot_of_a_killed_process_can_be_taken_although_nobody_recovered(start: Callable[..., Any]) -> None:
    with small(max_processes=2) as region:
        for _ in range(3):
            child = Partner(start, fill_registry)
            child.hear()
            with pytest.raises(shmq.RegistryFullError, match=str(child.pid)):
                Region.attach("r")
            child.kill()
        with Region.attach("r"):
            assert len(region.processes()) == 2


def wait_in_receive(link: Connection) -> None:
    with Region.attach("r") as region:
        link.send("waiting")
        region.receiver("q", shared=True).receive()


def test_a_process_killed_in_a_wait_takes_nobodys_wake_with_it(start: Callable[..., Any]) -> None:
    with small() as region:
        children = []
        for _ in range(3):
            children.append(Partner(start, wait_in_receive))
            children[-1].hear()
        for child in children:
            until(lambda child=child: is_asleep(child.pid))
        rx = region.receiver("q", shared=True)
        waiting = Thread(rx.receive)
        until(waiting.is_asleep)
        for child in children:
            child.kill()
        region.sender("q").send(b"x")
        assert bytes(waiting.result()) == b"x"


def work_without_end(link: Connection) -> None:
    region = Region.attach("r")
    rx, tx = region.receiver("work", shared=True), region.sender("done")
    link.send("ready")
    for message in rx:
        with message, tx.loan(message.nbytes, label=message.deliveries) as loan:
            loan[:] = message.memoryview


def test_work_goes_on_through_many_deaths_and_every_message_is_done(start: Callable[..., Any]) -> None:
    """A worker may die between doing and acknowledging: then the message is done once more, and marked so."""
    with small() as region:
        tx, done = region.sender("work", depth=64), region.receiver("done", depth=64)
        total, generator = 3000, random.Random(1)
        sizes = [generator.randrange(4, 3000) for _ in range(total)]

        def feed() -> None:
            for number, size in enumerate(sizes):
                tx.send(number.to_bytes(4, "big") + bytes([number % 251]) * (size - 4), timeout=20)

        feeding = Thread(feed)
        workers = [Partner(start, work_without_end) for _ in range(2)]
        for worker in workers:
            worker.hear()
        seen: dict[int, int] = {}
        deaths = sorted(generator.sample(range(total // 2), 8))
        while len(seen) < total:
            if deaths and len(seen) >= deaths[0]:
                workers.pop(0).kill()
                workers.append(Partner(start, work_without_end))
                deaths.pop(0)
            with done.receive(20) as message:
                number = int.from_bytes(message[:4], "big")
                assert message[4:] == bytes([number % 251]) * (sizes[number] - 4)
                assert number not in seen or message.label > seen[number]
                seen[number] = message.label
        feeding.result()
        for worker in workers:
            worker.kill()
        region.recover()
        drain(done)
        drain(region.receiver("work", shared=True))
        assert [info.held for info in region.processes()] == [0]
        region.sender("other").loan(MIB).discard()
        assert region.stats()["corrupt"] == 0


def subscribe_and_wait(link: Connection) -> None:
    subscriber = Region.attach("r").subscriber("t")
    link.send("subscribed")
    subscriber.receive(20)


def test_what_a_dead_process_had_of_the_registry_is_to_be_had_at_once(start: Callable[..., Any]) -> None:
    with small(max_queues=1) as region:
        child = Partner(start, subscribe_and_wait)
        child.hear()
        child.kill()
        assert region.sender("q").qsize() == 0
        region.delete_queue("q")
        child = Partner(start, subscribe_and_wait)
        child.hear()
        child.kill()
        assert region.subscriber("t").qsize() == 0
