# SPDX-License-Identifier: MIT
"""What is timed: round trips and one-way streams, through shmq and through the spin ring.

A `ping_…` and its `pong_…` are one round trip; `ping_…` returns the nanoseconds of each, the clock read once a round
as part of it. A `feed_…` and its `eat_…` are a stream; `eat_…` returns the nanoseconds from its first to its last
message. First and last byte of every payload differ from message to message, are written and are checked.
"""

import time
from itertools import pairwise

from pair import End
from spin_ring import DATA, HEAD, TAIL, SpinRing

PAYLOADS = [bytes([mark]) * 8 for mark in range(256)]
WRONG = "a payload is not what was sent"
PAUSE = 1_000_000  # nanoseconds: ten times what a receiver spins at most


def differences(times: list[int]) -> list[int]:
    """The nanoseconds between one reading of the clock and the next."""
    return [after - before for before, after in pairwise(times)]


# ---- round trips --------------------------------------------------------------------------------------------


def ping_bytes(end: End, nbytes: int, rounds: int) -> list[int]:
    """`send(bytes)` and bytes out."""
    send, receive, clock = end.tx.send, end.rx.receive, time.perf_counter_ns
    times = [clock()] * (rounds + 1)
    for number in range(rounds):
        payload = PAYLOADS[number & 255]
        send(payload)
        if receive().tobytes() != payload:
            raise ValueError(WRONG)
        times[number + 1] = clock()
    return differences(times)


def pong_bytes(end: End, nbytes: int, rounds: int) -> None:
    send, receive = end.tx.send, end.rx.receive
    for _ in range(rounds):
        send(receive().tobytes())


def ping_in_place(end: End, nbytes: int, rounds: int) -> list[int]:
    """Loan, first and last byte written, send; receive, both read, release."""
    loan, receive, last, clock = end.tx.loan, end.rx.receive, nbytes - 1, time.perf_counter_ns
    times = [clock()] * (rounds + 1)
    for number in range(rounds):
        mark = number & 255
        out = loan(nbytes)
        out[0] = mark
        out[last] = mark
        out.send()
        back = receive()
        if back[0] != mark or back[last] != mark:
            raise ValueError(WRONG)
        back.release()
        times[number + 1] = clock()
    return differences(times)


def pong_in_place(end: End, nbytes: int, rounds: int) -> None:
    loan, receive, last = end.tx.loan, end.rx.receive, nbytes - 1
    for _ in range(rounds):
        message = receive()
        first, final = message[0], message[last]
        message.release()
        out = loan(nbytes)
        out[0] = first
        out[last] = final
        out.send()


def keep_up(end: End, nbytes: int, rounds: int) -> None:
    """Round trips without a clock and without samples, for counting what else happens."""
    end.tx.send(bytes(nbytes))
    pong_in_place(end, nbytes, rounds - 1)
    end.rx.receive().release()


def ping_with(end: End, nbytes: int, rounds: int) -> list[int]:
    """The same with `with` on both."""
    loan, receive, last, clock = end.tx.loan, end.rx.receive, nbytes - 1, time.perf_counter_ns
    times = [clock()] * (rounds + 1)
    for number in range(rounds):
        mark = number & 255
        with loan(nbytes) as out:
            out[0] = mark
            out[last] = mark
        with receive() as back:
            if back[0] != mark or back[last] != mark:
                raise ValueError(WRONG)
        times[number + 1] = clock()
    return differences(times)


def pong_with(end: End, nbytes: int, rounds: int) -> None:
    loan, receive, last = end.tx.loan, end.rx.receive, nbytes - 1
    for _ in range(rounds):
        with receive() as message:
            first, final = message[0], message[last]
        with loan(nbytes) as out:
            out[0] = first
            out[last] = final


