/* Mapping: one section of a segment in memory, mapped once or twice in a row.
 *
 * Two aliases in a row make any run of up to one lap contiguous. The memory goes when the last view of it goes:
 * a numpy array keeps the Mapping alive through the buffer protocol, so closing a ring never pulls memory from
 * under a view. Words are reached by checked offsets only.
 */
#ifndef SHM_MAPPING_H
#define SHM_MAPPING_H
#include "_native.h"

typedef struct {
    PyObject_HEAD
    char *base;
    size_t span;   /* bytes of one alias */
    size_t length; /* bytes mapped: span * copies */
    int writable;
} Mapping;

static PyTypeObject *MappingType;

static int map_aliases(Mapping *self, int fd, off_t offset, int copies, int populate)
{
    int prot = self->writable ? PROT_READ | PROT_WRITE : PROT_READ;
    int flags = MAP_SHARED | MAP_FIXED | (populate ? MAP_POPULATE : 0);
    char *base = mmap(NULL, self->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return errno;
    for (int i = 0; i < copies; i++) {
        if (mmap(base + (size_t)i * self->span, self->span, prot, flags, fd, offset) == MAP_FAILED) {
            int error = errno;
            munmap(base, self->length);
            return error;
        }
    }
    self->base = base;
    return 0;
}

static PyObject *Mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "offset", "span", "copies", "writable", "populate", NULL};
    int fd, copies = 1, writable = 0, populate = 0;
    long long offset, span;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iLL|ipp", names, &fd, &offset, &span, &copies, &writable, &populate))
        return NULL;
    long page = sysconf(_SC_PAGESIZE);
    if (span <= 0 || offset < 0 || copies < 1 || copies > 2 || span > PTRDIFF_MAX / 2) {
        PyErr_Format(PyExc_ValueError, "cannot map span=%lld at offset=%lld, copies=%d", span, offset, copies);
        return NULL;
    }
    if (offset % page || (copies == 2 && span % page)) {
        PyErr_Format(PyExc_ValueError, "offset=%lld and a span mapped twice (%lld) must be multiples of the page, %ld",
                     offset, span, page);
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Mapping *self = (Mapping *)alloc(type, 0);
    if (!self)
        return NULL;
    self->span = (size_t)span;
    self->length = (size_t)span * (size_t)copies;
    self->writable = writable;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = map_aliases(self, fd, (off_t)offset, copies, populate);
    Py_END_ALLOW_THREADS
    if (error) {
        Py_DECREF(self);
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

static void Mapping_dealloc(Mapping *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->base)
        munmap(self->base, self->length);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static int Mapping_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    Mapping *self = (Mapping *)op;
    return PyBuffer_FillInfo(view, op, self->base, (Py_ssize_t)self->length, !self->writable, flags);
}

/* The word at an argument's offset, or NULL with an exception: aligned, inside, and writable if asked. */
static word *mapping_word(Mapping *self, PyObject *argument, int write)
{
    uint64_t offset;
    if (as_u64(argument, "offset", &offset) < 0)
        return NULL;
    if (offset % 8 || offset > self->span || self->span - offset < 8) {
        PyErr_Format(PyExc_IndexError, "no word at offset %llu: expected a multiple of 8 inside %zu bytes",
                     (unsigned long long)offset, self->span);
        return NULL;
    }
    if (write && !self->writable) {
        PyErr_SetString(PyExc_PermissionError, "this section is mapped read-only");
        return NULL;
    }
    return (word *)(self->base + offset);
}

static int need(Py_ssize_t got, Py_ssize_t expected)
{
    if (got == expected)
        return 0;
    PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd", expected, got);
    return -1;
}

static PyObject *Mapping_load(Mapping *self, PyObject *argument)
{
    word *w = mapping_word(self, argument, 0);
    return w ? PyLong_FromUnsignedLongLong(LOAD_ACQUIRE(w)) : NULL;
}

static PyObject *Mapping_store(Mapping *self, PyObject *const *args, Py_ssize_t n)
{
    word *w;
    if (need(n, 2) < 0 || !(w = mapping_word(self, args[0], 1)))
        return NULL;
    unsigned long long value = PyLong_AsUnsignedLongLongMask(args[1]);
    if (value == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    STORE_RELEASE(w, value);
    KILL_POINT("word: stored");
    Py_RETURN_NONE;
}

static PyObject *Mapping_fetch_add(Mapping *self, PyObject *const *args, Py_ssize_t n)
{
    word *w;
    if (need(n, 2) < 0 || !(w = mapping_word(self, args[0], 1)))
        return NULL;
    unsigned long long value = PyLong_AsUnsignedLongLongMask(args[1]);
    if (value == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    uint64_t was = atomic_fetch_add(w, value);
    KILL_POINT("word: added");
    return PyLong_FromUnsignedLongLong(was);
}

static PyObject *Mapping_exchange(Mapping *self, PyObject *const *args, Py_ssize_t n)
{
    word *w;
    if (need(n, 2) < 0 || !(w = mapping_word(self, args[0], 1)))
        return NULL;
    unsigned long long value = PyLong_AsUnsignedLongLongMask(args[1]);
    if (value == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    uint64_t was = atomic_exchange(w, value);
    KILL_POINT("word: exchanged");
    return PyLong_FromUnsignedLongLong(was);
}

static PyObject *Mapping_compare_exchange(Mapping *self, PyObject *const *args, Py_ssize_t n)
{
    word *w;
    uint64_t expected, desired;
    if (need(n, 3) < 0 || !(w = mapping_word(self, args[0], 1)))
        return NULL;
    if (as_u64(args[1], "expected", &expected) < 0 || as_u64(args[2], "desired", &desired) < 0)
        return NULL;
    int done = atomic_compare_exchange_strong(w, &expected, desired);
    KILL_POINT("word: compared");
    return PyBool_FromLong(done);
}

static PyObject *Mapping_wake(Mapping *self, PyObject *argument)
{
    word *w = mapping_word(self, argument, 1);
    if (!w)
        return NULL;
    atomic_fetch_add((half *)w, 1);
    futex_wake_all((half *)w);
    KILL_POINT("word: woken");
    Py_RETURN_NONE;
}

static PyMethodDef Mapping_methods[] = {
    {"load", (PyCFunction)Mapping_load, METH_O, "load(offset) -> int\n\nLoad-acquire one word."},
    {"store", FAST(Mapping_store), METH_FASTCALL, "store(offset, value)\n\nStore-release one word."},
    {"fetch_add", FAST(Mapping_fetch_add), METH_FASTCALL,
     "fetch_add(offset, n) -> int\n\nAdd, wrapping; return what was there."},
    {"exchange", FAST(Mapping_exchange), METH_FASTCALL,
     "exchange(offset, value) -> int\n\nReplace; return what was there."},
    {"compare_exchange", FAST(Mapping_compare_exchange), METH_FASTCALL,
     "compare_exchange(offset, expected, desired) -> bool\n\nReplace if it still is `expected`."},
    {"wake", (PyCFunction)Mapping_wake, METH_O,
     "wake(offset)\n\nAdd one to the futex word there and wake all who sleep on it."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Mapping_members[] = {
    {"span", T_PYSSIZET, offsetof(Mapping, span), READONLY, "bytes of one alias"},
    {"writable", T_INT, offsetof(Mapping, writable), READONLY, "1 if mapped for writing"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Mapping_slots[] = {
    {Py_tp_doc, (void *)"Mapping(fd, offset, span, copies=1, writable=False, populate=False)\n\nA section in memory."},
    {Py_tp_new, (void *)Mapping_new},
    {Py_tp_dealloc, (void *)Mapping_dealloc},
    {Py_tp_methods, Mapping_methods},
    {Py_tp_members, Mapping_members},
    {Py_bf_getbuffer, (void *)Mapping_getbuffer},
    {0, NULL},
};

static PyType_Spec Mapping_spec = {
    .name = "shm._native.Mapping",
    .basicsize = sizeof(Mapping),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = Mapping_slots,
};

#endif
