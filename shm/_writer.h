/* Writer: claim, fill, publish, and the gate that lossless readers put before a claim. */
#ifndef SHM_WRITER_H
#define SHM_WRITER_H
#include "_ring.h"
#include "_stream.h"

typedef struct {
    PyObject_HEAD
    Ring ring;
    uint64_t start, count; /* of the open claim */
    uint64_t limit;        /* no claim may pass this: slowest lossless reader + slots */
    uint64_t version;      /* of the reader table when limit was computed */
    int64_t entry_ns;      /* when the open claim was made */
    int open;              /* one claim at a time */
} Writer;

/* Recompute the limit; 1 if a claim up to `upto` is free to go. The version is read first: a reader that joins
 * during the scan raises it afterwards and is seen by the re-check in writer_claim. */
static int writer_scan(Writer *w, uint64_t upto)
{
    Ring *r = &w->ring;
    uint64_t version = LOAD_ACQUIRE(r->table_version);
    uint64_t slowest = NEVER;
    for (uint64_t i = 0; i < r->capacity; i++) {
        if (KIND(LOAD_ACQUIRE(entry_word(r, i, r->entry_state))) != LOSSLESS)
            continue;
        /* acquire: the reader's use of the bytes happens before our overwriting them */
        uint64_t position = LOAD_ACQUIRE(entry_word(r, i, r->entry_position));
        if (position < slowest)
            slowest = position;
    }
    w->version = version;
    w->limit = slowest == NEVER ? NEVER : slowest + r->slots;
    return upto <= w->limit;
}

/* Wait, reap or demote in Python until the gate is open. */
static int writer_make_room(Writer *w, uint64_t upto)
{
    if (writer_scan(w, upto))
        return 0;
    PyObject *number = PyLong_FromUnsignedLongLong(upto);
    if (!number)
        return -1;
    PyObject *result = PyObject_CallMethodObjArgs((PyObject *)w, str_make_room, number, NULL);
    Py_DECREF(number);
    Py_XDECREF(result);
    return result ? ring_check(&w->ring) : -1;
}

static int writer_begin(Writer *w, uint64_t n, uint64_t *upto)
{
    Ring *r = &w->ring;
    if (ring_check(r) < 0)
        return -1;
    if (w->open) {
        PyErr_SetString(BusyError, "a claim is open; publish or leave it before the next (one writer, one claim)");
        return -1;
    }
    if (n < 1 || n > r->slots) {
        PyErr_Format(PyExc_ValueError, "cannot claim %llu items: expected 1 .. %llu, the ring's slots",
                     (unsigned long long)n, (unsigned long long)r->slots);
        return -1;
    }
    w->start = LOAD(r->published);
    if (w->start > LAST_SEQUENCE - n) {
        PyErr_Format(ExhaustedError, "sequence %llu: rings end at 2**63; create the ring anew",
                     (unsigned long long)w->start);
        return -1;
    }
    *upto = w->start + n;
    return 0;
}

static int writer_claim(Writer *w, uint64_t n)
{
    Ring *r = &w->ring;
    uint64_t upto;
    if (writer_begin(w, n, &upto) < 0)
        return -1;
    w->open = 1; /* also while waiting: another thread gets BusyError, not half a claim */
    w->count = n;
    w->entry_ns = monotonic_ns();
    if (w->version != LOAD_ACQUIRE(r->table_version) || upto > w->limit)
        if (writer_make_room(w, upto) < 0)
            goto failed;
    KILL_POINT("claim: gate open");
    if (LOAD(r->claimed) < upto)
        STORE(r->claimed, upto); /* never decreases: an aborted claim's bytes stay suspect */
    for (;;) {
        KILL_POINT("claim: claimed");
        /* I1: the intent before the bytes. Sequentially consistent, where release would do for plain stores and no
         * readers that join: streaming stores overtake a release fence even on x86, and a joining reader does the
         * mirror image (raise table_version, fence, load claimed), so that at least one of the two sees the other. */
        atomic_thread_fence(memory_order_seq_cst);
        if (LOAD(r->table_version) == w->version)
            return 0;
        if (writer_make_room(w, upto) < 0)
            goto failed;
    }
failed:
    w->open = 0;
    return -1;
}

