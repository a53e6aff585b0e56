# SPDX-License-Identifier: MIT
"""The rival to beat: what one writes by hand on `multiprocessing.shared_memory`, in pure Python, to be fast.

One producer, one consumer, a ring of 64-bit words that are the messages themselves: `words[TAIL]` counts what was
written, `words[HEAD]` what was read, each on cache lines of its own. Both sides spin, and look at the other's count
only when their last look says nothing is left. It never sleeps, never notices a death, carries 8 bytes and relies on a
processor that keeps stores in order.
"""

from multiprocessing.shared_memory import SharedMemory

TAIL, HEAD = 0, 16  # words: two cache lines apart, so that prefetching one does not drag the other along
DATA = 32  # the first message


class SpinRing:
    """A ring of `slots` (a power of two) words: message i stands in `words[DATA + (i & mask)]`."""

    def __init__(self, slots: int, name: str | None = None) -> None:
        """Make a ring, or with `name` use the one that another process made."""
        self.slots = slots
        self.mask = slots - 1
        self._memory = SharedMemory(name, create=name is None, size=8 * (DATA + slots))
        self._made = name is None
        self.name = self._memory.name
        self.words = self._memory.buf[: 8 * (DATA + slots)].cast("Q")

    def close(self) -> None:
        """Give the memory up; the maker removes it."""
        self.words.release()
        self._memory.close()
        if self._made:
            self._memory.unlink()
