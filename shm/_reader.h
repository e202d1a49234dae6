/* Reader: take by policy, copy, validate; and sleep until there is something to take. */
#ifndef SHM_READER_H
#define SHM_READER_H
#include "_position.h"

static PyTypeObject *ItemType, *BlobType;
static PyObject *numpy_empty;
static newfunc new_tuple;

static void ring_copy_out(Ring *r, uint64_t first, uint64_t count, char *out)
{
    const char *slot = ring_slot(r, first);
    if (r->stride == r->item_bytes)
        memcpy(out, slot, count * r->item_bytes);
    else
        for (uint64_t i = 0; i < count; i++)
            memcpy(out + i * r->item_bytes, slot + i * r->stride, r->item_bytes);
}

/* Copy items and times, then validate. Returns how many from the front are bad, -1 if closed meanwhile. */
static int64_t reader_copy(Reader *q, uint64_t first, uint64_t count, char *out, int64_t *times)
{
    Ring *r = &q->ring;
    if (times)
        memcpy(times, r->times + first % r->times_slots, count * 8);
    if (count * r->item_bytes < GIL_FREE_BYTES) {
        ring_copy_out(r, first, count, out);
    } else {
        ring_enter(r);
        Py_BEGIN_ALLOW_THREADS
        ring_copy_out(r, first, count, out);
        Py_END_ALLOW_THREADS
        if (ring_leave(r) < 0)
            return -1;
    }
    KILL_POINT("read: copied");
    return (int64_t)reader_bad(q, first, count);
}

/* Copy up to `most` new items to `out`; the good ones end at its front. Returns their number, -1 on error. */
static int64_t reader_drain(Reader *q, uint64_t most, char *out, int64_t *times, uint64_t *first)
{
    for (int attempt = 0; attempt < 8; attempt++) {
        uint64_t count = reader_begin(q, most, first);
        if (!count)
            return 0;
        int64_t bad = reader_copy(q, *first, count, out, times);
        if (bad < 0)
            return -1;
        uint64_t good = count - (uint64_t)bad;
        if (bad && good) {
            memmove(out, out + (size_t)bad * q->ring.item_bytes, good * q->ring.item_bytes);
            if (times)
                memmove(times, times + bad, good * 8);
        }
        q->torn += (uint64_t)bad;
        q->taken += good;
        reader_advance(q, *first + count);
        *first += (uint64_t)bad;
        if (good)
            return (int64_t)good;
    }
    return 0;
}

static inline int has_news(Reader *q)
{
    return (int64_t)(LOAD_ACQUIRE(q->ring.published) - q->position) > 0 || LOAD_ACQUIRE(q->ring.flags);
}

/* Arm, then look again: a publish that missed the arming is seen here, one that did not will wake us. */
static int reader_arm(Reader *q, uint64_t bit)
{
    if (!(LOAD(q->ring.armed) & bit))
        atomic_fetch_or(q->ring.armed, bit);
    KILL_POINT("arm: armed");
    atomic_thread_fence(memory_order_seq_cst);
    return has_news(q);
}

static PyObject *Reader_arm(Reader *q, PyObject *argument)
{
    uint64_t bit;
    if (ring_check(&q->ring) < 0 || as_u64(argument, "bit", &bit) < 0)
        return NULL;
    if (!q->ring.table->writable) {
        PyErr_SetString(PyExc_PermissionError, "an observer cannot arm; it polls");
        return NULL;
    }
    return PyBool_FromLong(reader_arm(q, bit));
}

static int reader_sleep(Reader *q, int64_t deadline, int64_t spin_until)
{
    while (monotonic_ns() < spin_until)
        for (int i = 0; i < 16; i++) {
            if (has_news(q))
                return 0;
            cpu_relax();
        }
    if (!q->ring.table->writable || spin_until >= deadline)
        return has_news(q) ? 0 : ETIMEDOUT;
    uint32_t seen = atomic_load_explicit(q->ring.wakes, memory_order_acquire); /* before arming, see README */
    if (reader_arm(q, ARMED_FUTEX))
        return 0;
    return futex_wait_until(q->ring.wakes, seen, deadline);
}

/* Is there news, after one sleep of at most `timeout_ns`? 1 yes, 0 no, -1 an exception. */
static int reader_wait(Reader *q, int64_t timeout_ns, int64_t spin_ns)
{
    if (has_news(q) || timeout_ns <= 0)
        return has_news(q);
    int64_t now = monotonic_ns();
    if (spin_ns > timeout_ns)
        spin_ns = timeout_ns;
    int rc;
    ring_enter(&q->ring);
    Py_BEGIN_ALLOW_THREADS
    rc = reader_sleep(q, now + timeout_ns, now + spin_ns);
    Py_END_ALLOW_THREADS
    if (ring_leave(&q->ring) < 0 || (rc == EINTR && PyErr_CheckSignals() < 0))
        return -1;
    return has_news(q);
}