/* Somebody sleeps: wake the futex, call the notifier. */
static int writer_wake(Writer *w)
{
    Ring *r = &w->ring;
    uint64_t armed = atomic_exchange(r->armed, 0);
    KILL_POINT("wake: disarmed");
    if (armed & ARMED_FUTEX) {
        atomic_fetch_add(r->wakes, 1);
        KILL_POINT("wake: counted");
        futex_wake_all(r->wakes);
        KILL_POINT("wake: woken");
    }
    if (armed & ARMED_NOTICE) {
        PyObject *sequence = PyLong_FromUnsignedLongLong(LOAD(r->published));
        if (!sequence)
            return -1;
        PyObject *result = PyObject_CallMethodObjArgs((PyObject *)w, str_notify, sequence, NULL);
        Py_DECREF(sequence);
        Py_XDECREF(result);
        return result ? 0 : -1;
    }
    return 0;
}

static int writer_publish(Writer *w, uint64_t k, int64_t time_ns, int64_t period_ns)
{
    Ring *r = &w->ring;
    instant *times = r->times + w->start % r->times_slots; /* mapped twice: a run never wraps */
    for (uint64_t i = 0; i < k; i++)
        STORE(times + i, time_ns + (int64_t)i * period_ns);
    KILL_POINT("publish: times");
    w->open = 0;
    if (!k)
        return 0;
    STORE_RELEASE(r->published, w->start + k); /* I2: after the bytes and the times */
    KILL_POINT("publish: published");
    /* published before armed is read; the waiter arms before it re-reads published: one of the two sees the other */
    atomic_thread_fence(memory_order_seq_cst);
    return LOAD(r->armed) ? writer_wake(w) : 0;
}

static void ring_fill(Ring *r, uint64_t start, uint64_t n, const char *source)
{
    char *slot = ring_slot(r, start);
    if (r->stride == r->item_bytes)
        ring_copy_in(r, slot, source, n * r->item_bytes);
    else
        for (uint64_t i = 0; i < n; i++)
            ring_copy_in(r, slot + i * r->stride, source + i * r->item_bytes, r->item_bytes);
    KILL_POINT("fill: filled");
}

static int ring_fill_unlocked(Ring *r, uint64_t start, uint64_t n, const char *source)
{
    if (n * r->item_bytes < GIL_FREE_BYTES) {
        ring_fill(r, start, n, source);
        return 0;
    }
    ring_enter(r);
    Py_BEGIN_ALLOW_THREADS
    ring_fill(r, start, n, source);
    Py_END_ALLOW_THREADS
    return ring_leave(r);
}

/* Hold the bytes of `item`; an item that is no matching contiguous array goes through Python's _coerce once. */
static int writer_source(Writer *w, PyObject *item, int leading, Py_buffer *view)
{
    if (ring_check(&w->ring) < 0)
        return -1;
    int fits = ring_buffer(&w->ring, item, leading, 0, view);
    if (fits)
        return fits < 0 ? -1 : 0;
    PyObject *array = PyObject_CallMethodObjArgs((PyObject *)w, leading ? str_coerce_block : str_coerce, item, NULL);
    if (!array)
        return -1;
    fits = ring_buffer(&w->ring, array, leading, 0, view);
    Py_DECREF(array); /* the view holds it */
    if (fits > 0)
        return 0;
    if (!fits)
        PyErr_SetString(SpecMismatch, "the item cannot be brought into the ring's dtype and shape");
    return -1;
}

