/* View and Run: `with reader.view() as run`, validated on leaving; arrays are made only when asked for. */
#ifndef SHM_VIEW_H
#define SHM_VIEW_H
#include "_reader.h"

typedef struct {
    PyObject_HEAD
    Reader *reader;        /* strong; NULL for a copied run */
    PyObject *data, *times; /* strong; NULL until asked for */
    uint64_t first, count;
    int good;
} Run;

typedef struct {
    PyObject_HEAD
    Reader *reader; /* strong */
    Run *run;       /* strong; NULL outside the block */
    uint64_t most, at;
    int explicit;
} View;

static PyTypeObject *RunType, *ViewType;

static Run *run_new(Reader *reader, uint64_t first, uint64_t count)
{
    Run *run = PyObject_New(Run, RunType);
    if (!run)
        return NULL;
    run->reader = (Reader *)Py_XNewRef((PyObject *)reader);
    run->data = run->times = NULL;
    run->first = first;
    run->count = count;
    run->good = 1;
    return run;
}

/* Run(data, first, count, times): a copy */
static PyObject *Run_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *data, *times;
    unsigned long long first, count;
    if (!PyArg_ParseTuple(args, "OKKO", &data, &first, &count, &times))
        return NULL;
    Run *run = run_new(NULL, first, count);
    if (run) {
        run->data = Py_NewRef(data);
        run->times = Py_NewRef(times);
    }
    return (PyObject *)run;
}

static void Run_dealloc(Run *run)
{
    PyTypeObject *type = Py_TYPE((PyObject *)run);
    Py_XDECREF((PyObject *)run->reader);
    Py_XDECREF(run->data);
    Py_XDECREF(run->times);
    PyObject_Free(run);
    Py_DECREF(type);
}

static PyObject *Run_data(Run *run, void *Py_UNUSED(c))
{
    if (!run->data) {
        Ring *r = &run->reader->ring;
        if (ring_check(r) < 0)
            return NULL;
        if (r->lengths)
            run->data = PyObject_CallMethod((PyObject *)run->reader, "_blobs", "KK", (unsigned long long)run->first,
                                            (unsigned long long)run->count);
        else
            run->data = ring_view(r, run->first, run->count, 0);
    }
    return Py_XNewRef(run->data);
}

static PyObject *Run_times(Run *run, void *Py_UNUSED(c))
{
    if (!run->times) {
        Ring *r = &run->reader->ring;
        if (ring_check(r) < 0)
            return NULL;
        run->times = array_slice(r->lap_times, run->first % r->times_slots, run->count);
    }
    return Py_XNewRef(run->times);
}

static PyObject *Run_good(Run *run, void *Py_UNUSED(c)) { return PyBool_FromLong(run->good); }
static Py_ssize_t Run_length(Run *run) { return (Py_ssize_t)run->count; }

static PyObject *Run_repr(Run *run)
{
    return PyUnicode_FromFormat("<Run %llu..%llu %s>", (unsigned long long)run->first,
                                (unsigned long long)(run->first + run->count), run->good ? "good" : "overwritten");
}

