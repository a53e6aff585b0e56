# SPDX-License-Identifier: MIT
"""Regions: create, attach, list, unlink, close, and what bad arguments get."""

import itertools
import os
import re
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from helpers import BAD_TIMEOUTS, Partner, Thread, drain, small

import shmq
from shmq import Region

MIB = 1 << 20

# ---- names --------------------------------------------------------------------------------------------------

BAD_NAMES = ["", ".", "..", ".hidden", "a/b", "a b", "a\0b", "a\n", "é", "a:b", "x" * 101]


@pytest.mark.parametrize("name", ["a", "0", "A-b_c.9", "-", "x" * 100])
def test_a_region_may_be_called(name: str) -> None:
    with small(name) as region:
        assert region.name == name
        assert [info.name for info in shmq.list_regions()] == [name]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_region_may_not_be_called(name: str) -> None:
    for call in (shmq.open, Region.create, Region.attach, shmq.unlink):
        with pytest.raises(ValueError, match="region name") as caught:
            call(name)
        assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", [b"r", 5, ("r",)])
def test_a_region_name_is_a_text(name: Any) -> None:
    for call in (shmq.open, Region.create, Region.attach, shmq.unlink):
        with pytest.raises(TypeError):
            call(name)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 101, "ü"])
def test_a_process_may_not_be_called(name: str) -> None:
    with pytest.raises(ValueError, match="process name"):
        shmq.open("r", process=name)


# ---- sizes and the other options -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [
        (MIB, MIB),
        (MIB + 1, MIB + 512),
        ("1MiB", MIB),
        ("1 mib", MIB),
        (" 1.5MiB ", 3 * MIB // 2),
        ("2MB", 2_000_384),
        ("1048576", MIB),
        ("2048K", 2 * MIB),
        ("0.002GiB", 2_147_840),
    ],
)
def test_a_size_is_bytes_or_a_text_and_is_rounded_up_to_whole_granules(size: int | str, nbytes: int) -> None:
    with shmq.open("r", size=size) as region:
        assert region.size == nbytes
        assert region.granule == 512


def test_a_region_without_a_size_has_32_mib() -> None:
    with shmq.open("r") as region:
        assert region.size == 32 * MIB


@pytest.mark.parametrize(
    "size", [0, -1, MIB - 1, "", "MiB", "12 parsecs", "-1MiB", "0", "nan", "1e400", "1MiBMiB", 1 << 63, 1 << 70, "1e30"]
)
def test_a_bad_size_is_refused(size: int | str) -> None:
    for call in (shmq.open, Region.create):
        with pytest.raises(ValueError, match="size") as caught:
            call("r", size=size)
        assert str(size) in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("granule", 0),
        ("granule", 256),
        ("granule", 1000),
        ("granule", 2 * MIB),
        ("granule", 1 << 70),
        ("max_processes", 0),
        ("max_processes", 1025),
        ("max_processes", 1 << 70),
        ("max_queues", 0),
        ("max_queues", -1),
        ("max_queues", 1025),
        ("mode", 0o644),
        ("mode", 0o666),
        ("mode", 0o660),
        ("access", "read"),
        ("access", ""),
    ],
)
def test_an_option_out_of_range_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        shmq.open("r", **{option: value})


def test_every_option_at_its_bounds_works() -> None:
    for granule, most in ((512, 1), (MIB, 1024)):
        with small(granule=granule, max_processes=most, max_queues=most, prefault=True, process="p") as region:
            assert region.granule == granule
            stats = region.stats()
            assert stats["max_processes"] == stats["max_queues"] == most
            tx, rx = region.sender("q"), region.receiver("q")
            tx.send(b"x")
            assert drain(rx) == [b"x"]


def test_a_larger_region_gets_larger_granules() -> None:
    with shmq.open("r", size="64MiB") as region:
        assert region.granule == 1024


# ---- create, attach, open ---------------------------------------------------------------------------------


def test_whoever_opens_first_creates_and_the_others_attach() -> None:
    with shmq.open("r", size="2MiB") as first, shmq.open("r") as second, Region.attach("r") as third:
        assert first.size == second.size == third.size == 2 * MIB
        first.sender("q").send(b"hello")
        rx = third.receiver("q")
        assert drain(rx) == [b"hello"]
        assert len(second.processes()) == 3


