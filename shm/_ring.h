/* What both ends of a ring know: where its words, slots and times are. Offsets come from shm/layout.py. */
#ifndef SHM_RING_H
#define SHM_RING_H
#include "_mapping.h"

enum { FREE = 0, JOINING = 1, ACTIVE = 2, LOSSLESS = 3, DEMOTED = 4 }; /* low byte of an entry's state word */
enum { ARMED_FUTEX = 1, ARMED_NOTICE = 2 };                            /* bits of the armed word */
#define KIND(state) ((int)((state) & 0xff))

typedef struct {
    Mapping *words, *table, *times_map, *lengths_map, *data_map; /* strong; lengths_map may be NULL */
    word *claimed, *published, *flags;
    word *table_version, *armed, *wanted;
    half *wakes, *rooms;
    char *entries;
    uint64_t entry_bytes, capacity, entry_state, entry_demotions;
    uint64_t entry_position, entry_skipped, entry_lapped, entry_torn, entry_taken;
    char *data;
    instant *times;
    word *lengths; /* NULL unless a blob ring */
    uint64_t slots, item_bytes, stride, times_slots, first;
    PyObject *dtype;              /* strong; None for blobs */
    PyObject *shape_tuple;        /* strong */
    PyObject *laps, *lap_times;   /* strong; numpy arrays over two laps of the data and of the times */
    PyObject *item_views, *run_views; /* strong; lists of views already made, by slot */
    int ndim;
    Py_ssize_t shape[32];
    int ready; /* attached and not closed */
    int streams; /* large items are written past the cache; see _stream.h */
    int away;  /* calls that run without the GIL: closing waits for the last of them */
} Ring;

static int geometry(PyObject *dict, const char *name, uint64_t *out)
{
    PyObject *value = PyDict_GetItemString(dict, name); /* borrowed */
    if (!value) {
        PyErr_Format(PyExc_KeyError, "geometry lacks %s", name);
        return -1;
    }
    return as_u64(value, name, out);
}

/* The address of `bytes` bytes at the offset that `name` gives, checked against the section. */
static void *place(PyObject *dict, const char *name, Mapping *section, uint64_t bytes)
{
    uint64_t offset;
    if (geometry(dict, name, &offset) < 0)
        return NULL;
    if (offset % 8 || offset > section->span || section->span - offset < bytes) {
        PyErr_Format(PyExc_ValueError, "%s at %llu lies outside its section of %zu bytes", name,
                     (unsigned long long)offset, section->span);
        return NULL;
    }
    return section->base + offset;
}

static int check_span(Mapping *section, const char *what, uint64_t items, uint64_t bytes)
{
    if (section->span == items * bytes && section->length == 2 * section->span)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s: mapped %zu bytes in %zu, expected %llu mapped twice", what, section->length,
                 section->span, (unsigned long long)(items * bytes));
    return -1;
}