static PyMemberDef Run_members[] = {
    {"first", T_ULONGLONG, offsetof(Run, first), READONLY, "sequence of the first item"},
    {"count", T_ULONGLONG, offsetof(Run, count), READONLY, "how many, 0 if there was nothing new"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef Run_getset[] = {
    {"data", (getter)Run_data, NULL, "items, (count, *shape); of a blob ring a list of memoryviews", NULL},
    {"times", (getter)Run_times, NULL, "int64 (count,), CLOCK_MONOTONIC ns", NULL},
    {"good", (getter)Run_good, NULL, "False once it is known that some were overwritten during use", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot Run_slots[] = {
    {Py_tp_doc, (void *)"Run(data, first, count, times)\n\nConsecutive items: a read-only view inside ``with reader.view()``, "
                        "yours to keep from ``window``."},
    {Py_tp_new, (void *)Run_new},
    {Py_tp_dealloc, (void *)Run_dealloc},
    {Py_tp_members, Run_members},
    {Py_tp_getset, Run_getset},
    {Py_tp_repr, (void *)Run_repr},
    {Py_sq_length, (void *)Run_length},
    {0, NULL},
};

static PyType_Spec Run_spec = {
    .name = "shm._native.Run",
    .basicsize = sizeof(Run),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = Run_slots,
};

/* view(max_items=None, *, at=None) */
static PyObject *Reader_view(Reader *q, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const known[] = {"max_items", "at"};
    PyObject *given[2] = {NULL, NULL};
    uint64_t most, at = 0;
    if (parse_arguments("view", args, n, names, 2, 0, known, given) < 0 || ring_check(&q->ring) < 0)
        return NULL;
    int explicit = given[1] && given[1] != Py_None;
    if (explicit && as_u64(given[1], "at", &at) < 0)
        return NULL;
    most = explicit || q->policy == LATEST ? 1 : q->ring.slots;
    if (given[0] && given[0] != Py_None && as_u64(given[0], "max_items", &most) < 0)
        return NULL;
    if (!explicit && most > q->ring.slots)
        most = q->ring.slots;
    View *view = PyObject_New(View, ViewType);
    if (!view)
        return NULL;
    view->reader = (Reader *)Py_NewRef((PyObject *)q);
    view->run = NULL;
    view->most = most;
    view->at = at;
    view->explicit = explicit;
    return (PyObject *)view;
}

static int view_retained(View *view)
{
    PyObject *result = PyObject_CallMethod((PyObject *)view->reader, "_retained", "KK", (unsigned long long)view->at,
                                           (unsigned long long)view->most);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PyObject *View_enter(View *view, PyObject *Py_UNUSED(ignored))
{
    Reader *q = view->reader;
    uint64_t first = view->at, count = view->most;
    if (ring_check(&q->ring) < 0)
        return NULL;
    if (view->run || (!view->explicit && q->viewing)) {
        PyErr_SetString(BusyError, "a view is open; leave it before the next (or give at=)");
        return NULL;
    }
    if (view->explicit) {
        if (view_retained(view) < 0)
            return NULL;
    } else {
        count = reader_begin(q, view->most, &first);
        if (!count)
            first = q->position;
    }
    view->run = run_new(q, first, count);
    if (!view->run)
        return NULL;
    q->viewing |= !view->explicit;
    return Py_NewRef((PyObject *)view->run);
}

static PyObject *view_overrun(Reader *q, Run *run, uint64_t bad)
{
    return PyObject_CallMethod((PyObject *)q, "_overrun", "KKK", (unsigned long long)run->first,
                               (unsigned long long)run->count, (unsigned long long)bad);
}

static PyObject *View_exit(View *view, PyObject *const *args, Py_ssize_t n)
{
    Reader *q = view->reader;
    Run *run = view->run;
    if (need(n, 3) < 0)
        return NULL;
    if (!run) {
        PyErr_SetString(ClosedError, "this view is not open");
        return NULL;
    }
    view->run = NULL;
    if (!view->explicit)
        q->viewing = 0;
    PyObject *result = NULL;
    if (!q->ring.ready) {
        result = Py_NewRef(Py_None); /* closed inside the block: nothing to validate against */
    } else {
        uint64_t bad = reader_bad(q, run->first, run->count);
        run->good = !bad;
        /* Whoever read or sought inside the block has moved on already, and must not be put back. */
        if (!view->explicit && run->count && q->position == run->first) {
            q->torn += bad;
            q->taken += run->count - bad;
            reader_advance(q, run->first + run->count);
        }
        result = view->explicit && bad && args[0] == Py_None ? view_overrun(q, run, bad) : Py_NewRef(Py_None);
    }
    Py_DECREF((PyObject *)run);
    return result;
}

static void View_dealloc(View *view)
{
    PyTypeObject *type = Py_TYPE((PyObject *)view);
    Py_XDECREF((PyObject *)view->run);
    Py_XDECREF((PyObject *)view->reader);
    PyObject_Free(view);
    Py_DECREF(type);
}

static PyMethodDef View_methods[] = {
    {"__enter__", (PyCFunction)View_enter, METH_NOARGS, "Return the run to look at."},
    {"__exit__", FAST(View_exit), METH_FASTCALL, "Validate; move on, or raise if `at` was given."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot View_slots[] = {
    {Py_tp_doc, (void *)"``with reader.view() as run``."},
    {Py_tp_dealloc, (void *)View_dealloc},
    {Py_tp_methods, View_methods},
    {0, NULL},
};

static PyType_Spec View_spec = {
    .name = "shm._native.View",
    .basicsize = sizeof(View),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = View_slots,
};

#endif
