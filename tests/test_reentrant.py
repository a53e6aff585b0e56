# SPDX-License-Identifier: MIT
"""Python code of the caller that runs in the middle of a call: it may close or send what the call is about to touch."""

import signal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import shmq
from shmq import Region


class Meddler:
    """A number whose conversion does something else first."""

    def __init__(self, deed: Callable[[], Any], number: int) -> None:
        self.deed, self.number = deed, number

    def __index__(self) -> int:
        self.deed()
        return self.number


def make() -> tuple[Region, shmq.Sender, shmq.Receiver]:
    region = shmq.open("r", size="1MiB")
    return region, region.sender("q"), region.receiver("q")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda end, deed: end[Meddler(deed, 0)],
        lambda end, deed: end[Meddler(deed, 0) : 2],
    ],
)
def test_an_index_that_closes_the_region_reads_nothing(use: Callable[..., Any]) -> None:
    region, tx, rx = make()
    tx.send(b"abc")
    message = rx.receive()
    with pytest.raises(ValueError, match="closed"):
        use(message, region.close)
    region, tx, rx = make()
    loan = tx.loan(3)
    with pytest.raises(ValueError, match="closed"):
        use(loan, region.close)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda loan, meddler: loan.__setitem__(meddler, 1),
        lambda loan, meddler: loan.__setitem__(0, meddler),
        lambda loan, meddler: loan.__setitem__(slice(meddler, 2), b"ab"),
    ],
)
def test_an_index_or_value_that_closes_the_region_writes_nothing(use: Callable[..., Any]) -> None:
    region, tx, _ = make()
    loan = tx.loan(3)
    meddler = Meddler(region.close, 0)
    with pytest.raises(ValueError, match="closed"):
        use(loan, meddler)


def test_an_index_that_sends_the_loan_writes_nothing_into_the_message() -> None:
    region, tx, rx = make()
    with region:
        loan = tx.loan(2)
        loan[:] = b"ok"
        with pytest.raises(ValueError, match="sent"):
            loan[Meddler(loan.send, 0)] = 77
        assert bytes(rx.receive()) == b"ok"


def test_a_byte_is_a_whole_number_from_0_to_255() -> None:
    region, tx, _ = make()
    with region, tx.loan(1) as loan:
        for bad in (256, -1, 300):
            with pytest.raises(ValueError, match="0 to 255"):
                loan[0] = bad
        with pytest.raises(TypeError):
            loan[0] = 1.7  # type: ignore[assignment]
        loan[0] = 255
        assert loan[0] == 255
        loan.discard()


def test_a_timeout_of_any_number_type_loses_no_block() -> None:
    region, tx, _ = make()
    with region:
        kept = [tx.loan(1 << 19), tx.loan(1 << 19)]
        with pytest.raises(shmq.OutOfBlocks):
            tx.send(b"x", timeout=Decimal("0.01"))  # type: ignore[arg-type]
        kept.pop().discard()
        tx.send(b"x", timeout=Decimal("0.01"))  # type: ignore[arg-type]
        kept.clear()
        region.delete_queue("q")
        assert sum(one.loans + one.held for one in region.processes()) == 0


def test_no_view_taken_while_a_send_waits_can_write_to_the_message() -> None:
    region, _, _ = make()
    with region:
        tx, rx = region.sender("full", depth=1), region.receiver("full")
        tx.send(b"first")
        loan = tx.loan(4)
        array = loan.array
        array[:] = 7
        views: list[Any] = []

        def meddle(*_: Any) -> None:
            views.append(array[1:])
            rx.receive().release()

        before = signal.signal(signal.SIGALRM, meddle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            loan.send()
        finally:
            signal.signal(signal.SIGALRM, before)
        assert [view.flags.writeable for view in views] == [False]
        with pytest.raises(ValueError, match="read-only"):
            views[0][0] = 99
        assert bytes(rx.receive()) == b"\x07" * 4


def test_an_array_that_nobody_holds_does_not_keep_a_closed_region() -> None:
    region, tx, _ = make()
    loan = tx.loan(8)
    loan.array[:] = 1
    region.close()
    assert shmq.list_regions() == []
    assert "discarded" in repr(loan)


def test_a_handle_of_a_closed_region_is_asked_for_receivers_in_vain() -> None:
    region, tx, _ = make()
    assert tx._has_receiver  # type: ignore[attr-defined]
    region.close()
    assert not tx._has_receiver  # type: ignore[attr-defined]
