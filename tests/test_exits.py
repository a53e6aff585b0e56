# SPDX-License-Identifier: MIT
"""Exits: however a process ends, and whatever it has then, the others get it back, and nothing stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TIMEOUT, environment
from helpers import all_free, small

import shmq

BEGIN = "import shmq\nregion = shmq.open('r', size='1MiB'); tx = region.sender('q'); rx = region.receiver('q')\n"

# What a process has when it ends; where there is anything, one message has been sent.
HAVING = {
    "nothing": "",
    "message": "message = rx.receive()",
    "loan": "loan = tx.loan(10); loan[0] = 1",
    "views": "message = rx.receive(); views = [message.array, message.memoryview[2:]]; mine = tx.loan(9).array[1:]",
    "cycle": "box = [region, rx.receive()]; box.append(box)",
    "generator": "import itertools; loop = (message for message in rx); kept = next(loop)",
    "closed region with a view": "view = rx.receive().array; region.close()",
    "class attribute": "class Keeper: pass\nKeeper.everything = (region, tx, rx, rx.receive().memoryview)",
    "module": "import sys; sys.kept = (region, rx.receive().array)",
    "daemon thread that waits": """
rx.receive()
import threading, time
thread = threading.Thread(target=rx.receive, daemon=True)
thread.start()
""",
    "daemon thread that works": """
rx.receive()
import threading
def work():
    other = region.sender("other", depth=4); own = region.receiver("other")
    while True:
        other.send(b"x"); own.receive().array
thread = threading.Thread(target=work, daemon=True)
thread.start()
""",
    "thread that is joined": """
rx.receive()
import threading
threading.Thread(target=lambda: rx.receive(20)).start()
tx.send(b"the end")
""",
    "exit in a with block": "import sys\nwith region, rx.receive() as message:\n    sys.exit(0)",
}

# How it ends, and with what status; after those of the second table nothing of its own runs any more. Who started the
# tests may have signals ignored, as nohup does.
POLITE = {
    "the end": ("", 0),
    "sys.exit": ("import sys; sys.exit(3)", 3),
    "exception": ("raise KeyError", 1),
    "Ctrl-C": ("import os, signal; signal.signal(2, signal.default_int_handler); os.kill(os.getpid(), 2)", -2),
    "SIGTERM handled": (
        "import os, signal, sys; signal.signal(15, lambda *what: sys.exit(4)); os.kill(os.getpid(), 15)",
        4,
    ),
}
SUDDEN = {
    "os._exit": ("import os; os._exit(5)", 5),
    "SIGTERM": ("import os, signal; signal.signal(15, signal.SIG_DFL); os.kill(os.getpid(), 15)", -15),
    "SIGKILL": ("import os; os.kill(os.getpid(), 9)", -9),
    "SIGHUP": ("import os, signal; signal.signal(1, signal.SIG_DFL); os.kill(os.getpid(), 1)", -1),
    "abort": ("import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()", -6),
    "exec": ("import os, sys; os.execv(sys.executable, [sys.executable, '-S', '-c', 'raise SystemExit(6)'])", 6),
}


def run(code: str, status: int, *options: str) -> str:
    """What a fresh interpreter writes to standard error; it ends with that status."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == status, done.stderr
    return done.stderr


def complaint(end: str) -> str:
    """The last line of what Python itself says of such an end."""
    return {"exception": "KeyError", "Ctrl-C": "KeyboardInterrupt"}.get(end, "")


@pytest.mark.parametrize("what", HAVING)
def test_an_interpreter_that_exits_leaves_nothing_and_prints_nothing(what: str, shmq_dir: Path) -> None:
    code = BEGIN + ("" if what == "nothing" else "tx.send(b'abcdef')\n") + HAVING[what]
    assert run(code, 0, "-X", "dev", "-W", "ignore::ResourceWarning") == ""
    assert list(shmq_dir.iterdir()) == []


# ---- all ends ---------------------------------------------------------------------------------------------------

# One message is released, one is held through views, one is queued; a loan is written, another message was published.
MUCH = (
    BEGIN
    + """
import threading
news, press = region.subscriber("news"), region.publisher("news")
press.send(b"heard"); press.send(b"to come")
for text in (b"done", b"held", b"queued"):
    tx.send(text)
rx.receive().release()
views = [rx.receive().array, news.receive().memoryview]
mine = tx.loan(9).array[1:]
threading.Thread(target=region.receiver("empty").receive, daemon=True).start()
"""
)


@pytest.mark.parametrize("end", POLITE)
def test_a_polite_exit_leaves_nothing(end: str, shmq_dir: Path) -> None:
    code, status = POLITE[end]
    said = run(MUCH + code, status, "-W", "ignore::ResourceWarning")
    assert said.splitlines()[-1:] == [complaint(end)] * bool(complaint(end)), said
    assert list(shmq_dir.iterdir()) == []


@pytest.mark.parametrize("end", SUDDEN)
@pytest.mark.parametrize("sweeps", ["open", "list_regions"])
def test_what_a_sudden_end_leaves_is_swept(end: str, sweeps: str, shmq_dir: Path) -> None:
    code, status = SUDDEN[end]
    run(MUCH + code, status)
    if sweeps == "open":
        small("another").close()
    else:
        assert shmq.list_regions() == []
    assert list(shmq_dir.iterdir()) == []


@pytest.mark.parametrize("end", [*POLITE, *SUDDEN])
def test_a_survivor_gets_back_all_that_the_other_had(end: str, shmq_dir: Path) -> None:
    """An interpreter that ends drops the message that it held, which acknowledges it."""
    code, status = {**POLITE, **SUDDEN}[end]
    with small() as region:
        run(MUCH + code, status)
        assert region.recover() == (end in SUDDEN)
        assert [info.pid for info in region.processes()] == [os.getpid()]
        rx = region.receiver("q")
        for text in [b"held", b"queued"][end in POLITE :]:
            with rx.receive(0) as message:
                assert (bytes(message), message.redelivered) == (text, text == b"held")
        assert rx.qsize() == 0
        assert all_free(region)
    assert list(shmq_dir.iterdir()) == []


@pytest.mark.parametrize("end", [*POLITE, *SUDDEN])
def test_an_anonymous_region_needs_no_sweep(end: str, shmq_dir: Path) -> None:
    code, status = {**POLITE, **SUDDEN}[end]
    run(MUCH.replace("shmq.open('r', size='1MiB')", "shmq.open(None, size='1MiB')") + code, status)
    assert list(shmq_dir.iterdir()) == []
