# SPDX-License-Identifier: MIT
"""Forks at awkward moments: in with blocks, in waits, beside other threads; and where they cannot be watched."""

import ctypes
import gc
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forks import TIMEOUT, fork, in_child, mapped, pids, reap
from helpers import Thread, drain, is_asleep, small, until

import shmq
from shmq import Region

# Python 3.12 and later warn of forks beside threads, which is what several tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_fork_inside_with_blocks(region: Region) -> None:
    """Leaving them in the child sends and gives back nothing; the parent's go on."""
    tx, rx = region.sender("q"), region.receiver("q", shared=True)
    tx.send(b"held")
    parent = os.getpid()

    def work() -> None:
        with tx, rx, rx.receive(0) as message, tx.loan(4) as loan:
            loan[:] = b"once"
            child = os.fork()
            if child:
                reap(child)
                assert bytes(message) == b"held"
                assert not tx.closed

    status = 1
    try:
        work()
        status = 2
    except shmq.ForkedHandleError as error:
        status = 0 if "the loan (label 0) belongs to the parent" in str(error) and tx.closed and rx.closed else 1
    finally:
        if os.getpid() != parent:
            os._exit(status)
    assert status == 2
    assert drain(region.receiver("q", shared=True)) == [b"once"]


def test_a_region_forked_in_its_with_block_is_left_by_both(python: Callable[..., str]) -> None:
    code = """
import os, shmq
with shmq.open("r", "1MiB") as region, region.sender("q") as tx, region.receiver("q", shared=True) as rx:
    child = os.fork()
    tx.send(b"x")
    rx.receive(20).release()
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""
    assert python("-c", code) == ""
    assert shmq.list_regions() == []


def test_a_fork_while_another_thread_waits(region: Region) -> None:
    tx, rx, back = region.sender("q"), region.receiver("q", shared=True), region.receiver("back")
    waiting = Thread(rx.receive)
    until(waiting.is_asleep)

    def child() -> None:
        region.sender("back").send(b"hello")
        assert rx.qsize() == 0
        with pytest.raises(shmq.Empty):
            rx.receive(0)
        region.close()
        name = "/r/" if region.name else "memfd:shmq"
        assert mapped(name) == 0  # the thread that waited is not here

    in_child(child)
    assert drain(back) == [b"hello"]
    tx.send(b"to the thread")
    assert bytes(waiting.result()) == b"to the thread"


def test_forks_at_any_moment_of_the_work_of_other_threads(region: Region) -> None:
    stop = threading.Event()
    tx = region.sender("answers")
    rx = region.receiver("answers")

    def work(number: int) -> int:
        there, here = region.sender(f"work-{number}", depth=4), region.receiver(f"work-{number}", shared=True)
        done = 0
        while not stop.is_set():
            with there.loan(600) as loan:
                loan.array[:] = done % 256
            with here.receive(20) as message:
                assert (message.array == done % 256).all()
            done += 1
            if done % 50 == 0:
                region.recover()
        return done

    def child(number: int) -> None:
        tx.send(b"%d" % number)
        with region.sender(f"work-{number % 3}").loan(9) as loan:
            loan.discard()

    threads = [Thread(work, number) for number in range(3)]
    children = []
    for number in range(60):
        children.append(fork(child, number))
        if len(children) == 4:
            reap(children.pop(0))
    for pid in children:
        reap(pid)
    stop.set()
    assert all(thread.result() > 0 for thread in threads)
    assert sorted(int(data) for data in drain(rx)) == list(range(60))
    region.recover()
    assert pids(region) == [os.getpid()]
    assert region.stats()["queued"] == 0


@pytest.mark.parametrize("wait", ["receive", "send", "send a loan", "loan", "publish"])
def test_a_fork_by_a_signal_in_the_middle_of_a_wait(wait: str) -> None:
    """The wait goes on in the parent; the child's ends, and its handles work."""
    with small() as region:
        rx, full = region.receiver("empty", shared=True), region.sender("full", depth=1)
        publisher, subscriber = region.publisher("t"), region.subscriber("t", depth=1)
        drained = region.receiver("full")
        children: list[int] = []
        parent = os.getpid()

        def in_the_middle(*_: Any) -> None:
            pid = os.fork()
            if pid:
                children.append(pid)
                reap(pid)  # this process stands still meanwhile: it would miss what the child gave back
                threading.Thread(target=end_the_wait, daemon=True).start()
            else:
                signal.alarm(TIMEOUT)
                region.sender("children").send(b"from the handler")

        def end_the_wait() -> None:
            if wait == "receive":
                region.sender("empty").send(b"x")
            elif wait == "publish":
                drain(subscriber)
            else:
                drain(drained)

        if wait == "publish":
            publisher.send(b"x")
            call: Callable[[], Any] = lambda: publisher.send(b"y")  # noqa: E731
        elif wait == "loan":
            splits_the_other_half = full.loan(1)
            full.send(bytes(region.size // 2))
            call = lambda: full.loan(region.size // 2).discard()  # noqa: E731
        elif wait == "receive":
            call = rx.receive
        else:
            full.send(b"x")
            call = full.loan(3).send if wait == "send a loan" else lambda: full.send(b"y")
        signal.signal(signal.SIGUSR1, in_the_middle)

        def signal_it() -> None:
            until(lambda: is_asleep(parent))
            os.kill(parent, signal.SIGUSR1)

        Thread(signal_it)
        status = 1
        try:
            call()
            status = 2
        except shmq.ForkedHandleError as error:
            if os.getpid() != parent:
                with pytest.raises(shmq.Empty):
                    rx.receive(0)
                region.sender("children").send(b"from the wait")
                status = 0 if "a wait that was interrupted belongs to the parent" in str(error) else 3
        except BaseException:
            traceback.print_exc()
        finally:
            if os.getpid() != parent:
                sys.stderr.flush()
                os._exit(status)
        assert status == 2
        assert len(children) == 1
        assert drain(region.receiver("children")) == [b"from the handler", b"from the wait"]
        for one in (drained, subscriber, region.receiver("empty", shared=True)):
            drain(one)
        if wait == "loan":
            splits_the_other_half.discard()
        del call
        gc.collect()
        region.recover()
        assert [(info.loans, info.held) for info in region.processes()] == [(0, 0)]


def libc(name: str) -> Callable[[], int]:
    """A way to fork that Python does not know of."""
    function: Callable[[], int] = getattr(ctypes.PyDLL(None), name)
    return function


@pytest.mark.parametrize("name", ["fork", "_Fork"])
def test_forks_that_python_does_not_know_of(region: Region, name: str) -> None:
    """fork runs the core's handlers, not Python's; _Fork, of glibc 2.34 and later, runs none."""
    if name == "_Fork" and not hasattr(ctypes.PyDLL(None), "_Fork"):
        pytest.skip("this C library has no _Fork")
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(b"held")
    message = rx.receive(0)
    parent = os.getpid()

    def child() -> None:
        with pytest.raises(shmq.ForkedHandleError):
            bytes(message)
        message.release()
        tx.send(b"from the child")
        assert pids(region) == [parent, os.getpid()]

    in_child(child, how=libc(name))
    assert bytes(message) == b"held"
    assert drain(rx) == [b"from the child"]


def test_threads_of_a_child_that_use_its_handles_at_once_attach_once(region: Region) -> None:
    tx, rx = region.sender("q"), region.receiver("q")

    def child() -> None:
        barrier = threading.Barrier(8)

        def use() -> None:
            barrier.wait()
            tx.send(b"x")

        for thread in [Thread(use) for _ in range(8)]:
            thread.result()
        assert len(region.processes()) == 2

    in_child(child)
    assert drain(rx) == [b"x"] * 8


def test_threads_of_a_child_that_use_its_subscriber_at_once_subscribe_once(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = region.publisher("t"), region.subscriber("t")
    checked = shmq.options.queue_depth

    def child() -> None:
        both = threading.Barrier(2)

        def depth_of_both(depth: int) -> int:
            both.wait(TIMEOUT)  # both threads are about to subscribe
            return checked(depth)

        monkeypatch.setattr(shmq.options, "queue_depth", depth_of_both)
        for thread in [Thread(subscriber.qsize) for _ in range(2)]:
            assert thread.result() == 0
        assert publisher.subscribers == 2
        assert publisher.send(b"x") == 2
        assert drain(subscriber) == [b"x"]
        subscriber.close()
        assert publisher.subscribers == 1

    in_child(child)
    assert drain(subscriber) == [b"x"]


def test_a_subscriber_closed_while_another_thread_of_a_child_begins_to_use_it_stays_closed(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = region.publisher("t"), region.subscriber("t")
    checked = shmq.options.queue_depth

    def child() -> None:
        def depth_after_a_close(depth: int) -> int:
            subscriber.close()
            return checked(depth)

        monkeypatch.setattr(shmq.options, "queue_depth", depth_after_a_close)
        with pytest.raises(ValueError, match="receiver of topic 't' has been closed"):
            subscriber.qsize()
        assert subscriber.closed
        assert publisher.subscribers == 1

    in_child(child)
    assert publisher.send(b"x") == 1
    assert drain(subscriber) == [b"x"]


@pytest.mark.timeout(300)
def test_a_region_closed_while_another_thread_of_a_child_attaches_is_closed() -> None:
    slow = [small(f"slow-{number}", persist=True) for number in range(200)]  # whoever opens a region looks at each
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        met = mmap.mmap(-1, 1)

        def child() -> None:
            sending = Thread(tx.send, b"x")
            until(  # without the interpreter's lock: it attaches
                lambda: not sending.is_alive() or all(sending.is_running() for _ in range(5))
            )
            region.close()
            try:
                sending.result()
            except ValueError as error:
                met[0] = "closed" in str(error)
            assert mapped("/r/") == 0

        for _ in range(100):  # where a busy machine let it send first, nothing has been tried
            in_child(child)
            region.recover()
            assert pids(region) == [os.getpid()]
            assert drain(rx) == ([] if met[0] else [b"x"])
            if met[0]:
                break
        else:
            pytest.fail("no close came in the middle of an attach")
    for other in slow:
        other.close()
        shmq.unlink(str(other.name))


# A table of fork handlers that cannot grow, while `full` is 1.
FULL_TABLE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>

int full = 1;

int __register_atfork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void), void *whose)
{
    int (*real)(void (*)(void), void (*)(void), void (*)(void), void *);

    if (full)
        return ENOMEM;
    *(void **)&real = dlsym(RTLD_NEXT, "__register_atfork");
    return real(before, in_parent, in_child, whose);
}
"""

OPEN_WITH_A_FULL_TABLE = """
import ctypes, errno, os, shmq

for call in (lambda: shmq.open("r"), lambda: shmq.open(None), shmq.list_regions, lambda: shmq.unlink("r")):
    try:
        call()
    except shmq.RegionFileError as error:
        assert error.errno == errno.ENOMEM, error
        assert "pthread_atfork failed" in str(error), error
    else:
        raise AssertionError("not refused")
assert os.listdir(os.environ["SHMQ_DIR"]) == []
ctypes.c_int.in_dll(ctypes.CDLL(None), "full").value = 0
with shmq.open("r") as region, region.sender("q").loan(4) as loan:
    view = loan.memoryview
    view[:] = b"ours"
    if os.fork() == 0:
        view[:] = b"mine"
        os._exit(0)
    assert os.wait()[1] == 0
    assert bytes(view) == b"ours"
    view.release()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "__register_atfork"), reason="another C library than glibc")
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_who_cannot_watch_forks_opens_nothing_and_tries_again(
    python: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full.c").write_text(FULL_TABLE)
    library = str(tmp_path / "full.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "full.c", "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", library)
    python("-c", OPEN_WITH_A_FULL_TABLE)