/* The timeout of a call that waits before it takes, seconds, as nanoseconds; checked against who may wait. */
static int as_timeout(Reader *q, PyObject *object, int64_t *timeout_ns)
{
    double seconds = PyFloat_AsDouble(object);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    *timeout_ns = !(seconds > 0) ? 0 : seconds > 1e6 ? (int64_t)1e15 : (int64_t)(seconds * 1e9);
    if (!*timeout_ns || q->ring.table->writable)
        return 0;
    PyErr_SetString(PyExc_PermissionError, "an observer cannot wait; it polls");
    return -1;
}

static PyObject *misfit(const char *what)
{
    PyErr_Format(SpecMismatch, "%s must be a writable C-contiguous array of the ring's dtype and item shape", what);
    return NULL;
}

/* A writable int64 buffer of at least `count` items, or none for None. 1 held, 0 none, -1 error. */
static int times_buffer(PyObject *object, uint64_t count, Py_buffer *view)
{
    if (!object || object == Py_None)
        return 0;
    if (PyObject_GetBuffer(object, view, PyBUF_ND | PyBUF_WRITABLE) < 0)
        return -1;
    if (view->itemsize == 8 && (uint64_t)view->len >= count * 8)
        return 1;
    PyBuffer_Release(view);
    PyErr_Format(PyExc_ValueError, "times must hold %llu int64", (unsigned long long)count);
    return -1;
}

/* read_into(out, times=None, timeout_s=0.0) -> int; the wait is here, so that nothing but this call lies between the
 * wake-up and the copy: after a sleep every line of Python is a cache miss */
static PyObject *Reader_read_into(Reader *q, PyObject *const *args, Py_ssize_t n)
{
    Py_buffer out, times = {0};
    uint64_t first;
    int64_t timeout_ns = 0;
    if (n < 1 || n > 3) {
        PyErr_SetString(PyExc_TypeError, "read_into(out, times=None, timeout_s=0.0)");
        return NULL;
    }
    if (ring_check(&q->ring) < 0 || (n > 2 && as_timeout(q, args[2], &timeout_ns) < 0))
        return NULL;
    int fits = ring_buffer(&q->ring, args[0], 1, 1, &out);
    if (fits <= 0)
        return fits < 0 ? NULL : misfit("out (k, *shape)");
    uint64_t most = (uint64_t)out.shape[0];
    most = most < q->ring.slots ? most : q->ring.slots;
    int timed = times_buffer(n > 1 ? args[1] : NULL, most, &times);
    int64_t count = -1;
    if (timed >= 0 && reader_wait(q, timeout_ns, q->spin_ns) >= 0)
        count = reader_drain(q, most, out.buf, timed ? times.buf : NULL, &first);
    if (timed > 0)
        PyBuffer_Release(&times);
    PyBuffer_Release(&out);
    return count < 0 ? NULL : PyLong_FromLongLong(count);
}

/* (data, sequence, time_ns) as Item or Blob, skipping the named tuple's own __new__, which is Python; takes over the
 * reference to data */
static PyObject *make_item(PyTypeObject *type, PyObject *data, uint64_t sequence, int64_t time_ns)
{
    PyObject *values = Py_BuildValue("((NKL))", data, (unsigned long long)sequence, (long long)time_ns);
    if (!values)
        return NULL;
    PyObject *item = new_tuple(type, values, NULL);
    Py_DECREF(values);
    return item;
}

/* _take(timeout_s) -> Item or None: the next by policy, in an array of its own */
static PyObject *Reader_take(Reader *q, PyObject *timeout)
{
    Py_buffer out;
    uint64_t first = 0;
    int64_t time_ns = 0, timeout_ns;
    if (ring_check(&q->ring) < 0 || as_timeout(q, timeout, &timeout_ns) < 0 || reader_wait(q, timeout_ns, q->spin_ns) < 0)
        return NULL;
    if ((int64_t)(LOAD_ACQUIRE(q->ring.published) - q->position) <= 0)
        Py_RETURN_NONE;
    PyObject *array = PyObject_CallFunctionObjArgs(numpy_empty, q->ring.shape_tuple, q->ring.dtype, NULL);
    if (!array)
        return NULL;
    int64_t count = -1;
    if (PyObject_GetBuffer(array, &out, PyBUF_SIMPLE | PyBUF_WRITABLE) == 0) {
        count = (uint64_t)out.len == q->ring.item_bytes ? reader_drain(q, 1, out.buf, &time_ns, &first) : -1;
        PyBuffer_Release(&out);
    }
    if (count > 0)
        return make_item(ItemType, array, first, time_ns);
    Py_DECREF(array);
    if (count < 0)
        return PyErr_Occurred() ? NULL : misfit("an item");
    Py_RETURN_NONE;
}

