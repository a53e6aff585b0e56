# SPDX-License-Identifier: MIT
"""Two processes play ping-pong with a message that neither copies: python examples/ping_pong.py [BYTES] [ROUNDS]"""

import os
import sys
import time
from multiprocessing import get_context

import shmq


def play_back(name: str) -> None:
    """The other player: answer every message, until the queue is shut down."""
    with shmq.Region.attach(name) as region:
        tx = region.sender("pong")
        for ping in region.receiver("ping"):
            with ping, tx.loan(len(ping), label=ping.label) as pong:
                pong[0] = ping[0]
                pong[-1] = ping[-1]


def main(nbytes: int = 1 << 20, rounds: int = 10_000) -> None:
    """Serve, and time each round."""
    name = f"ping-pong-{os.getpid()}"
    with shmq.open(name, size=max(8 * nbytes, 1 << 20)) as region:
        other = get_context("spawn").Process(target=play_back, args=(name,))
        other.start()
        tx, rx = region.sender("ping"), region.receiver("pong")
        times = []
        for number in range(rounds):
            started = time.perf_counter_ns()
            with tx.loan(nbytes, label=number) as ping:
                ping[0] = ping[-1] = number % 256
            with rx.receive(timeout=30) as pong:
                if (pong.label, pong[0], pong[-1]) != (number, number % 256, number % 256):
                    raise SystemExit(f"message {number} came back wrong")
            times.append(time.perf_counter_ns() - started)
        tx.shutdown()
        other.join()
    times.sort()
    p50, p99 = (times[len(times) * part // 100] / 1000 for part in (50, 99))
    print(f"{rounds:,} round trips of {nbytes:,} bytes: p50 {p50:.2f} µs, p99 {p99:.2f} µs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
