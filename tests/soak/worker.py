# SPDX-License-Identifier: MIT
"""worker.py PAGE PACKAGE: a life of the soak, as worker.c is, through the public Python API.

Run by `python -S -E`, so that it starts quickly: PACKAGE is the directory that holds shmq. What it notes, and where, is
ledger.h's.
"""

import mmap
import random
import sys
import time
import zlib
from contextlib import suppress
from functools import partial

sys.path.insert(0, sys.argv[2])

import shmq
from shmq import Empty, Full, NoReceiver, OutOfBlocks, PeerDied, QueueClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Post = Callable[[float | None], object]

LEDGER_FD = 3
PAGES = 32
PAGE_WORDS = 16384
HEAD_WORDS = 64
EVENTS = PAGE_WORDS - 10
ROOM = 64
LIFE, ROLE, SEED, ATTACHED, BEAT, READY, FIRST, LAST, DROPPED, COUNT, EVENT = range(11)
DIRECTORY, REGION, TEXT, NUMBER = 1, 11, 10, 21
RUN, STOP, END = range(3)
JOBS, NEXT, PASSING, INBOX, TOPIC = range(5)
SEND, SENT, REFUSED, GOT, ACK, ACKED, FORWARD, FORWARDED, KEPT, TAKEN, TORN, LEFT = range(1, 13)
ANSWERER, DRAINER = 8, 11
SIZES = [64, 64, 128, 128, 512, 1024, 2048, 8192]
LARGEST = 131072
DEPTH = 32
SLICE = 0.005
GONE = (QueueClosedError, NoReceiver, PeerDied)

KNOWN = {"pages": PAGES, "words of a page": PAGE_WORDS, "the first page's word": HEAD_WORDS, "events": EVENTS}
KNOWN |= {"the directory's word": DIRECTORY, "the region's word": REGION, "words of a name": TEXT}
KNOWN |= {"life": LIFE, "role": ROLE, "seed": SEED, "attached": ATTACHED, "beat": BEAT, "ready": READY, "first": FIRST}
KNOWN |= {"last": LAST, "dropped": DROPPED, "count": COUNT, "the first event": EVENT}
KNOWN |= {"RUN": RUN, "STOP": STOP, "END": END, "ANSWERER": ANSWERER, "DRAINER": DRAINER}
KNOWN |= {"JOBS": JOBS, "NEXT": NEXT, "PASSING": PASSING, "INBOX": INBOX, "TOPIC": TOPIC}
KNOWN |= {"SEND": SEND, "SENT": SENT, "REFUSED": REFUSED, "GOT": GOT, "ACK": ACK, "ACKED": ACKED, "FORWARD": FORWARD}
KNOWN |= {"FORWARDED": FORWARDED, "KEPT": KEPT, "TAKEN": TAKEN, "TORN": TORN, "LEFT": LEFT, "what else": 0}

words = memoryview(mmap.mmap(LEDGER_FD, 0)).cast("Q")
for at, (what, number) in enumerate(KNOWN.items(), NUMBER):
    if words[at] != number:
        sys.exit(f"{sys.argv[0]}: {what} is {number} here and {words[at]} in ledger.h, of which this is a copy")

page = HEAD_WORDS + int(sys.argv[1]) * PAGE_WORDS
life = words[page + LIFE]
chance = random.Random(words[page + SEED])
sent = 0
read_all = False


def text(word: int) -> str:
    """A name in the ledger's head."""
    return bytes(words[word : word + TEXT]).split(b"\0")[0].decode()


# ---- noting ------------------------------------------------------------------------------------------------


def note(event: int, way: int = 0, deliveries: int = 0, of: int = 0, n: int = 0) -> None:
    count = words[page + COUNT]
    words[page + EVENT + count] = event << 60 | way << 56 | (deliveries & 255) << 48 | of << 24 | n
    words[page + COUNT] = count + 1


def go_on(last: int = RUN) -> bool:
    words[page + BEAT] += 1
    return words[0] <= last and words[page + COUNT] + ROOM < EVENTS


# ---- sending -----------------------------------------------------------------------------------------------


