/* Points at which a process of the test build dies, as by SIGKILL: between every two steps of writing, joining, reading
 * and taking over that others can see; and a count of the shared words it touches. The extension that is installed has
 * neither.
 */
#ifndef SHM_KILL_H
#define SHM_KILL_H

#ifdef SHM_KILL_POINTS
#include <signal.h>

#define MOST_POINTS 65536
static const char *passed_points[MOST_POINTS];
static long passed, die_at; /* 0: never */

static unsigned long long shared_words; /* loads and stores of words that other processes see */

static void kill_point(const char *label)
{
    if (passed < MOST_POINTS)
        passed_points[passed] = label;
    if (++passed == die_at)
        kill(getpid(), SIGKILL);
}

/* die_at_point(n): count from here, die at the n-th; 0 only counts */
static PyObject *native_die_at_point(PyObject *Py_UNUSED(module), PyObject *argument)
{
    long n = PyLong_AsLong(argument);
    if (n == -1 && PyErr_Occurred())
        return NULL;
    passed = 0;
    die_at = n;
    Py_RETURN_NONE;
}

/* points() -> labels of those passed since die_at_point */
static PyObject *native_points(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    long n = passed < MOST_POINTS ? passed : MOST_POINTS;
    PyObject *labels = PyList_New(n);
    for (long i = 0; labels && i < n; i++) {
        PyObject *label = PyUnicode_FromString(passed_points[i]);
        if (!label || PyList_SetItem(labels, i, label) < 0)
            Py_CLEAR(labels);
    }
    return labels;
}

/* shared_words() -> how many were touched since the last call */
static PyObject *native_shared_words(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    unsigned long long count = shared_words;
    shared_words = 0;
    return PyLong_FromUnsignedLongLong(count);
}

#define TOUCH() (shared_words++)
#define KILL_POINT(label) kill_point(label)
#define KILL_POINT_FUNCTIONS                              \
    {"die_at_point", native_die_at_point, METH_O, NULL}, \
    {"points", native_points, METH_NOARGS, NULL},         \
    {"shared_words", native_shared_words, METH_NOARGS, NULL},
#else
#define TOUCH() ((void)0)
#define KILL_POINT(label) ((void)0)
#define KILL_POINT_FUNCTIONS
#endif

#endif
