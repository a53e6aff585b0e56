# SPDX-License-Identifier: MIT
"""A bank that answers by name: clients write to its inbox, it answers to theirs: python examples/inbox.py [CLIENTS]"""

import os
import sys
from multiprocessing import get_context

import shmq

DEPOSIT, BALANCE, CLOSE = range(3)  # what a request asks for is its label


def serve(name: str) -> None:
    """Keep the accounts, and answer whoever asks."""
    accounts: dict[str, int] = {}
    with shmq.Region.attach(name, process="bank") as region:
        for request in region.inbox:
            with request:
                client, kind, amount = request.sender, request.label, int(bytes(request) or b"0")
            if kind == CLOSE:
                return
            if client is None:
                continue  # it has left: nobody waits for the answer
            accounts[client] = accounts.get(client, 0) + (amount if kind == DEPOSIT else 0)
            region.peer(client).send(b"%d" % accounts[client], label=kind)


def save_up(name: str, client: str, amount: int) -> None:
    """Deposit a hundred times, and look what has come of it."""
    with shmq.Region.attach(name, process=client) as region:
        bank = region.peer("bank")
        for kind in [DEPOSIT] * 100 + [BALANCE]:
            bank.send(b"%d" % amount, label=kind)
            with region.inbox.receive(timeout=60) as answer:
                balance = int(bytes(answer))
        print(f"{client} has {balance}", flush=True)


def main(clients: int = 3) -> None:
    """Open the bank, let the clients in, close it."""
    name, processes = f"bank-{os.getpid()}", get_context("spawn").Process
    with shmq.open(name) as region:
        bank = processes(target=serve, args=(name,))
        bank.start()
        while "bank" not in [info.name for info in region.processes()]:
            bank.join(0.01)
        team = [processes(target=save_up, args=(name, f"client-{n}", n)) for n in range(1, clients + 1)]
        for client in team:
            client.start()
        for client in team:
            client.join()
        region.peer("bank").send(b"", label=CLOSE)
        bank.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