def payload(size: int) -> bytes:
    """The next message of this life, as payload.h says."""
    global sent
    sent += 1
    name = (life << 24 | sent).to_bytes(8, "little")
    rest = size.to_bytes(4, "little") + name * (size // 8 - 1)
    return zlib.adler32(rest).to_bytes(4, "little") + rest


def some_size() -> int:
    value = chance.getrandbits(40)
    limit = LARGEST if value % 64 == 63 else SIZES[value % 8]
    return 24 + (value >> 6) % (limit - 23) // 8 * 8


def post(send: "Post", way: int, to: int, number: int, wait: bool) -> bool:
    """Send message `number`, until it is sent or this worker is to leave. False: certainly not sent."""
    while True:
        note(SEND, way, 0, to, number)
        try:
            send(None if way == TOPIC else SLICE if wait else 0)
            note(SENT, way, 0, to, number)
            return True
        except (Full, OutOfBlocks):
            note(REFUSED, way, 0, to, number)
        except GONE:
            note(REFUSED, way, 0, to, number)
            return False
        if not (wait and go_on()):
            return False


def send_one(tx: "shmq.Sender | shmq.Publisher", way: int, to: int = 0, wait: bool = True) -> bool:
    """Copied in, or written in place. A publisher's loan may drop messages, too, so it is noted before."""
    size = some_size()
    if chance.getrandbits(1):
        data, number = payload(size), sent
        return post(lambda timeout: tx.send(data, label=number, timeout=timeout), way, to, number, wait)
    note(SEND, way, 0, to, sent + 1)
    try:
        loan = tx.loan(size, label=sent + 1, timeout=SLICE)
    except OutOfBlocks:
        note(REFUSED, way, 0, to, sent + 1)  # the number is the next one's
        return False
    loan[:] = payload(size)
    done = post(loan.send, way, to, sent, wait)
    if not done:
        loan.discard()
    return done


# ---- receiving ---------------------------------------------------------------------------------------------


def before(message: shmq.Message) -> int:
    """How often it was delivered before, which is what the ledger notes."""
    return message.deliveries - 1


def take(rx: shmq.Receiver, way: int, timeout: float = SLICE) -> "tuple[shmq.Message, int, int] | None":
    try:
        message = rx.receive(timeout)
    except (Empty, QueueClosedError):
        return None
    data = message.tobytes()
    size, name = int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:16], "little")
    of, n = name >> 24, name & 0xFFFFFF
    whole = size == len(data) and size >= 24 and message.label == n
    whole = whole and zlib.adler32(data[4:]) == int.from_bytes(data[:4], "little")
    whole = whole and data[8:] == data[8:16] * (size // 8 - 1)
    note(GOT if whole else TORN, way, before(message), of & 0xFFFFFF, n)
    return message, of & 0xFFFFFF, n


def finish(message: shmq.Message, way: int, of: int, n: int) -> None:
    deliveries = before(message)
    note(ACK, way, deliveries, of, n)
    message.release()
    note(ACKED, way, deliveries, of, n)


def read_to_the_end(rx: shmq.Receiver, way: int) -> None:
    """Nobody sends any more; what only this worker receives, it receives."""
    global read_all
    if words[0] != END:
        return
    while words[page + COUNT] + 2 < EVENTS and (got := take(rx, way, 0)):
        got[0].release()
    read_all = words[page + COUNT] + 2 < EVENTS


# ---- roles -------------------------------------------------------------------------------------------------


def be_sender(region: shmq.Region) -> None:
    tx = region.sender("jobs", depth=DEPTH)
    while go_on():
        send_one(tx, JOBS)


def work_queue(region: shmq.Region, name: str) -> shmq.Receiver:
    return region.receiver(name, depth=DEPTH, shared=True)


def be_worker(region: shmq.Region) -> None:
    way = chance.getrandbits(1)
    rx = work_queue(region, ("jobs", "next")[way])
    while go_on():
        if got := take(rx, way):
            second = take(rx, way, 0) if chance.getrandbits(2) == 0 else None
            if second:
                finish(second[0], way, *second[1:])
            finish(got[0], way, *got[1:])


def be_forwarder(region: shmq.Region) -> None:
    rx, tx = work_queue(region, "jobs"), region.sender("next", depth=DEPTH)
    while go_on():
        got = take(rx, JOBS)
        while got:
            message, of, n = got
            deliveries = before(message)
            note(FORWARD, NEXT, deliveries, of, n)
            try:
                message.forward(tx, timeout=SLICE)
                note(FORWARDED, NEXT, deliveries, of, n)
                break
            except Full:
                note(KEPT, NEXT, deliveries, of, n)
            if not go_on():
                finish(message, JOBS, of, n)
                break


def send_loan(tx: shmq.Sender, loan: shmq.Loan, number: int, timeout: float | None) -> None:
    tx.send(loan, label=number, timeout=timeout)


def be_editor(region: shmq.Region) -> None:
    rx, tx = work_queue(region, "jobs"), region.sender("next", depth=DEPTH)
    while go_on():
        if got := take(rx, JOBS):
            message, of, n = got
            deliveries = before(message)
            note(ACK, JOBS, deliveries, of, n)
            loan = message.edit()
            note(ACKED, JOBS, deliveries, of, n)
            data = payload(loan.nbytes)
            loan[:] = data
            number = sent
            if not post(partial(send_loan, tx, loan, number), NEXT, 0, number, True):
                loan.discard()


def be_publisher(region: shmq.Region) -> None:
    tx = region.publisher("frames")
    while go_on():
        words[page + LAST] = time.monotonic_ns()
        if not words[page + FIRST]:
            words[page + FIRST] = words[page + LAST]
        send_one(tx, TOPIC)


def subscribe(region: shmq.Region, overflow: str) -> None:
    rx = region.subscriber("frames", depth=chance.randint(1, DEPTH), overflow=overflow)
    words[page + READY] = time.monotonic_ns()
    while go_on(STOP):
        if got := take(rx, TOPIC):
            got[0].release()
    read_to_the_end(rx, TOPIC)
    words[page + DROPPED] = rx.dropped
    if chance.getrandbits(1):
        rx.close()


def be_subscriber(region: shmq.Region) -> None:
    subscribe(region, "block")


def be_lossy(region: shmq.Region) -> None:
    subscribe(region, "drop_oldest")


def send_to(region: shmq.Region, other: int, wait: bool) -> None:
    with suppress(*GONE):
        send_one(region.peer(f"life-{other}"), INBOX, other, wait)


def some_answerer() -> int:
    start = chance.randrange(PAGES)
    for i in range(PAGES):
        other = HEAD_WORDS + (start + i) % PAGES * PAGE_WORDS
        if words[other + ROLE] == ANSWERER and words[other + ATTACHED]:
            return words[other + LIFE]
    return 0


def be_requester(region: shmq.Region) -> None:
    while go_on():
        if other := some_answerer():
            send_to(region, other, True)
        if got := take(region.inbox, INBOX):
            got[0].release()


def be_answerer(region: shmq.Region) -> None:
    while go_on(STOP):
        if got := take(region.inbox, INBOX):
            send_to(region, got[1], False)
            got[0].release()
    read_to_the_end(region.inbox, INBOX)


def be_maker(region: shmq.Region) -> None:
    while go_on():
        name = f"passing-{chance.randrange(3)}"
        try:
            tx, rx = region.sender(name, depth=DEPTH), work_queue(region, name)
        except QueueClosedError:
            continue
        for _ in range(chance.randrange(4)):
            send_one(tx, PASSING, 0, False)
        for _ in range(chance.randrange(4)):
            if got := take(rx, PASSING, 0):
                finish(got[0], PASSING, *got[1:])
        if chance.getrandbits(1):
            with suppress(ValueError):  # another was faster
                region.delete_queue(name)


def be_opener(region: shmq.Region) -> None:
    while go_on():
        name = text(REGION) if chance.getrandbits(2) == 0 else f"side-{chance.randrange(3)}"
        options = {} if name == text(REGION) else {"size": 1 << 20, "max_processes": 16, "max_queues": 8}
        with shmq.open(name, dir=text(DIRECTORY), **options) as other:
            other.sender("q").loan(4096).discard()


ROLES = [be_sender, be_worker, be_forwarder, be_editor, be_publisher, be_subscriber, be_lossy, be_requester]
ROLES += [be_answerer, be_maker, be_opener]


def main() -> None:
    region = shmq.Region.attach(text(REGION), dir=text(DIRECTORY), process=f"life-{life}")
    words[page + ATTACHED] = 1  # the controller finds its process slot
    ROLES[words[page + ROLE]](region)
    note(LEFT, n=int(read_all))
    region.close()


main()
