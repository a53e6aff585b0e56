# SPDX-License-Identifier: MIT
"""Element types: between numpy's dtypes, the buffer protocol's formats and what an envelope says."""

from libc.string cimport memset

from shmq._c cimport SHMQ_MAX_DIMENSIONS, shmq_array_type

cdef dict known = {}  # dtype as given -> (kind, byte order, item size)


cdef char format_of(const shmq_array_type *type) noexcept:
    """The struct module's letter for an element, 0 where it has none."""
    cdef char kind = type.kind
    cdef int size = type.item_size
    if kind == b"b":
        return b"?"
    if kind == b"i":
        return b"b" if size == 1 else b"h" if size == 2 else b"i" if size == 4 else b"q"
    if kind == b"u":
        return b"B" if size == 1 else b"H" if size == 2 else b"I" if size == 4 else b"Q"
    if kind == b"c":
        size //= 2
    elif kind != b"f":
        return 0
    return b"e" if size == 2 else b"f" if size == 4 else b"d" if size == 8 else b"g"


cdef char kind_of(char letter) noexcept:
    if letter == b"?":
        return b"b"
    if letter in b"bhilqn":
        return b"i"
    if letter in b"BHILQNc":
        return b"u"
    if letter in b"efdg":
        return b"f"
    return 0


cdef bint type_of_buffer(const Py_buffer *buffer, shmq_array_type *type) noexcept:
    """Describe a buffer's elements; False where they are plain bytes, or nothing that an envelope can say."""
    cdef const char *format = buffer.format
    cdef char kind
    cdef bint complex_number = False
    cdef int i
    memset(type, 0, sizeof(type[0]))
    type.byte_order = b"<"
    if format == NULL or buffer.shape == NULL or buffer.ndim > SHMQ_MAX_DIMENSIONS:
        return False
    if format[0] == b"B" and format[1] == 0 and buffer.ndim == 1:
        return False
    if format[0] in b"<>=@!":
        if format[0] in b">!":
            type.byte_order = b">"
        format += 1
    if format[0] == b"Z":
        complex_number = True
        format += 1
    kind = kind_of(format[0])
    if kind == 0 or format[1] != 0:
        return False
    type.kind = b"c" if complex_number else kind
    type.item_size = <int> buffer.itemsize
    if buffer.itemsize == 1:
        type.byte_order = b"|"
    type.dimensions = buffer.ndim
    for i in range(buffer.ndim):
        type.shape[i] = buffer.shape[i]
    return True


cdef tuple describe(object dtype):
    """Kind, byte order and size of a dtype of fixed width."""
    import numpy
    found = numpy.dtype(dtype)
    if found.kind not in "biufcSU" or found.itemsize == 0:
        raise ValueError(f"dtype {found} cannot be sent: its elements must be numbers, booleans or strings of fixed "
                         "width; send anything else as bytes")
    order = "|" if found.byteorder == "|" else ">" if found.byteorder == ">" else "<"
    return (ord(found.kind), ord(order), found.itemsize)


cdef int type_of_request(shmq_array_type *type, object shape, object dtype) except -1:
    """Describe the array that a loan is asked for."""
    cdef int i
    memset(type, 0, sizeof(type[0]))
    found = known.get(dtype)
    if found is None:
        found = describe(dtype)
        if len(known) < 256:
            known[dtype] = found
    type.kind, type.byte_order, type.item_size = found
    if isinstance(shape, int):
        shape = (shape,)
    if len(shape) > SHMQ_MAX_DIMENSIONS:
        raise ValueError(f"{len(shape)} dimensions: an array message has at most {SHMQ_MAX_DIMENSIONS}")
    type.dimensions = len(shape)
    for i in range(len(shape)):
        if not 0 <= shape[i] < 2**32:
            raise ValueError(f"extent {shape[i]!r} of shape {shape!r}: give numbers from 0 to 2**32 - 1")
        type.shape[i] = shape[i]
    return 0


cdef object explain():
    """The module of error texts, imported when something has gone wrong: `import shmq` stays light."""
    from shmq import explain as texts
    return texts