static PyObject *Writer_write(Writer *w, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const known[] = {"item", "time_ns"};
    PyObject *given[2] = {NULL, NULL};
    Py_buffer view;
    int64_t time_ns;
    if (parse_arguments("write", args, n, names, 2, 1, known, given) < 0 || time_or(given[1], 0, &time_ns) < 0)
        return NULL;
    if (writer_source(w, given[0], 0, &view) < 0)
        return NULL;
    if (writer_claim(w, 1) < 0) {
        PyBuffer_Release(&view);
        return NULL;
    }
    if (!given[1] || given[1] == Py_None)
        time_ns = w->entry_ns;
    uint64_t start = w->start;
    int failed = ring_fill_unlocked(&w->ring, start, 1, view.buf);
    PyBuffer_Release(&view);
    if (failed || writer_publish(w, 1, time_ns, 0) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(start);
}

/* A block longer than half a ring goes in runs of half a ring, so that readers keep up while it is written. */
static int write_runs(Writer *w, const char *source, uint64_t total, PyObject *time, int64_t period_ns, uint64_t *first)
{
    Ring *r = &w->ring;
    uint64_t most = r->slots > 1 ? r->slots / 2 : 1;
    int64_t time_ns = 0, done_ns = 0;
    if (time_or(time, 0, &time_ns) < 0)
        return -1;
    for (uint64_t done = 0; done < total;) {
        uint64_t n = total - done < most ? total - done : most;
        if (writer_claim(w, n) < 0)
            return -1;
        if (!done) {
            *first = w->start;
            if (!time || time == Py_None)
                time_ns = w->entry_ns;
        }
        if (ring_fill_unlocked(r, w->start, n, source + done * r->item_bytes) < 0)
            return -1;
        done_ns = time_ns + (int64_t)done * period_ns;
        if (writer_publish(w, n, done_ns, period_ns) < 0)
            return -1;
        done += n;
    }
    return 0;
}

static PyObject *Writer_write_block(Writer *w, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    static const char *const known[] = {"items", "time_ns", "period_ns"};
    PyObject *given[3] = {NULL, NULL, NULL};
    Py_buffer view;
    int64_t period_ns;
    if (parse_arguments("write_block", args, n, names, 3, 1, known, given) < 0 || time_or(given[2], 0, &period_ns) < 0)
        return NULL;
    if (writer_source(w, given[0], 1, &view) < 0)
        return NULL;
    uint64_t first = LOAD(w->ring.published);
    int failed = write_runs(w, view.buf, (uint64_t)view.shape[0], given[1], period_ns, &first);
    PyBuffer_Release(&view);
    return failed < 0 ? NULL : PyLong_FromUnsignedLongLong(first);
}

static PyObject *Writer_claim_(Writer *w, PyObject *argument)
{
    uint64_t n;
    if (as_u64(argument, "n", &n) < 0 || writer_claim(w, n) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(w->start);
}

/* _abort(start): end the claim that began there, publish nothing */
static PyObject *Writer_abort(Writer *w, PyObject *argument)
{
    uint64_t start;
    if (as_u64(argument, "start", &start) < 0)
        return NULL;
    if (w->open && start == w->start)
        w->open = 0;
    Py_RETURN_NONE;
}

static int blob_length(Ring *r, uint64_t length)
{
    if (!r->lengths) {
        PyErr_SetString(SpecMismatch, "not a blob ring: its items have no lengths");
        return -1;
    }
    if (length <= r->item_bytes)
        return 0;
    PyErr_Format(PyExc_ValueError, "a blob of %llu bytes does not fit: max_bytes=%llu", (unsigned long long)length,
                 (unsigned long long)r->item_bytes);
    return -1;
}

/* _publish_blob(start, length, time_ns) */
static PyObject *Writer_publish_blob(Writer *w, PyObject *const *args, Py_ssize_t n)
{
    uint64_t start, length;
    int64_t time_ns;
    if (need(n, 3) < 0 || ring_check(&w->ring) < 0 || as_u64(args[0], "start", &start) < 0 ||
        as_u64(args[1], "length", &length) < 0 || time_or(args[2], w->entry_ns, &time_ns) < 0 ||
        blob_length(&w->ring, length) < 0)
        return NULL;
    if (!w->open || start != w->start) {
        PyErr_SetString(ClosedError, "this claim was published or left already; claim again");
        return NULL;
    }
    STORE(w->ring.lengths + start % w->ring.times_slots, length);
    if (writer_publish(w, 1, time_ns, 0) < 0)
        return NULL;
    Py_RETURN_NONE;
}

#define MOST_PARTS 64

static void copy_parts(const Ring *r, char *slot, Py_buffer *views, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        ring_copy_in(r, slot, views[i].buf, (size_t)views[i].len);
        slot += views[i].len;
        KILL_POINT("fill: a part");
    }
}

static PyObject *write_views(Writer *w, Py_buffer *views, Py_ssize_t n, PyObject *time)
{
    Ring *r = &w->ring;
    uint64_t length = 0;
    int64_t time_ns;
    for (Py_ssize_t i = 0; i < n; i++)
        length += (uint64_t)views[i].len;
    if (time_or(time, 0, &time_ns) < 0 || blob_length(r, length) < 0 || writer_claim(w, 1) < 0)
        return NULL;
    uint64_t start = w->start;
    if (time == Py_None)
        time_ns = w->entry_ns;
    if (length < GIL_FREE_BYTES) {
        copy_parts(r, ring_slot(r, start), views, n);
    } else {
        ring_enter(r);
        Py_BEGIN_ALLOW_THREADS
        copy_parts(r, ring_slot(r, start), views, n);
        Py_END_ALLOW_THREADS
        if (ring_leave(r) < 0)
            return NULL;
    }
    STORE(r->lengths + start % r->times_slots, length);
    return writer_publish(w, 1, time_ns, 0) < 0 ? NULL : PyLong_FromUnsignedLongLong(start);
}

/* _write_parts(parts, time_ns) */
static PyObject *Writer_write_parts(Writer *w, PyObject *const *args, Py_ssize_t n)
{
    Py_buffer views[MOST_PARTS];
    PyObject *result = NULL;
    if (need(n, 2) < 0 || ring_check(&w->ring) < 0)
        return NULL;
    Py_ssize_t parts = PyTuple_Size(args[0]), held = 0;
    if (parts < 0)
        return NULL;
    if (parts > MOST_PARTS) {
        PyErr_Format(PyExc_ValueError, "a blob of %zd parts: at most %d; join them first", parts, MOST_PARTS);
        return NULL;
    }
    while (held < parts && PyObject_GetBuffer(PyTuple_GetItem(args[0], held), &views[held], PyBUF_SIMPLE) == 0)
        held++;
    if (held == parts)
        result = write_views(w, views, parts, args[1]);
    while (held > 0)
        PyBuffer_Release(&views[--held]);
    return result;
}

static PyObject *Writer_scan_(Writer *w, PyObject *argument)
{
    uint64_t upto;
    if (ring_check(&w->ring) < 0 || as_u64(argument, "upto", &upto) < 0)
        return NULL;
    return PyBool_FromLong(writer_scan(w, upto));
}

/* Sleep until the gate opens for `upto`, the deadline, or a signal. `wanted` tells readers when waking us is worth
 * it: a quarter ring further than needed, so that one wake-up buys many items. */
static int wait_room(Writer *w, uint64_t upto, int64_t deadline, int64_t spin_until)
{
    Ring *r = &w->ring;
    uint64_t target = upto - r->slots + r->slots / 4, published = LOAD(r->published);
    if (target > published)
        target = published;
    do {
        if (writer_scan(w, upto))
            return 0;
        for (int i = 0; i < 32; i++)
            cpu_relax();
    } while (monotonic_ns() < spin_until);
    uint32_t seen = atomic_load_explicit(r->rooms, memory_order_acquire);
    atomic_store(r->wanted, target);
    KILL_POINT("room: wanted");
    atomic_thread_fence(memory_order_seq_cst); /* as publish and arm: the reader stores its position, then looks */
    int rc = writer_scan(w, upto) ? 0 : futex_wait_until(r->rooms, seen, deadline);
    atomic_store(r->wanted, NEVER);
    KILL_POINT("room: no longer wanted");
    return rc;
}

/* _wait_room(upto, timeout_ns, spin_ns) -> bool */
static PyObject *Writer_wait_room(Writer *w, PyObject *const *args, Py_ssize_t n)
{
    uint64_t upto;
    int64_t timeout_ns, spin_ns, now = monotonic_ns();
    if (need(n, 3) < 0 || ring_check(&w->ring) < 0 || as_u64(args[0], "upto", &upto) < 0 ||
        as_i64(args[1], &timeout_ns) < 0 || as_i64(args[2], &spin_ns) < 0)
        return NULL;
    int rc;
    ring_enter(&w->ring);
    Py_BEGIN_ALLOW_THREADS
    rc = wait_room(w, upto, now + timeout_ns, now + spin_ns);
    Py_END_ALLOW_THREADS
    if (ring_leave(&w->ring) < 0)
        return NULL;
    if (rc == EINTR && PyErr_CheckSignals() < 0)
        return NULL;
    return PyBool_FromLong(writer_scan(w, upto));
}

static PyObject *Writer_attach(Writer *w, PyObject *args)
{
    if (ring_attach(&w->ring, args) < 0)
        return NULL;
    Ring *r = &w->ring;
    if (!r->words->writable || !r->table->writable || !r->data_map->writable || !r->times_map->writable) {
        ring_clear(r);
        PyErr_SetString(PyExc_PermissionError, "a writer needs every section writable");
        return NULL;
    }
    w->open = 0;
    w->limit = 0; /* the first claim scans */
    w->version = NEVER;
    Py_BEGIN_ALLOW_THREADS
    ring_choose_copy(r);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *Writer_detach(Writer *w, PyObject *Py_UNUSED(ignored))
{
    w->open = 0;
    ring_close(&w->ring);
    Py_RETURN_NONE;
}

static void Writer_dealloc(Writer *w)
{
    PyTypeObject *type = Py_TYPE((PyObject *)w);
    ring_clear(&w->ring);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(w);
    Py_DECREF(type);
}

static PyObject *Writer_published(Writer *w, void *Py_UNUSED(c)) { return word_getter(&w->ring, w->ring.published); }
static PyObject *Writer_claimed(Writer *w, void *Py_UNUSED(c)) { return word_getter(&w->ring, w->ring.claimed); }
static PyObject *Writer_streams(Writer *w, void *Py_UNUSED(c)) { return PyBool_FromLong(w->ring.streams); }

static PyGetSetDef Writer_getset[] = {
    {"published", (getter)Writer_published, NULL, "items below this are whole", NULL},
    {"claimed", (getter)Writer_claimed, NULL, "items below this may be changing", NULL},
    {"streams", (getter)Writer_streams, NULL, "items are written past the cache, measured to be faster here", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *Writer_claim(Writer *w, PyObject *const *args, Py_ssize_t n, PyObject *names); /* _claim.h */

static PyMethodDef Writer_methods[] = {
    {"write", FAST(Writer_write), METH_FASTCALL | METH_KEYWORDS,
     "write(item, time_ns=None) -> int\n\n"
     "Copy one item into the ring, publish it and return its sequence.\n\n"
     "``item`` has the ring's shape and dtype; ``time_ns`` is CLOCK_MONOTONIC, now if None. Waits only for lossless\n"
     "readers of a ring that can wait. Other threads run during copies of 64 KiB and more."},
    {"write_block", FAST(Writer_write_block), METH_FASTCALL | METH_KEYWORDS,
     "write_block(items, time_ns=None, period_ns=0) -> int\n\n"
     "Copy ``items`` (k, *shape) into the ring and return the sequence of the first.\n\n"
     "Item i gets the time ``time_ns + i * period_ns``. A block longer than half the ring is published in parts."},
    {"claim", FAST(Writer_claim), METH_FASTCALL | METH_KEYWORDS,
     "claim(n=None) -> Claim\n\n"
     "Slots to fill in place: ``with ring.claim() as item`` for one item, ``with ring.claim(n) as run`` for (n, *shape).\n\n"
     "Leaving the block publishes all of them with the time of entry; an exception publishes nothing; ``publish(k)`` on\n"
     "the claim, inside the block, publishes a prefix with times of its own."},
    {"_attach", (PyCFunction)Writer_attach, METH_VARARGS, "_attach(geometry, *sections, dtype, shape, laps, lap_times)"},
    {"_detach", (PyCFunction)Writer_detach, METH_NOARGS, "_detach()"},
    {"_claim", (PyCFunction)Writer_claim_, METH_O, "_claim(n) -> sequence of the first"},
    {"_abort", (PyCFunction)Writer_abort, METH_O, "_abort(start)"},
    {"_publish_blob", FAST(Writer_publish_blob), METH_FASTCALL, "_publish_blob(start, length, time_ns)"},
    {"_write_parts", FAST(Writer_write_parts), METH_FASTCALL, "_write_parts(parts, time_ns) -> sequence"},
    {"_scan", (PyCFunction)Writer_scan_, METH_O, "_scan(upto) -> is the gate open"},
    {"_wait_room", FAST(Writer_wait_room), METH_FASTCALL, "_wait_room(upto, timeout_ns, spin_ns) -> is the gate open"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Writer_slots[] = {
    {Py_tp_doc, (void *)"The writing end of a ring; shm.RingWriter and shm.BlobWriter complete it."},
    {Py_tp_dealloc, (void *)Writer_dealloc},
    {Py_tp_methods, Writer_methods},
    {Py_tp_getset, Writer_getset},
    {0, NULL},
};

static PyType_Spec Writer_spec = {
    .name = "shm._native.Writer",
    .basicsize = sizeof(Writer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = Writer_slots,
};

#endif