/* _take_blob(timeout_s) -> Blob or None */
static PyObject *Reader_take_blob(Reader *q, PyObject *timeout)
{
    Ring *r = &q->ring;
    uint64_t first;
    int64_t timeout_ns;
    if (ring_check(r) < 0 || as_timeout(q, timeout, &timeout_ns) < 0 || reader_wait(q, timeout_ns, q->spin_ns) < 0)
        return NULL;
    for (int attempt = 0; attempt < 8 && reader_begin(q, 1, &first); attempt++) {
        uint64_t length = r->lengths ? LOAD(r->lengths + first % r->times_slots) : r->item_bytes;
        if (length > r->item_bytes)
            length = r->item_bytes; /* clamped before use: it may be changing; validated after */
        int64_t time_ns = LOAD(r->times + first % r->times_slots);
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
        if (!bytes)
            return NULL;
        char *out = PyBytes_AsString(bytes);
        if (length < GIL_FREE_BYTES) {
            memcpy(out, ring_slot(r, first), length);
        } else {
            ring_enter(r);
            Py_BEGIN_ALLOW_THREADS
            memcpy(out, ring_slot(r, first), length);
            Py_END_ALLOW_THREADS
            if (ring_leave(r) < 0) {
                Py_DECREF(bytes);
                return NULL;
            }
        }
        uint64_t bad = reader_bad(q, first, 1);
        q->torn += bad;
        q->taken += 1 - bad;
        reader_advance(q, first + 1);
        if (!bad)
            return make_item(BlobType, bytes, first, time_ns);
        Py_DECREF(bytes);
    }
    Py_RETURN_NONE;
}

static int first_count(Reader *q, PyObject *const *args, uint64_t *first, uint64_t *count)
{
    if (ring_check(&q->ring) < 0 || as_u64(args[0], "first", first) < 0 || as_u64(args[1], "count", count) < 0)
        return -1;
    if (*count <= q->ring.slots)
        return 0;
    PyErr_Format(PyExc_ValueError, "a run of %llu items in a ring of %llu slots", (unsigned long long)*count,
                 (unsigned long long)q->ring.slots);
    return -1;
}