def ping_array(end: End, nbytes: int, rounds: int) -> list[int]:
    """The same through `.array` on both."""
    loan, receive, last, clock = end.tx.loan, end.rx.receive, nbytes - 1, time.perf_counter_ns
    times = [clock()] * (rounds + 1)
    for number in range(rounds):
        mark = number & 255
        out = loan(nbytes)
        array = out.array
        array[0] = mark
        array[last] = mark
        out.send()
        back = receive()
        array = back.array
        if array[0] != mark or array[last] != mark:
            raise ValueError(WRONG)
        del array
        back.release()
        times[number + 1] = clock()
    return differences(times)


def pong_array(end: End, nbytes: int, rounds: int) -> None:
    loan, receive, last = end.tx.loan, end.rx.receive, nbytes - 1
    for _ in range(rounds):
        message = receive()
        array = message.array
        first, final = array[0], array[last]
        del array
        message.release()
        out = loan(nbytes)
        array = out.array
        array[0] = first
        array[last] = final
        out.send()


def ping_after_a_pause(end: End, nbytes: int, rounds: int) -> list[int]:
    """In place, each round after a pause in which the other process falls asleep. The pause is not part of a round."""
    loan, receive, clock = end.tx.loan, end.rx.receive, time.perf_counter_ns
    times = []
    for number in range(rounds):
        mark = number & 255
        resume = clock() + PAUSE
        while clock() < resume:
            pass
        start = clock()
        out = loan(nbytes)
        out[0] = mark
        out.send()
        back = receive()
        if back[0] != mark:
            raise ValueError(WRONG)
        back.release()
        times.append(clock() - start)
    return times


def ping_ring(end: End, nbytes: int, rounds: int, there: SpinRing, back: SpinRing) -> list[int]:
    """The spin ring's round trip."""
    clock, last, stride, mask, slots = time.perf_counter_ns, nbytes - 1, there.stride, there.mask, there.slots
    words_out, data_out, words_in, data_in = there.words, there.data, back.words, back.data
    times = [clock()] * (rounds + 1)
    limit = slots
    for number in range(rounds):
        mark = number & 255
        at = DATA + (number & mask) * stride
        while number >= limit:
            limit = words_out[HEAD] + slots
        data_out[at] = mark
        data_out[at + last] = mark
        words_out[TAIL] = number + 1
        while words_in[TAIL] == number:
            pass
        if data_in[at] != mark or data_in[at + last] != mark:
            raise ValueError(WRONG)
        words_in[HEAD] = number + 1
        times[number + 1] = clock()
    return differences(times)


def pong_ring(end: End, nbytes: int, rounds: int, there: SpinRing, back: SpinRing) -> None:
    last, stride, mask, slots = nbytes - 1, there.stride, there.mask, there.slots
    words_out, data_out, words_in, data_in = back.words, back.data, there.words, there.data
    limit = slots
    for number in range(rounds):
        at = DATA + (number & mask) * stride
        while words_in[TAIL] == number:
            pass
        first, final = data_in[at], data_in[at + last]
        words_in[HEAD] = number + 1
        while number >= limit:
            limit = words_out[HEAD] + slots
        data_out[at] = first
        data_out[at + last] = final
        words_out[TAIL] = number + 1


# ---- one way ------------------------------------------------------------------------------------------------


def feed_in_place(end: End, nbytes: int, count: int) -> None:
    loan, last = end.tx.loan, nbytes - 1
    for number in range(count):
        mark = number & 255
        out = loan(nbytes)
        out[0] = mark
        out[last] = mark
        out.send()


def eat_in_place(end: End, nbytes: int, count: int) -> int:
    receive, last = end.rx.receive, nbytes - 1
    start = 0
    for number in range(count):
        mark = number & 255
        message = receive()
        if message[0] != mark or message[last] != mark:
            raise ValueError(WRONG)
        message.release()
        if not number:
            start = time.perf_counter_ns()
    return time.perf_counter_ns() - start


