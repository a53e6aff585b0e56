# SPDX-License-Identifier: MIT
"""numpy arrays over leases: the only module that speaks numpy's C API, loaded when an array is first asked for."""

from cpython.ref cimport Py_INCREF

import numpy as np

cimport numpy as cnp

from shmq._attachment cimport Lease, array_api, set_array_api

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(type subtype, cnp.dtype descr, int nd, cnp.npy_intp *dims, cnp.npy_intp *strides,
                                void *data, int flags, object obj)

cdef dict described = {}


cdef cnp.dtype dtype_of(Lease lease):
    cdef char kind = lease.type.kind
    cdef int size = lease.type.item_size
    if kind == b"u" and size == 1:
        return cnp.PyArray_DescrFromType(cnp.NPY_UINT8)
    if kind == b"f" and size == 8 and lease.type.byte_order == b"<":
        return cnp.PyArray_DescrFromType(cnp.NPY_DOUBLE)
    key = (kind, lease.type.byte_order, size)
    found = described.get(key)
    if found is None:
        count = size // 4 if kind == b"U" else size
        found = np.dtype(f"{chr(lease.type.byte_order)}{chr(kind)}{count}")
        if len(described) < 256:  # who writes astray may send as many types as there are numbers
            described[key] = found
    return found


cdef object over(Lease lease, object base):
    cdef cnp.dtype dtype = dtype_of(lease)
    cdef int flags = cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_C_CONTIGUOUS
    if lease.writable:
        flags |= cnp.NPY_ARRAY_WRITEABLE
    Py_INCREF(dtype)  # PyArray_NewFromDescr takes it over
    array = PyArray_NewFromDescr(cnp.ndarray, dtype, lease.dimensions, <cnp.npy_intp *> lease.shape, NULL, lease.data,
                                 flags, None)
    cnp.set_array_base(array, base)
    return array


cdef object root(Lease lease):
    cdef cnp.dtype dtype = cnp.PyArray_DescrFromType(cnp.NPY_UINT8)
    Py_INCREF(dtype)
    array = PyArray_NewFromDescr(cnp.ndarray, dtype, 0, NULL, NULL, lease.data, cnp.NPY_ARRAY_WRITEABLE, None)
    cnp.set_array_base(array, lease)
    return array


cdef void freeze(object array, bint frozen) noexcept:
    if frozen:
        cnp.PyArray_CLEARFLAGS(<cnp.ndarray> array, cnp.NPY_ARRAY_WRITEABLE)
    else:
        cnp.PyArray_ENABLEFLAGS(<cnp.ndarray> array, cnp.NPY_ARRAY_WRITEABLE)


cdef array_api api
api.over = over
api.root = root
api.freeze = freeze
set_array_api(api)