def test_creating_what_exists_names_the_path_the_maker_and_the_ways_out(shmq_dir: Path) -> None:
    with small("taken"), pytest.raises(shmq.RegionExistsError) as caught:
        Region.create("taken", size="1MiB")
    text = str(caught.value)
    for part in (str(shmq_dir / "taken"), f"pid {os.getpid()}", f"uid {os.getuid()}", "unlink"):
        assert part in text
    assert isinstance(caught.value, FileExistsError)


def test_attaching_to_nothing_names_the_path_and_the_ways_out(shmq_dir: Path) -> None:
    with pytest.raises(shmq.RegionNotFoundError) as caught:
        Region.attach("nothing")
    for part in (str(shmq_dir), "nothing", "shmq.open", "timeout"):
        assert part in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_attaching_waits_no_longer_than_its_timeout() -> None:
    began = time.monotonic()
    with pytest.raises(shmq.RegionNotFoundError):
        Region.attach("nothing", timeout=0.05)
    assert 0.05 <= time.monotonic() - began < 5


@pytest.mark.parametrize("timeout", BAD_TIMEOUTS)
def test_attaching_with_a_bad_timeout_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Region.attach("r", timeout=timeout)


@pytest.mark.parametrize("timeout", [None, 20])
def test_attaching_waits_for_whoever_creates(timeout: float | None) -> None:
    def attach() -> str:
        with Region.attach("r", timeout=timeout) as region:
            return region.name

    attacher = Thread(attach)
    with small():
        assert attacher.result() == "r"


def test_a_size_above_the_one_that_is_there_names_both_and_its_maker() -> None:
    with small() as region:
        for fitting in (None, 1 << 20, "1MiB"):
            shmq.open("r", size=fitting).close()
        with pytest.raises(shmq.RegionVersionError) as caught:
            shmq.open("r", size="3MiB")
        text = str(caught.value)
        for part in (str(region.size), str(3 * MIB), f"pid {os.getpid()}"):
            assert part in text
        assert len(region.processes()) == 1


def test_many_threads_that_open_at_once_share_one_region(shmq_dir: Path) -> None:
    for _ in range(20):
        openers = [Thread(small) for _ in range(8)]
        regions = [opener.result() for opener in openers]
        assert len(regions[0].processes()) == 8
        for region in regions:
            region.close()
        assert shmq.list_regions() == []


def test_opening_and_closing_in_many_threads_at_once_never_fails() -> None:
    def open_and_close() -> None:
        for _ in range(50):
            with small() as region:
                region.sender("q")

    for thread in [Thread(open_and_close) for _ in range(6)]:
        thread.result()
    assert shmq.list_regions() == []


def open_and_tell(link: Connection) -> int:
    link.recv()
    with small() as region:
        link.send(region.name)
        link.recv()
        return len(region.processes())


def test_processes_that_open_at_once_share_one_region(start: Callable[..., Any]) -> None:
    children = [Partner(start, open_and_tell) for _ in range(4)]
    for child in children:
        child.say("go")
    for child in children:
        assert child.hear() == "r"
    with Region.attach("r") as region:
        assert len(region.processes()) == 5
        for child in children:
            child.say("done")
        for child in children:
            assert child.result() >= 2


# ---- room --------------------------------------------------------------------------------------------------


def test_a_region_larger_than_the_file_system_says_what_was_asked_and_what_is_free(shmq_dir: Path) -> None:
    free = os.statvfs(shmq_dir).f_bavail * os.statvfs(shmq_dir).f_frsize
    asked = 2 * free
    with pytest.raises(shmq.RegionSpaceError) as caught:
        shmq.open("big", size=asked)
    text = str(caught.value)
    needed, left = (int(number) for number in re.findall(r"\((\d+) bytes\)", text))
    assert needed >= asked
    assert left <= needed // 2 + MIB
    for part in ("free", "--shm-size", "'big'"):
        assert part in text
    assert isinstance(caught.value, MemoryError)
    assert shmq.list_regions() == []


def open_beyond_the_file_limit() -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    try:
        shmq.open("r", size="2MiB")
    except shmq.RegionSpaceError as error:
        return str(error)
    return "opened"


def test_a_limit_on_file_size_is_named_before_it_kills(start: Callable[..., Any]) -> None:
    text = start(open_beyond_the_file_limit).result()
    for part in ("RLIMIT_FSIZE", str(MIB), "ulimit"):
        assert part in text


