/* Points at which a process of the test build dies, as by SIGKILL: between every two steps of writing, joining, reading
 * and taking over that others can see. The extension that is installed has none of them.
 */
#ifndef SHM_KILL_H
#define SHM_KILL_H

#ifdef SHM_KILL_POINTS
#include <signal.h>

#define MOST_POINTS 65536
static const char *passed_points[MOST_POINTS];
static long passed, die_at; /* 0: never */

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

#define KILL_POINT(label) kill_point(label)
#define KILL_POINT_FUNCTIONS                              \
    {"die_at_point", native_die_at_point, METH_O, NULL}, \
    {"points", native_points, METH_NOARGS, NULL},
#else
#define KILL_POINT(label) ((void)0)
#define KILL_POINT_FUNCTIONS
#endif

#endif
