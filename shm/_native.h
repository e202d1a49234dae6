/* What every part of the extension shares: atomics, errors, argument checks.
 *
 * The three invariants of a ring (shm/README.md argues them):
 *   I1  the intent (`claimed`) is stored before the first byte of an item changes
 *   I2  `published` is stored after the last byte of an item changed
 *   I3  a reader loads `claimed` after its last use of the bytes
 * A release store orders what comes before it, not after it, so I1 and I3 need fences. They live inside
 * writer_claim, writer_publish and reader_bad; Python never composes them from single words.
 */
#ifndef SHM_NATIVE_H
#define SHM_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "_kill.h"

typedef _Atomic uint64_t word;
typedef _Atomic uint32_t half;
typedef _Atomic int64_t instant; /* a time in the ring: it may change while a reader that is lapped copies it */

_Static_assert(sizeof(word) == 8 && sizeof(half) == 4 && sizeof(instant) == 8,
               "shared words must be plain machine words");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "shared words must be lock-free: the peer is another process");

/* Copies of at least this many bytes let other Python threads run (taking the GIL back costs about 1 us). */
#define GIL_FREE_BYTES (64 * 1024)
/* Views of single items that each end keeps. */
#define CACHED_VIEWS 1024
#define NEVER UINT64_MAX
/* Sequences stop here: JSON, int64 columns and HDF5 all hold them. */
#define LAST_SEQUENCE ((uint64_t)1 << 63)

/* Set once when the module is loaded; classes of shm.errors and interned names. */
static PyObject *ClosedError, *BusyError, *ExhaustedError, *SpecMismatch;
static PyObject *str_dtype, *str_coerce, *str_coerce_block, *str_make_room, *str_notify;

/* A METH_FASTCALL function in a method table. */
#define FAST(f) (PyCFunction)(void (*)(void))(f)

#define LOAD(p) (TOUCH(), atomic_load_explicit((p), memory_order_relaxed))
#define LOAD_ACQUIRE(p) (TOUCH(), atomic_load_explicit((p), memory_order_acquire))
#define STORE(p, v) (TOUCH(), atomic_store_explicit((p), (v), memory_order_relaxed))
#define STORE_RELEASE(p, v) (TOUCH(), atomic_store_explicit((p), (v), memory_order_release))

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline int64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Sleep until *value != seen, a wake-up, a signal or the deadline. Returns 0 or errno. Shared between processes. */
static int futex_wait_until(half *value, uint32_t seen, int64_t deadline_ns)
{
    struct timespec until = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
    long rc = syscall(SYS_futex, (uint32_t *)value, FUTEX_WAIT_BITSET, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    return rc == 0 ? 0 : errno;
}

static void futex_wake_all(half *value)
{
    syscall(SYS_futex, (uint32_t *)value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* An integer argument that must not be negative; -1 with an exception set if it is not one. */
static int as_u64(PyObject *object, const char *what, uint64_t *out)
{
    unsigned long long value = PyLong_AsUnsignedLongLong(object);
    if (value == (unsigned long long)-1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError) || PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            PyObject *index = PyNumber_Index(object);
            if (!index)
                return -1;
            value = PyLong_AsUnsignedLongLong(index);
            Py_DECREF(index);
            if (value == (unsigned long long)-1 && PyErr_Occurred()) {
                PyErr_Clear();
                PyErr_Format(PyExc_ValueError, "%s=%R is out of range: expected 0 .. 2**64-1", what, object);
                return -1;
            }
            *out = value;
            return 0;
        }
        return -1;
    }
    *out = value;
    return 0;
}

static int as_i64(PyObject *object, int64_t *out)
{
    long long value = PyLong_AsLongLong(object);
    if (value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        PyObject *index = PyNumber_Index(object);   /* numpy integers */
        if (!index)
            return -1;
        value = PyLong_AsLongLong(index);
        Py_DECREF(index);
        if (value == -1 && PyErr_Occurred())
            return -1;
    }
    *out = value;
    return 0;
}

/* Arguments by position or by name, without building a dict. `most` in all, the first `least` required. */
static int parse_arguments(const char *function, PyObject *const *args, Py_ssize_t n, PyObject *names, int most,
                           int least, const char *const *known, PyObject **out)
{
    if (n > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments", function, most);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++)
        out[i] = args[i];
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t k = 0; k < named; k++) {
        PyObject *name = PyTuple_GetItem(names, k);
        int i = 0;
        while (i < most && PyUnicode_CompareWithASCIIString(name, known[i]) != 0)
            i++;
        if (i == most || out[i]) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected or repeated argument %R", function, name);
            return -1;
        }
        out[i] = args[n + k];
    }
    for (int i = 0; i < least; i++)
        if (!out[i]) {
            PyErr_Format(PyExc_TypeError, "%s() needs %s", function, known[i]);
            return -1;
        }
    return 0;
}

static int time_or(PyObject *object, int64_t otherwise, int64_t *out)
{
    if (object && object != Py_None)
        return as_i64(object, out);
    *out = otherwise;
    return 0;
}

#endif