def test_a_full_registry_names_its_limit_and_who_is_in_it() -> None:
    with small(max_processes=1) as region:
        with pytest.raises(shmq.RegistryFullError) as caught:
            Region.attach("r")
        for part in ("1 process slots", f"pid {os.getpid()}", "max_processes"):
            assert part in str(caught.value)
        region.sender("still-works").send(b"x")
        assert drain(region.receiver("still-works")) == [b"x"]


def test_when_all_queues_are_taken_the_error_names_them_and_a_deleted_one_makes_room() -> None:
    with small(max_queues=2) as region:
        region.sender("one")
        region.sender("two")
        with pytest.raises(shmq.RegistryFullError) as caught:
            region.sender("three")
        for part in ("'three'", "all 2 queues", "one", "two", "delete_queue", "max_queues"):
            assert part in str(caught.value)
        region.delete_queue("one")
        region.sender("three")


# ---- close -------------------------------------------------------------------------------------------------


def test_closing_twice_is_harmless_and_the_region_is_gone_with_its_last_process(shmq_dir: Path) -> None:
    first, second = small(), small()
    first.close()
    first.close()
    assert [info.attached for info in shmq.list_regions()] == [1]
    second.close()
    assert shmq.list_regions() == []


def test_a_dropped_region_is_closed() -> None:
    small()
    assert shmq.list_regions() == []


def test_leaving_a_with_block_closes_also_on_an_exception() -> None:
    with pytest.raises(KeyError), small() as region:
        raise KeyError
    assert region.closed


def test_after_close_every_use_is_refused_and_says_so() -> None:
    region = small(process="me")
    tx, rx = region.sender("q"), region.receiver("q")
    publisher, subscriber, inbox, peer = region.publisher("t"), region.subscriber("t"), region.inbox, region.peer("me")
    tx.send(b"x")
    publisher.send(b"x")
    loan, message, published = tx.loan(4), rx.receive(), subscriber.receive()
    handles = [tx, rx, publisher, subscriber, inbox, peer]
    assert not region.closed
    region.close()
    assert region.closed
    assert all(handle.closed for handle in handles)
    uses: list[Callable[[], Any]] = [
        region.__enter__,
        lambda: region.sender("q"),
        lambda: region.receiver("q"),
        lambda: region.publisher("t"),
        lambda: region.subscriber("t"),
        lambda: region.inbox,
        lambda: region.peer("me"),
        lambda: region.process,
        lambda: region.delete_queue("q"),
        region.recover,
        region.processes,
        region.stats,
        publisher.__enter__,
        publisher.shutdown,
        lambda: publisher.subscribers,
        lambda: publisher.send(b"x"),
        lambda: publisher.send(bytearray(b"x")),
        lambda: publisher.send_nowait(b"x"),
        lambda: publisher.send_many([]),
        lambda: publisher.loan(4),
        lambda: publisher.send(loan),
        lambda: peer.send(b"x"),
        peer.qsize,
        subscriber.receive,
        subscriber.qsize,
        lambda: subscriber.dropped,
        lambda: subscriber.receive_many(2),
        inbox.receive,
        inbox.qsize,
        lambda: inbox.dropped,
        lambda: tx.send(loan),
        lambda: message.edit(),
        lambda: message.edit(tx),
        lambda: message.forward(tx),
        lambda: message.forward(publisher),
        lambda: published.edit(),
        lambda: published.forward(tx),
        lambda: published.array,
        lambda: bytes(published),
        lambda: published.seq,
        lambda: published.sender,
        lambda: rx.receive_many(2),
        lambda: rx.dropped,
        tx.__enter__,
        tx.qsize,
        tx.shutdown,
        lambda: tx.send(b"x"),
        lambda: tx.send(bytearray(b"x")),
        lambda: tx.send_nowait(b"x"),
        lambda: tx.send_many([]),
        lambda: tx.loan(4),
        rx.qsize,
        rx.receive,
        rx.receive_nowait,
        rx.__enter__,
        lambda: next(rx),
        loan.send,
        loan.send_nowait,
        loan.__enter__,
        lambda: loan.array,
        lambda: loan.memoryview,
        lambda: loan[0],
        lambda: len(loan),
        lambda: memoryview(loan),
        lambda: loan.offset,
        lambda: message.array,
        lambda: message.memoryview,
        lambda: message[0],
        lambda: bytes(message),
        lambda: len(message),
        lambda: memoryview(message),
        message.copy,
        lambda: message.label,
        lambda: message.seq,
        lambda: message.sender,
        lambda: message.offset,
    ]
    for use in uses:
        with pytest.raises(ValueError, match="has been closed"):
            use()
    loan.discard()
    message.release()
    published.release()
    for handle in (*handles, region):
        handle.close()
    assert region.name == "r"
    assert region.size == MIB


