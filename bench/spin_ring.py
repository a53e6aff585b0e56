# SPDX-License-Identifier: MIT
"""The rival to beat: what one writes by hand on `multiprocessing.shared_memory`, in pure Python, to be fast.

One producer, one consumer, a ring of payloads of one size that are written and read in place, without struct:
`words[TAIL]` counts what was written, `words[HEAD]` what was read, each on cache lines of its own, and each side looks
at the other's count only when its last look says that nothing is left. Both sides spin. It never sleeps, never notices
a death, has one message size, and relies on a processor that keeps stores in order.
"""

from multiprocessing.shared_memory import SharedMemory

TAIL, HEAD = 0, 16  # words: two cache lines apart, so that prefetching one does not drag the other along
DATA = 256  # bytes before the first payload


class SpinRing:
    """A ring of `slots` (a power of two) payloads: number i begins at `data[DATA + (i & mask) * stride]`."""

    def __init__(self, nbytes: int, slots: int, name: str | None = None) -> None:
        """Make a ring, or with `name` use the one that another process made."""
        self.stride = -(-nbytes // 8) * 8
        self.slots = slots
        self.mask = slots - 1
        self._memory = SharedMemory(name, create=name is None, size=DATA + slots * self.stride)
        self._made = name is None
        self.name = self._memory.name
        self.data = self._memory.buf
        self.words = self.data[:DATA].cast("Q")

    def close(self) -> None:
        """Give the memory up; the maker removes it."""
        self.words.release()
        del self.data
        self._memory.close()
        if self._made:
            self._memory.unlink()
