/* Claim: `with ring.claim() as item`, without building a view per item. */
#ifndef SHM_CLAIM_H
#define SHM_CLAIM_H
#include "_writer.h"

typedef struct {
    PyObject_HEAD
    Writer *writer; /* strong */
    uint64_t start, count;
    int single; /* one item of the ring's shape, not a run of one */
    int open;
} Claim;

static PyTypeObject *ClaimType;

/* claim(n=None) */
static PyObject *Writer_claim(Writer *w, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const known[] = {"n"};
    PyObject *given[1] = {NULL};
    uint64_t count = 1;
    if (parse_arguments("claim", args, n, names, 1, 0, known, given) < 0)
        return NULL;
    int single = !given[0] || given[0] == Py_None;
    if (!single && as_u64(given[0], "n", &count) < 0)
        return NULL;
    Claim *claim = PyObject_New(Claim, ClaimType);
    if (!claim)
        return NULL;
    claim->writer = (Writer *)Py_NewRef((PyObject *)w);
    claim->start = 0;
    claim->count = count;
    claim->single = single;
    claim->open = 0;
    return (PyObject *)claim;
}

static PyObject *Claim_enter(Claim *self, PyObject *Py_UNUSED(ignored))
{
    Writer *w = self->writer;
    if (writer_claim(w, self->count) < 0)
        return NULL;
    self->start = w->start;
    self->open = 1;
    PyObject *view = ring_view(&w->ring, self->start, self->count, self->single);
    if (!view) {
        self->open = 0;
        w->open = 0; /* nothing was published */
    }
    return view;
}

static int claim_publish(Claim *self, uint64_t k, PyObject *time, int64_t period_ns)
{
    Writer *w = self->writer;
    int64_t time_ns;
    if (ring_check(&w->ring) < 0 || time_or(time, w->entry_ns, &time_ns) < 0)
        return -1;
    if (!self->open || !w->open || w->start != self->start) {
        PyErr_SetString(ClosedError, "this claim is not open: enter it with `with`, publish it once");
        return -1;
    }
    if (k > self->count) {
        PyErr_Format(PyExc_ValueError, "cannot publish %llu items of a claim of %llu", (unsigned long long)k,
                     (unsigned long long)self->count);
        return -1;
    }
    self->open = 0;
    return writer_publish(w, k, time_ns, period_ns);
}

static PyObject *Claim_publish(Claim *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const known[] = {"k", "time_ns", "period_ns"};
    PyObject *given[3] = {NULL, NULL, NULL};
    uint64_t k = self->count;
    int64_t period_ns;
    if (parse_arguments("publish", args, n, names, 3, 0, known, given) < 0 || time_or(given[2], 0, &period_ns) < 0)
        return NULL;
    if (given[0] && given[0] != Py_None && as_u64(given[0], "k", &k) < 0)
        return NULL;
    if (claim_publish(self, k, given[1], period_ns) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *Claim_exit(Claim *self, PyObject *const *args, Py_ssize_t n)
{
    if (need(n, 3) < 0)
        return NULL;
    if (self->open && claim_publish(self, args[0] == Py_None ? self->count : 0, NULL, 0) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *Claim_sequence(Claim *self, void *Py_UNUSED(c))
{
    return self->open ? PyLong_FromUnsignedLongLong(self->start) : PyLong_FromLong(-1);
}

static void Claim_dealloc(Claim *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF((PyObject *)self->writer);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef Claim_methods[] = {
    {"__enter__", (PyCFunction)Claim_enter, METH_NOARGS, "Claim; waits only where the writer may."},
    {"__exit__", FAST(Claim_exit), METH_FASTCALL, "Publish all, unless `publish` was called or the block failed."},
    {"publish", FAST(Claim_publish), METH_FASTCALL | METH_KEYWORDS,
     "publish(k=None, time_ns=None, period_ns=0)\n\n"
     "Publish the first `k` items and end the claim: all if None, none if 0. ``time_ns``, CLOCK_MONOTONIC, is that of\n"
     "the first, the time of entry if None; item i gets ``time_ns + i * period_ns``."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Claim_getset[] = {
    {"sequence", (getter)Claim_sequence, NULL, "of the first claimed item; -1 while the claim is not open", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot Claim_slots[] = {
    {Py_tp_doc, (void *)"Slots that only we may change, from ``with`` to publishing; made by ``ring.claim()``.\n\n"
                        "A claim held open costs every reader its slots."},
    {Py_tp_dealloc, (void *)Claim_dealloc},
    {Py_tp_methods, Claim_methods},
    {Py_tp_getset, Claim_getset},
    {0, NULL},
};

static PyType_Spec Claim_spec = {
    .name = "shm._native.Claim",
    .basicsize = sizeof(Claim),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Claim_slots,
};

#endif