def test_handles_close_in_any_order() -> None:
    for order in itertools.permutations(range(5)):
        region = small()
        handles = [region, region.sender("q"), region.receiver("q"), region.publisher("t"), region.subscriber("t")]
        for index in order:
            handles[index].close()
        assert shmq.list_regions() == []


def test_the_texts_of_handles_say_what_they_are() -> None:
    region = small()
    tx, rx = region.sender("q"), region.receiver("q")
    assert repr(region) == f"<shmq.Region 'r', {MIB} bytes>"
    assert repr(tx) == "<shmq.Sender of 'q'>"
    assert repr(rx) == "<shmq.Receiver of 'q'>"
    region.close()
    assert [repr(handle).count("closed") for handle in (region, tx, rx)] == [1, 1, 1]


@pytest.mark.parametrize("kind", [Region, shmq.Sender, shmq.Receiver, shmq.Loan, shmq.Message])
def test_handles_are_not_made_by_hand(kind: type) -> None:
    with pytest.raises(TypeError, match=re.compile("use|come")):
        kind()


def test_handles_made_in_spite_of_that_are_closed_ones(python: Callable[..., str]) -> None:
    """Whatever is done with what only __new__ has made raises, and never reads what is not there."""
    code = """
import shmq
with shmq.open(None, "1MiB") as region:
    region.sender("q").send(b"x")
    message = region.receiver("q").receive()
    DUNDERS = ("__len__", "__enter__", "__bytes__", "__next__", "__reduce__")
    for kind in (shmq.Region, shmq.Sender, shmq.Receiver, shmq.Publisher, shmq.Loan, shmq.Message):
        made = kind.__new__(kind)
        for name in dir(made):
            if name not in ("create", "attach") and (name in DUNDERS or not name.startswith("_")):
                for arguments in ((), ("q",), (b"x",), (1,), (message,)):
                    try:
                        use = getattr(made, name)
                        use(*arguments)
                    except (ValueError, TypeError, AttributeError):
                        pass
        for pass_on in (message.edit, message.forward, region.sender("q").send):
            try:
                pass_on(made)
            except (ValueError, TypeError):
                pass
        try:
            repr(made)
        except ValueError:
            pass
    print(bytes(message))
"""
    assert python("-c", code) == "b'x'\n"


# ---- what is there -------------------------------------------------------------------------------------------


def test_the_list_tells_what_each_region_is() -> None:
    assert shmq.list_regions() == []
    before = time.time()
    with small("b", max_processes=5, max_queues=7), small("a", persist=True) as a, Region.attach("a"):
        first, second = shmq.list_regions()
        assert (first.name, first.attached, first.persist, first.size, first.granule) == (
            "a",
            2,
            True,
            a.size,
            a.granule,
        )
        assert (second.name, second.attached, second.persist) == ("b", 1, False)
        assert (second.max_processes, second.max_queues, second.creator_pid) == (5, 7, os.getpid())
        assert before - 1 <= second.created <= time.time() + 1
        shmq.unlink("a")


def test_an_unlinked_region_goes_on_for_who_is_attached_and_its_name_is_free() -> None:
    with small() as old:
        tx, rx = old.sender("q"), old.receiver("q")
        shmq.unlink("r")
        assert shmq.list_regions() == []
        with pytest.raises(shmq.RegionNotFoundError):
            Region.attach("r")
        with Region.create("r", size="1MiB") as new:
            tx.send(b"old")
            assert new.receiver("q").qsize() == 0
            assert drain(rx) == [b"old"]
            late = old.sender("another")
            late.send(b"x")
            assert drain(old.receiver("another")) == [b"x"]


def test_unlinking_nothing_is_an_error_unless_it_may_be_missing() -> None:
    with pytest.raises(shmq.RegionNotFoundError, match="nothing"):
        shmq.unlink("nothing")
    shmq.unlink("nothing", missing_ok=True)
    assert shmq.list_regions() == []


