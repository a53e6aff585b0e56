/* SPDX-License-Identifier: MIT */
/* `with` without an allocation.
 *
 * To enter and leave a block, the interpreter binds __enter__ and __exit__: two objects, each allocated, tracked by the
 * garbage collector and freed, a third of what a short block costs. Here the methods of a type bind to recycled
 * objects that the collector need not know. Looked up on the class they are the plain methods that they were.
 *
 * Everything here is guarded by the GIL.
 */
#ifndef SHMQ_WITHIN_H
#define SHMQ_WITHIN_H

#include <Python.h>
#include <stdbool.h>
#include <stddef.h>

#define SHMQ_SPARE_BOUND 16

/* One of the two methods, as it stands in the type's dictionary. */
struct shmq_context_method {
    PyObject_HEAD
    PyMethodDescrObject *method;
};

/* The method bound to an object. */
struct shmq_bound {
    PyObject_HEAD
    vectorcallfunc call;
    _PyCFunctionFastWithKeywords function;
    PyObject *self;
};

static PyTypeObject shmq_bound_type, shmq_context_method_type;
static struct shmq_bound *shmq_spare_bound[SHMQ_SPARE_BOUND];
static int shmq_spare_bound_count;

static PyObject *shmq_bound_call(PyObject *callable, PyObject *const *args, size_t count, PyObject *names)
{
    const struct shmq_bound *bound = (struct shmq_bound *)callable;

    return bound->function(bound->self, args, PyVectorcall_NARGS(count), names);
}

static void shmq_bound_dealloc(PyObject *object)
{
    struct shmq_bound *bound = (struct shmq_bound *)object;
    PyObject *self = bound->self;

    if (shmq_spare_bound_count < SHMQ_SPARE_BOUND)
        shmq_spare_bound[shmq_spare_bound_count++] = bound;
    else
        PyObject_Free(bound);
    Py_DECREF(self);
}

static PyObject *shmq_context_method_get(PyObject *object, PyObject *self, PyObject *type)
{
    PyMethodDescrObject *method = ((struct shmq_context_method *)object)->method;
    struct shmq_bound *bound;

    (void)type;
    if (!self || !PyObject_TypeCheck(self, method->d_common.d_type))
        return Py_NewRef((PyObject *)method);
    if (shmq_spare_bound_count)
        bound = (struct shmq_bound *)PyObject_Init((PyObject *)shmq_spare_bound[--shmq_spare_bound_count],
            &shmq_bound_type);
    else if (!(bound = PyObject_New(struct shmq_bound, &shmq_bound_type)))
        return NULL;
    bound->call = shmq_bound_call;
    bound->function = (_PyCFunctionFastWithKeywords)(void (*)(void))method->d_method->ml_meth;
    bound->self = Py_NewRef(self);
    return (PyObject *)bound;
}

static void shmq_context_method_dealloc(PyObject *object)
{
    Py_DECREF(((struct shmq_context_method *)object)->method);
    PyObject_Free(object);
}

static PyTypeObject shmq_bound_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shmq.bound_method",
    .tp_basicsize = sizeof(struct shmq_bound),
    .tp_dealloc = shmq_bound_dealloc,
    .tp_vectorcall_offset = offsetof(struct shmq_bound, call),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
};

static PyTypeObject shmq_context_method_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shmq.context_method",
    .tp_basicsize = sizeof(struct shmq_context_method),
    .tp_dealloc = shmq_context_method_dealloc,
    .tp_descr_get = shmq_context_method_get,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

/* Can shmq_bound_call call it? */
static bool shmq_within_knows(PyObject *method)
{
    return method && Py_TYPE(method) == &PyMethodDescr_Type
        && ((PyMethodDescrObject *)method)->d_method->ml_flags == (METH_FASTCALL | METH_KEYWORDS);
}

/* Replace one method in the type's dictionary. -1 and an exception on failure. */
static int shmq_within_replace(PyTypeObject *type, const char *name)
{
    PyObject *method = PyDict_GetItemString(type->tp_dict, name);
    struct shmq_context_method *replaced;
    int result;

    if (!shmq_within_knows(method)) /* made in another way: it stays as it is, and works */
        return 0;
    replaced = PyObject_New(struct shmq_context_method, &shmq_context_method_type);
    if (!replaced)
        return -1;
    replaced->method = (PyMethodDescrObject *)Py_NewRef(method);
    result = PyDict_SetItemString(type->tp_dict, name, (PyObject *)replaced);
    Py_DECREF(replaced);
    return result;
}

/* Let `with` bind the methods of a type cheaply; once, when its module is loaded. -1 and an exception on failure. */
static int shmq_within(PyTypeObject *type)
{
    if (PyType_Ready(&shmq_bound_type) < 0 || PyType_Ready(&shmq_context_method_type) < 0
        || shmq_within_replace(type, "__enter__") < 0 || shmq_within_replace(type, "__exit__") < 0)
        return -1;
    PyType_Modified(type);
    return 0;
}

#endif
