# SPDX-License-Identifier: MIT
"""Element types: between numpy's dtypes, the buffer protocol's formats and what an envelope says."""

from cpython.bytearray cimport PyByteArray_Check
from cpython.bytes cimport PyBytes_Check
from cpython.number cimport PyNumber_Index
from libc.string cimport memset

from shmq._c cimport SHMQ_MAX_DIMENSIONS, shmq_array_type

import os

from shmq.errors import RegionFileError

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
    if letter in b"BHILQN":
        return b"u"
    if letter in b"efdg":
        return b"f"
    return 0


cdef int shape_into(shmq_array_type *type, object shape) except -1:
    """Check and store the extents."""
    cdef int i
    if len(shape) > SHMQ_MAX_DIMENSIONS:
        raise ValueError(f"{len(shape)} dimensions: an array message has at most {SHMQ_MAX_DIMENSIONS}; reshape it")
    type.dimensions = len(shape)
    for i in range(len(shape)):
        extent = PyNumber_Index(shape[i])
        if not 0 <= extent < 2**32:
            raise ValueError(f"extent {extent} of shape {shape!r}: give numbers from 0 to 2**32 - 1")
        type.shape[i] = extent
    return 0


cdef int describe(shmq_array_type *type, object dtype) except -1:
    """Kind, byte order and size of a dtype, which must be of fixed width."""
    try:
        found = known.get(dtype)
    except TypeError:  # a list of fields cannot be hashed
        found = None
    if found is None:
        import numpy
        full = numpy.dtype(dtype)
        if full.kind not in "biufcSU" or full.itemsize == 0:
            raise ValueError(f"dtype {full} cannot be sent: elements must be numbers, booleans or strings of fixed "
                             "width; send anything else as bytes")
        order = "|" if full.byteorder == "|" else ">" if full.byteorder == ">" else "<"
        found = (ord(full.kind), ord(order), full.itemsize)
        if len(known) < 256 and isinstance(dtype, (str, numpy.dtype)):
            known[dtype] = found
    type.kind, type.byte_order, type.item_size = found
    return 0


cdef int describe_format(shmq_array_type *type, object view) except -1:
    """Kind, byte order and size from a memoryview's struct format."""
    cdef bytes text = view.format.encode()
    cdef const char *format = text
    cdef bint complex_number = False
    type.byte_order = b"<"
    if format[0] in b"<>=@!":
        if format[0] in b">!":
            type.byte_order = b">"
        format += 1
    if format[0] == b"Z":
        complex_number = True
        format += 1
    if kind_of(format[0]) == 0 or format[1] != 0:
        raise ValueError(f"elements of format {view.format!r} cannot be sent: they must be numbers or booleans of "
                         "fixed width; send anything else as bytes")
    type.kind = b"c" if complex_number else kind_of(format[0])
    type.item_size = view.itemsize
    if view.itemsize == 1:
        type.byte_order = b"|"
    return 0


cdef bint type_of_payload(shmq_array_type *type, object data) except -1:
    """Describe what is to be sent; False where it is plain bytes."""
    memset(type, 0, sizeof(type[0]))
    if PyByteArray_Check(data) or PyBytes_Check(data):
        return False
    dtype = getattr(data, "dtype", None)
    if dtype is not None:  # a numpy array or scalar
        describe(type, dtype)
        shape_into(type, data.shape)
        return True
    view = memoryview(data)
    if view.format in ("B", "c") and view.ndim == 1:
        return False
    describe_format(type, view)
    shape_into(type, view.shape)
    return True


cdef int type_of_request(shmq_array_type *type, object shape, object dtype) except -1:
    """Describe the array that a loan is asked for."""
    memset(type, 0, sizeof(type[0]))
    describe(type, dtype)
    if not isinstance(shape, (tuple, list)):
        shape = tuple(shape) if hasattr(shape, "__len__") else (PyNumber_Index(shape),)
    return shape_into(type, shape)


cdef object late(str name):
    """A module that is not imported with shmq, which stays light."""
    try:
        return getattr(__import__(f"shmq.{name}"), name)
    except OSError as error:
        limit = os.sysconf("SC_OPEN_MAX")
        raise RegionFileError(error.errno, f"the module shmq.{name} cannot be imported: {error.strerror}: the limit of "
                              f"this process is {limit} (RLIMIT_NOFILE); close some files, or raise it (ulimit -n)",
                              error.filename)


cdef object explain():
    """The module of error texts. Called before anything can go wrong, too: when it has, there may be no descriptor left
    to import it."""
    return late("explain")