def test_a_persistent_region_keeps_its_messages_until_it_is_unlinked() -> None:
    with small(persist=True) as region:
        region.sender("q").send(b"kept", label=7)
    assert [(info.name, info.attached) for info in shmq.list_regions()] == [("r", 0)]
    with Region.attach("r") as region, region.receiver("q").receive(0) as message:
        assert bytes(message) == b"kept"
        assert message.label == 7
        assert message.sender is None
    shmq.unlink("r")
    assert shmq.list_regions() == []


def test_a_directory_of_ones_own(tmp_path: Path, shmq_dir: Path) -> None:
    own = shmq_dir / "own"
    with small(dir=own) as region, Region.attach("r", dir=str(own)):
        assert sorted(path.name for path in (own / "r").iterdir()) == ["admin", "data", "lock"]
        assert [info.name for info in shmq.list_regions(own)] == ["r"]
        assert shmq.list_regions() == []
        shmq.unlink("r", dir=own)
        assert not region.closed
    own.rmdir()


def test_without_any_directory_given_regions_live_under_dev_shm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHMQ_DIR")
    name = f"test-{os.getpid()}"
    with small(name):
        assert (Path(f"/dev/shm/shmq-{os.getuid()}") / name / "admin").exists()
    assert not (Path(f"/dev/shm/shmq-{os.getuid()}") / name).exists()


def test_a_relative_directory_is_refused_where_it_would_change_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHMQ_DIR", "relative")
    with pytest.raises(ValueError, match="absolute"):
        small()


def test_a_directory_that_cannot_be_is_named(shmq_dir: Path) -> None:
    with pytest.raises(shmq.RegionNotFoundError, match="no/such"):
        small(dir=shmq_dir / "no/such")


# ---- who is attached and what it holds -------------------------------------------------------------------------


def test_processes_tells_who_is_attached_and_who_holds_what() -> None:
    with small(process="alpha") as region, shmq.open("r", process="beta") as other:
        tx, rx = region.sender("q"), other.receiver("q")
        tx.send(b"x" * 1000)
        loan, message = tx.loan(3000), rx.receive()
        alpha, beta = region.processes()
        assert (alpha.pid, alpha.name, alpha.loans, alpha.held, alpha.queues) == (os.getpid(), "alpha", 1, 0, [])
        assert (beta.pid, beta.name, beta.loans, beta.held, beta.queues) == (os.getpid(), "beta", 0, 1, ["q"])
        assert alpha.slot != beta.slot
        assert alpha.bytes >= 4096
        assert beta.bytes >= 1024
        loan.discard()
        message.release()
        assert [(one.loans, one.held) for one in region.processes()] == [(0, 0), (0, 0)]


def test_a_process_without_a_name_is_called_by_its_number() -> None:
    with small() as region:
        assert [info.name for info in region.processes()] == [f"pid-{os.getpid()}"]


def test_stats_counts_sizes_blocks_and_queues() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=5), region.receiver("q")
        region.sender("other/queue").send(b"y")
        for _ in range(3):
            tx.send(bytes(512))
        stats = region.stats()
        assert (stats["size"], stats["granule"], stats["largest_block"]) == (MIB, 512, MIB)
        assert stats["used_bytes"] + stats["free_bytes"] == MIB
        assert (stats["queued"], stats["queued_bytes"]) == (4, 4 * 512)
        assert (stats["requeued"], stats["corrupt"], stats["recovered"]) == (0, 0, 0)
        assert stats["queues"]["q"] == {
            "depth": 5,
            "queued": 3,
            "shared": False,
            "shut": False,
            "claimed": True,
            "dropped": 0,
            "overflow": "block",
        }
        assert stats["queues"]["other/queue"]["claimed"] is False
        tx.shutdown()
        assert region.stats()["queues"]["q"]["shut"] is True
        assert len(drain(rx)) == 3
        assert drain(region.receiver("other/queue")) == [b"y"]
        assert region.stats()["queued"] == 0


def test_recover_finds_nobody_dead_where_nobody_died() -> None:
    with small() as region:
        assert region.recover() == 0


def test_all_memory_comes_back_after_all_was_used() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=4096), region.receiver("q")
        for _ in range(3):
            while True:
                try:
                    tx.send(bytes(700), timeout=0)
                except shmq.OutOfBlocks:
                    break
            assert len(drain(rx)) == 1024
            with tx.loan(MIB):  # as large as the region: everything has merged again
                pass
            rx.receive().release()
