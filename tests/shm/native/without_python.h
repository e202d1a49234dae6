/* The little of Python that the protocol calls, for a program that has none: a number, two calls back, no errors.
 *
 * Include it after _native.h. What else the headers name is referred to by method tables only, which nobody uses here.
 */
#ifndef WITHOUT_PYTHON_H
#define WITHOUT_PYTHON_H
#include <stdlib.h>

static _Thread_local struct {
    PyObject object; /* first: its address is that of the number */
    uint64_t value;
} number;

static void make_room(void *writer, uint64_t upto); /* what RingWriter._make_room does */
static char named_make_room, named_notify;

static void name_calls(void)
{
    str_make_room = (PyObject *)&named_make_room;
    str_notify = (PyObject *)&named_notify;
}

PyObject *PyLong_FromUnsignedLongLong(unsigned long long value)
{
    number.value = value;
    return &number.object;
}

PyObject *PyObject_CallMethodObjArgs(PyObject *self, PyObject *name, ...)
{
    if (name == str_make_room)
        make_room(self, number.value);
    return &number.object;
}

/* Whatever a version of Python makes of Py_DECREF, our number needs none of it. */
void Py_DecRef(PyObject *Py_UNUSED(object)) {}
void _Py_DecRef(PyObject *Py_UNUSED(object)) {}
void _Py_Dealloc(PyObject *Py_UNUSED(object)) {}

/* Let go of and taken around large copies. */
PyThreadState *PyEval_SaveThread(void) { return NULL; }
void PyEval_RestoreThread(PyThreadState *Py_UNUSED(state)) {}

/* An error would be ours. */
PyObject *PyExc_ValueError;
void PyErr_SetString(PyObject *Py_UNUSED(kind), const char *Py_UNUSED(message)) { abort(); }
PyObject *PyErr_Format(PyObject *Py_UNUSED(kind), const char *Py_UNUSED(message), ...) { abort(); }

#endif
