# SPDX-License-Identifier: MIT
"""The rival to beat: what one writes by hand on `multiprocessing.shared_memory`, in pure Python, to be fast.

One producer, one consumer, a ring of slots of one size; `tail` counts what was written, `head` what was read, each on
a cache line of its own. Both sides spin. Payloads are written and read in place, through memoryviews without struct.
It never sleeps, never notices a death, has one message size and relies on a processor that keeps stores in order.
"""

from multiprocessing.shared_memory import SharedMemory

TAIL, HEAD = 0, 16  # words: two cache lines apart, so that prefetching one does not drag the other along
DATA = 256  # bytes before the first slot


class SpinRing:
    """A ring of `slots` (a power of two) payloads of `nbytes`.

    Attributes:
        words: The memory as 64-bit words, for `words[TAIL]` and `words[HEAD]`.
        data: The memory as bytes; slot i begins at `DATA + (i & mask) * stride`.
    """

    def __init__(self, nbytes: int, slots: int, name: str | None = None) -> None:
        """Make a ring, or with `name` use the one that another process made."""
        self.stride = -(-nbytes // 64) * 64
        self.slots = slots
        self.mask = slots - 1
        size = DATA + slots * self.stride
        self._memory = SharedMemory(name, create=name is None, size=size)
        self._made = name is None
        self.name = self._memory.name
        self.data = self._memory.buf
        self.words = self.data[:DATA].cast("Q")

    def close(self) -> None:
        """Give the memory up; the maker removes it."""
        self.words.release()
        self.data.release()
        self._memory.close()
        if self._made:
            self._memory.unlink()