def feed_bytes(end: End, nbytes: int, count: int) -> None:
    send = end.tx.send
    for number in range(count):
        send(PAYLOADS[number & 255])


def eat_bytes(end: End, nbytes: int, count: int) -> int:
    receive = end.rx.receive
    start = 0
    for number in range(count):
        if receive().tobytes() != PAYLOADS[number & 255]:
            raise ValueError(WRONG)
        if not number:
            start = time.perf_counter_ns()
    return time.perf_counter_ns() - start


def eat_slowly(end: End, nbytes: int, count: int) -> int:
    """Takes longer for a message than `feed_bytes` does: the queue is full throughout."""
    receive, last = end.rx.receive, nbytes - 1
    start = 0
    for number in range(count):
        payload = PAYLOADS[number & 255]
        with receive() as message:
            if message.tobytes() != payload or message[0] != payload[0] or message[last] != payload[last]:
                raise ValueError(WRONG)
        if not number:
            start = time.perf_counter_ns()
    return time.perf_counter_ns() - start


def feed_many(end: End, nbytes: int, count: int) -> None:
    send_many = end.tx.send_many
    for first in range(0, count, len(PAYLOADS)):
        send_many(PAYLOADS[: count - first])


def eat_many(end: End, nbytes: int, count: int) -> int:
    receive_many, expected = end.rx.receive_many, PAYLOADS * 2
    start = number = 0
    while number < count:
        payloads = [message.tobytes() for message in receive_many(256)]
        first = number & 255
        if payloads != expected[first : first + len(payloads)]:
            raise ValueError(WRONG)
        number += len(payloads)
        start = start or time.perf_counter_ns()
    return time.perf_counter_ns() - start


def feed_ring(end: End, nbytes: int, count: int, ring: SpinRing) -> None:
    words, data, last, stride, mask, slots = ring.words, ring.data, nbytes - 1, ring.stride, ring.mask, ring.slots
    limit = slots
    for number in range(count):
        mark = number & 255
        at = DATA + (number & mask) * stride
        while number >= limit:
            limit = words[HEAD] + slots
        data[at] = mark
        data[at + last] = mark
        words[TAIL] = number + 1


def eat_ring(end: End, nbytes: int, count: int, ring: SpinRing) -> int:
    """Gives slots back in batches: one by one costs a cache line each."""
    words, data, last, stride, mask, batch = ring.words, ring.data, nbytes - 1, ring.stride, ring.mask, ring.slots // 4
    start = number = tail = 0
    while number < count:
        while number == tail:
            tail = words[TAIL]
        until = min(tail, number + batch)
        for expected in range(number, until):
            mark = expected & 255
            at = DATA + (expected & mask) * stride
            if data[at] != mark or data[at + last] != mark:
                raise ValueError(WRONG)
        words[HEAD] = number = until
        start = start or time.perf_counter_ns()
    return time.perf_counter_ns() - start


# ---- whole payloads -----------------------------------------------------------------------------------------


def feed_filled(end: End, nbytes: int, count: int) -> None:
    """Every payload filled from an array that lies elsewhere."""
    import numpy

    source = numpy.random.default_rng(1).integers(0, 256, nbytes, "u1")
    for number in range(count):
        source[0] = source[-1] = number & 255
        with end.tx.loan(nbytes) as out:
            out.array[:] = source


def eat_filled(end: End, nbytes: int, count: int) -> int:
    return eat_in_place(end, nbytes, count)


def memcpy_rate(nbytes: int, count: int) -> float:
    """Bytes a nanosecond of the plain copy of one array into another, in this process."""
    import numpy

    source = numpy.random.default_rng(1).integers(0, 256, nbytes, "u1")
    target = numpy.empty_like(source)
    target[:] = source
    start = time.perf_counter_ns()
    for number in range(count):
        source[0] = source[-1] = number & 255
        target[:] = source
    return nbytes * count / (time.perf_counter_ns() - start)