/* _bad(first, count) -> items of the run that are bad; nothing is counted */
static PyObject *Reader_bad(Reader *q, PyObject *const *args, Py_ssize_t n)
{
    uint64_t first, count;
    if (need(n, 2) < 0 || first_count(q, args, &first, &count) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(reader_bad(q, first, count));
}

/* _copy(first, count, out, times) -> bad; any retained run, nothing is counted */
static PyObject *Reader_copy(Reader *q, PyObject *const *args, Py_ssize_t n)
{
    Py_buffer out, times;
    uint64_t first, count;
    if (need(n, 4) < 0 || first_count(q, args, &first, &count) < 0)
        return NULL;
    int fits = ring_buffer(&q->ring, args[2], 1, 1, &out);
    if (fits <= 0)
        return fits < 0 ? NULL : misfit("out (k, *shape)");
    int64_t bad = -1;
    int timed = times_buffer(args[3], count, &times);
    if ((uint64_t)out.shape[0] < count)
        PyErr_Format(PyExc_ValueError, "out holds %zd items, expected at least %llu", out.shape[0],
                     (unsigned long long)count);
    else if (timed >= 0)
        bad = reader_copy(q, first, count, out.buf, timed ? times.buf : NULL);
    if (timed > 0)
        PyBuffer_Release(&times);
    PyBuffer_Release(&out);
    return bad < 0 ? NULL : PyLong_FromLongLong(bad);
}

/* sleep(timeout_ns, spin_ns) -> is there news; at most one sleep, so the caller looks around between sleeps */
static PyObject *Reader_sleep(Reader *q, PyObject *const *args, Py_ssize_t n)
{
    int64_t timeout_ns, spin_ns;
    if (need(n, 2) < 0 || ring_check(&q->ring) < 0 || as_i64(args[0], &timeout_ns) < 0 || as_i64(args[1], &spin_ns) < 0)
        return NULL;
    int news = reader_wait(q, timeout_ns, spin_ns);
    return news < 0 ? NULL : PyBool_FromLong(news);
}

/* _join(entry index, policy, "newest" | "oldest" | sequence) */
static PyObject *Reader_join(Reader *q, PyObject *const *args, Py_ssize_t n)
{
    Ring *r = &q->ring;
    uint64_t index, policy, wanted;
    if (need(n, 3) < 0 || ring_check(r) < 0 || as_u64(args[0], "index", &index) < 0 ||
        as_u64(args[1], "policy", &policy) < 0)
        return NULL;
    if (index >= r->capacity || !r->table->writable || policy > KEEP_ALL) {
        PyErr_SetString(PyExc_IndexError, "no such policy or entry in the reader table, or it is read-only");
        return NULL;
    }
    int named = PyUnicode_Check(args[2]);
    int oldest = named && PyUnicode_CompareWithASCIIString(args[2], "oldest") == 0;
    if (!named && as_u64(args[2], "start", &wanted) < 0)
        return NULL;
    if (named)
        wanted = oldest ? 0 : LOAD_ACQUIRE(r->published);
    q->entry = r->entries + index * r->entry_bytes;
    q->policy = (int)policy;
    q->fresh = oldest && q->policy != KEEP_ALL; /* a lossless reader's start is held from now on */
    reader_join(q, wanted);
    if (!named)
        q->lapped += q->position - wanted; /* asked for by number and gone: a loss */
    reader_store(q);
    Py_RETURN_NONE;
}

static PyObject *Reader_seek(Reader *q, PyObject *argument)
{
    uint64_t position;
    if (ring_check(&q->ring) < 0 || as_u64(argument, "sequence", &position) < 0)
        return NULL;
    if (q->entry && position < LOAD(own_word(q, q->ring.entry_position)))
        reader_seek_back(q, position);
    else
        reader_advance(q, position);
    Py_RETURN_NONE;
}

static PyObject *Reader_attach(Reader *q, PyObject *args)
{
    if (ring_attach(&q->ring, args) < 0)
        return NULL;
    q->policy = LOOK;
    q->entry = NULL;
    Py_RETURN_NONE;
}

static PyObject *Reader_detach(Reader *q, PyObject *Py_UNUSED(ignored))
{
    ring_close(&q->ring);
    if (!q->ring.away)
        q->entry = NULL;
    Py_RETURN_NONE;
}

static void Reader_dealloc(Reader *q)
{
    PyTypeObject *type = Py_TYPE((PyObject *)q);
    ring_clear(&q->ring);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(q);
    Py_DECREF(type);
}

static PyObject *Reader_published(Reader *q, void *Py_UNUSED(c)) { return word_getter(&q->ring, q->ring.published); }
static PyObject *Reader_claimed(Reader *q, void *Py_UNUSED(c)) { return word_getter(&q->ring, q->ring.claimed); }
static PyObject *Reader_oldest(Reader *q, void *Py_UNUSED(c))
{
    if (ring_check(&q->ring) < 0)
        return NULL;
    uint64_t published = LOAD_ACQUIRE(q->ring.published), oldest = ring_oldest(&q->ring, LOAD(q->ring.claimed));
    if (oldest > q->position && reader_holds(q, q->position))
        oldest = q->position;
    return PyLong_FromUnsignedLongLong(oldest < published ? oldest : published);
}
static PyObject *Reader_lag(Reader *q, void *Py_UNUSED(c))
{
    if (ring_check(&q->ring) < 0)
        return NULL;
    int64_t lag = (int64_t)(LOAD_ACQUIRE(q->ring.published) - q->position);
    return PyLong_FromLongLong(lag > 0 ? lag : 0);
}
static PyObject *Reader_news(Reader *q, void *Py_UNUSED(c))
{
    return ring_check(&q->ring) < 0 ? NULL : PyBool_FromLong(has_news(q));
}
static PyObject *Reader_demoted(Reader *q, void *Py_UNUSED(c))
{
    if (ring_check(&q->ring) < 0)
        return NULL;
    return PyBool_FromLong(q->entry && KIND(LOAD_ACQUIRE(own_word(q, q->ring.entry_state))) == DEMOTED);
}

static PyGetSetDef Reader_getset[] = {
    {"published", (getter)Reader_published, NULL, "items below this are whole", NULL},
    {"claimed", (getter)Reader_claimed, NULL, "items below this may be changing", NULL},
    {"oldest", (getter)Reader_oldest, NULL, "oldest sequence that is still retained", NULL},
    {"lag", (getter)Reader_lag, NULL, "published items that were not taken yet", NULL},
    {"has_news", (getter)Reader_news, NULL, "something to read, or the end", NULL},
    {"demoted", (getter)Reader_demoted, NULL, "a lossless reader that fell behind; losses are counted", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef Reader_members[] = {
    {"position", T_ULONGLONG, offsetof(Reader, position), READONLY, "sequence of the next item"},
    {"skipped", T_ULONGLONG, offsetof(Reader, skipped), READONLY, "items passed over by policy `latest`"},
    {"lapped", T_ULONGLONG, offsetof(Reader, lapped), READONLY, "items lost: overwritten before they were read"},
    {"torn", T_ULONGLONG, offsetof(Reader, torn), READONLY, "items overwritten during use, never returned as good"},
    {"_spin_ns", T_LONGLONG, offsetof(Reader, spin_ns), 0, "how long calls that wait spin before they sleep"},
    {"taken", T_ULONGLONG, offsetof(Reader, taken), READONLY, "items read and good"},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *Reader_view(Reader *q, PyObject *const *args, Py_ssize_t n, PyObject *names); /* _view.h */

static PyMethodDef Reader_methods[] = {
    {"read_into", FAST(Reader_read_into), METH_FASTCALL,
     "read_into(out, times=None, timeout_s=0.0) -> int\n\n"
     "Copy new items into ``out`` (k, *shape) and return how many; 0 if there is nothing new.\n\n"
     "With ``timeout_s`` it sleeps once until something is published, the ring ends, or the timeout, on the ring's\n"
     "futex whatever the reader's waiter: the shortest way from a publication to the items. May return 0 early.\n\n"
     "They are the next by policy and were validated after copying: the last of them is ``position - 1``.\n"
     "``times``, int64, gets their times."},
    {"sleep", FAST(Reader_sleep), METH_FASTCALL,
     "sleep(timeout_ns, spin_ns) -> bool\n\n"
     "Spin, then sleep on the ring's futex, at most once; True if there is something to read, or the end."},
    {"view", FAST(Reader_view), METH_FASTCALL | METH_KEYWORDS,
     "view(max_items=None, *, at=None) -> View\n\n"
     "Look at items where they are: ``with reader.view() as run``.\n\n"
     "The memory is read-only and may be overwritten while you look (never, for a lossless reader whose writer waits):\n"
     "leaving the block validates. Without `at` it takes the next run by policy, moves on, and what was overwritten is\n"
     "counted as torn and `run.good` is False. With `at` it looks at `max_items` (1) retained items from there, moves\n"
     "and counts nothing, and raises OverrunError if they are gone already or were overwritten during use.\n\n"
     "``max_items`` None: all that is new, one by policy `latest`. One moving view at a time: BusyError."},
    {"_attach", (PyCFunction)Reader_attach, METH_VARARGS, "_attach(geometry, *sections, dtype, shape, laps, lap_times)"},
    {"_detach", (PyCFunction)Reader_detach, METH_NOARGS, "_detach()"},
    {"_join", FAST(Reader_join), METH_FASTCALL, "_join(index, policy, start)"},
    {"_seek", (PyCFunction)Reader_seek, METH_O, "_seek(sequence)"},
    {"_take", (PyCFunction)Reader_take, METH_O, "_take(timeout_s) -> Item | None"},
    {"_take_blob", (PyCFunction)Reader_take_blob, METH_O, "_take_blob(timeout_s) -> Blob | None"},
    {"_bad", FAST(Reader_bad), METH_FASTCALL, "_bad(first, count) -> bad"},
    {"_copy", FAST(Reader_copy), METH_FASTCALL, "_copy(first, count, out, times | None) -> bad"},
    {"_arm", (PyCFunction)Reader_arm, METH_O, "_arm(bit) -> is there news already"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Reader_slots[] = {
    {Py_tp_doc, (void *)"The reading end of a ring; shm.RingReader, BlobReader and RingObserver complete it."},
    {Py_tp_dealloc, (void *)Reader_dealloc},
    {Py_tp_methods, Reader_methods},
    {Py_tp_members, Reader_members},
    {Py_tp_getset, Reader_getset},
    {0, NULL},
};

static PyType_Spec Reader_spec = {
    .name = "shm._native.Reader",
    .basicsize = sizeof(Reader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = Reader_slots,
};

#endif