static int ring_places(Ring *r, PyObject *g)
{
#define PLACE(field, name, section, bytes) \
    if (!(r->field = place(g, name, section, bytes))) return -1
#define NUMBER(field) \
    if (geometry(g, #field, &r->field) < 0) return -1
    PLACE(claimed, "claimed", r->words, 8);
    PLACE(published, "published", r->words, 8);
    PLACE(flags, "flags", r->words, 8);
    PLACE(table_version, "table_version", r->table, 8);
    PLACE(armed, "armed", r->table, 8);
    PLACE(wakes, "wakes", r->table, 8);
    PLACE(wanted, "wanted", r->table, 8);
    PLACE(rooms, "rooms", r->table, 8);
    NUMBER(entry_bytes); NUMBER(capacity); NUMBER(entry_state); NUMBER(entry_demotions); NUMBER(entry_position);
    NUMBER(entry_skipped); NUMBER(entry_lapped); NUMBER(entry_torn); NUMBER(entry_taken);
    NUMBER(slots); NUMBER(item_bytes); NUMBER(stride); NUMBER(times_slots); NUMBER(first);
    PLACE(entries, "entries", r->table, r->entry_bytes * r->capacity);
#undef PLACE
#undef NUMBER
    uint64_t words_of_entry[] = {r->entry_state, r->entry_demotions, r->entry_position, r->entry_skipped,
                                 r->entry_lapped, r->entry_torn, r->entry_taken};
    for (size_t i = 0; i < sizeof words_of_entry / sizeof *words_of_entry; i++)
        if (words_of_entry[i] % 8 || words_of_entry[i] + 8 > r->entry_bytes || r->entry_bytes % 64) {
            PyErr_SetString(PyExc_ValueError, "a word of the reader table lies outside its entry");
            return -1;
        }
    return 0;
}

static int ring_sizes(Ring *r)
{
    if (!r->slots || !r->item_bytes || r->stride < r->item_bytes || r->times_slots < r->slots) {
        PyErr_SetString(PyExc_ValueError, "slots, item_bytes, stride and times_slots do not fit together");
        return -1;
    }
    if (check_span(r->data_map, "data", r->slots, r->stride) < 0 ||
        check_span(r->times_map, "times", r->times_slots, 8) < 0)
        return -1;
    if (r->lengths_map && check_span(r->lengths_map, "lengths", r->times_slots, 8) < 0)
        return -1;
    r->data = r->data_map->base;
    r->times = (instant *)r->times_map->base;
    r->lengths = r->lengths_map ? (word *)r->lengths_map->base : NULL;
    return 0;
}

static int ring_shape(Ring *r, PyObject *shape)
{
    Py_ssize_t n = PyTuple_Size(shape);
    if (n < 0 || n > 31) {
        if (n > 31)
            PyErr_SetString(PyExc_ValueError, "an item has at most 31 dimensions");
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        r->shape[i] = PyLong_AsSsize_t(PyTuple_GetItem(shape, i));
        if (r->shape[i] == -1 && PyErr_Occurred())
            return -1;
    }
    r->ndim = (int)n;
    return 0;
}

static void ring_clear(Ring *r)
{
    r->ready = 0;
    Py_CLEAR(r->words);
    Py_CLEAR(r->table);
    Py_CLEAR(r->times_map);
    Py_CLEAR(r->lengths_map);
    Py_CLEAR(r->data_map);
    Py_CLEAR(r->dtype);
    Py_CLEAR(r->shape_tuple);
    Py_CLEAR(r->laps);
    Py_CLEAR(r->lap_times);
    Py_CLEAR(r->item_views);
    Py_CLEAR(r->run_views);
}

/* Lists for views of single items; making a view costs as much as copying a kilobyte. */
static PyObject *view_list(uint64_t slots)
{
    Py_ssize_t n = slots < CACHED_VIEWS ? (Py_ssize_t)slots : CACHED_VIEWS;
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list && i < n; i++)
        PyList_SetItem(list, i, Py_NewRef(Py_None));
    return list;
}

/* attach(geometry, words, table, times, lengths | None, data, dtype | None, shape, laps, lap_times) */
static int ring_attach(Ring *r, PyObject *args)
{
    PyObject *g, *words, *table, *times, *lengths, *data, *dtype, *shape, *laps, *lap_times;
    if (!PyArg_ParseTuple(args, "O!O!O!O!OO!OO!OO", &PyDict_Type, &g, MappingType, &words, MappingType, &table,
                          MappingType, &times, &lengths, MappingType, &data, &dtype, &PyTuple_Type, &shape,
                          &laps, &lap_times))
        return -1;
    if (lengths != Py_None && !PyObject_TypeCheck(lengths, MappingType)) {
        PyErr_SetString(PyExc_TypeError, "lengths must be a Mapping or None");
        return -1;
    }
    if (r->ready || r->words) {
        PyErr_SetString(BusyError, "this end is attached already");
        return -1;
    }
    r->words = (Mapping *)Py_NewRef(words);
    r->table = (Mapping *)Py_NewRef(table);
    r->times_map = (Mapping *)Py_NewRef(times);
    r->lengths_map = lengths == Py_None ? NULL : (Mapping *)Py_NewRef(lengths);
    r->data_map = (Mapping *)Py_NewRef(data);
    r->dtype = Py_NewRef(dtype);
    r->shape_tuple = Py_NewRef(shape);
    r->laps = Py_NewRef(laps);
    r->lap_times = Py_NewRef(lap_times);
    if (ring_places(r, g) < 0 || ring_sizes(r) < 0 || ring_shape(r, shape) < 0 ||
        !(r->item_views = view_list(r->slots)) || !(r->run_views = view_list(r->slots))) {
        ring_clear(r);
        return -1;
    }
    r->ready = 1;
    return 0;
}

static int ring_check(Ring *r)
{
    if (r->ready)
        return 0;
    PyErr_SetString(ClosedError, "this end of the ring is closed; keep it open as long as it is used");
    return -1;
}

/* Around code without the GIL: another thread may close this end meanwhile, and the memory must stay until we return. */
static void ring_enter(Ring *r)
{
    r->away++;
}

static int ring_leave(Ring *r)
{
    if (--r->away == 0 && !r->ready)
        ring_clear(r);
    return ring_check(r);
}

static void ring_close(Ring *r)
{
    r->ready = 0;
    if (!r->away)
        ring_clear(r);
}

static inline char *ring_slot(Ring *r, uint64_t sequence)
{
    return r->data + (sequence % r->slots) * r->stride;
}

static inline word *entry_word(Ring *r, uint64_t index, uint64_t offset)
{
    return (word *)(r->entries + index * r->entry_bytes + offset);
}

/* Sequences that may still be read: everything below published that no claim has reached. */
static inline uint64_t ring_oldest(Ring *r, uint64_t claimed)
{
    uint64_t oldest = claimed > r->slots ? claimed - r->slots : 0;
    return oldest > r->first ? oldest : r->first;
}

/* array[start : start + count] */
static PyObject *array_slice(PyObject *array, uint64_t start, uint64_t count)
{
    PyObject *from = PyLong_FromUnsignedLongLong(start), *to = PyLong_FromUnsignedLongLong(start + count);
    PyObject *slice = from && to ? PySlice_New(from, to, NULL) : NULL;
    PyObject *view = slice ? PyObject_GetItem(array, slice) : NULL;
    Py_XDECREF(from);
    Py_XDECREF(to);
    Py_XDECREF(slice);
    return view;
}

/* array[index, ...]: an array even if the item is 0-d */
static PyObject *array_item(PyObject *array, uint64_t index)
{
    PyObject *key = Py_BuildValue("(KO)", (unsigned long long)index, Py_Ellipsis);
    PyObject *view = key ? PyObject_GetItem(array, key) : NULL;
    Py_XDECREF(key);
    return view;
}

/* A view of items: of one item alone if `single`, else (count, *shape). Views of one item are made once per slot. */
static PyObject *ring_view(Ring *r, uint64_t sequence, uint64_t count, int single)
{
    uint64_t index = sequence % r->slots;
    PyObject *cache = single ? r->item_views : r->run_views;
    int cached = count == 1 && index < CACHED_VIEWS;
    if (cached) {
        PyObject *known = PyList_GetItem(cache, (Py_ssize_t)index); /* borrowed */
        if (known != Py_None)
            return Py_XNewRef(known);
    }
    PyObject *view = single ? array_item(r->laps, index) : array_slice(r->laps, index, count);
    if (view && cached)
        PyList_SetItem(cache, (Py_ssize_t)index, Py_NewRef(view));
    return view;
}

/* Does an array have the ring's dtype? Identity first: numpy's own dtypes are singletons. */
static int ring_dtype_fits(Ring *r, PyObject *item)
{
    PyObject *dtype = PyObject_GetAttr(item, str_dtype);
    if (!dtype) {
        PyErr_Clear(); /* not an array: the caller converts it */
        return 0;
    }
    int fits = dtype == r->dtype ? 1 : PyObject_RichCompareBool(dtype, r->dtype, Py_EQ);
    Py_DECREF(dtype);
    return fits;
}

/* 1 and a buffer held if `item` is a C-contiguous array of the ring's dtype whose last dimensions are the item's
 * (`leading` more before them), 0 if not, -1 on error. */
static int ring_buffer(Ring *r, PyObject *item, int leading, int writable, Py_buffer *view)
{
    int fits = ring_dtype_fits(r, item);
    if (fits <= 0)
        return fits;
    if (PyObject_GetBuffer(item, view, PyBUF_ND | (writable ? PyBUF_WRITABLE : 0)) < 0) {
        PyErr_Clear(); /* strided or read-only */
        return 0;
    }
    fits = view->ndim == r->ndim + leading;
    for (int i = 0; fits && i < r->ndim; i++)
        fits = view->shape[i + leading] == r->shape[i];
    if (!fits)
        PyBuffer_Release(view);
    return fits;
}

static PyObject *word_getter(Ring *r, word *w)
{
    return ring_check(r) < 0 ? NULL : PyLong_FromUnsignedLongLong(LOAD_ACQUIRE(w));
}

#endif
