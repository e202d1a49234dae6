/* shm._native: the operations of a ring that Python cannot order, or not fast enough.
 *
 * Written against the limited API (one abi3 wheel). Parts: _mapping.h (a section in memory and its words),
 * _ring.h (where things are), _writer.h with _claim.h, _position.h with _reader.h and _view.h, _kill.h (for a test
 * build). This file holds the locks and the module.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "_native.h"
#include "_mapping.h"
#include "_ring.h"
#include "_writer.h"
#include "_claim.h"
#include "_reader.h"
#include "_view.h"

/* Open-file-description locks: held by the open file, so released by the kernel however its owner dies, valid
 * across pid namespaces, and not shared by two attachments of one process. */
static int byte_lock(int fd, long long start, long long length, short type, int command, struct flock *out)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    int rc = fcntl(fd, command, &lock);
    if (out)
        *out = lock;
    return rc;
}

static PyObject *native_lock_byte(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    long long index;
    if (!PyArg_ParseTuple(args, "iL", &fd, &index))
        return NULL;
    if (byte_lock(fd, index, 1, F_WRLCK, F_OFD_SETLK, NULL) == 0) {
        KILL_POINT("lock: taken");
        Py_RETURN_TRUE;
    }
    if (errno == EAGAIN || errno == EACCES)
        Py_RETURN_FALSE;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* length 0: to the end */
static PyObject *native_unlock_bytes(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    long long start, length;
    if (!PyArg_ParseTuple(args, "iLL", &fd, &start, &length))
        return NULL;
    if (byte_lock(fd, start, length, F_UNLCK, F_OFD_SETLK, NULL) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    KILL_POINT("lock: given back");
    Py_RETURN_NONE;
}

/* The first byte of [start, start + length) that another open file holds, or None. length 0: to the end. */
static PyObject *native_locked_byte(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    long long start, length;
    struct flock found;
    if (!PyArg_ParseTuple(args, "iLL", &fd, &start, &length))
        return NULL;
    if (byte_lock(fd, start, length, F_WRLCK, F_OFD_GETLK, &found) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (found.l_type == F_UNLCK)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(found.l_start);
}

static PyMethodDef functions[] = {
    {"lock_byte", native_lock_byte, METH_VARARGS, "lock_byte(fd, index) -> bool\n\nTake the lock; False if another open file holds it."},
    {"unlock_bytes", native_unlock_bytes, METH_VARARGS,
     "unlock_bytes(fd, start, length)\n\nGive locks back; length 0 for all from `start` on."},
    {"locked_byte", native_locked_byte, METH_VARARGS,
     "locked_byte(fd, start, length) -> int | None\n\nFirst byte there that another open file has locked."},
    KILL_POINT_FUNCTIONS
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, const char *name, PyTypeObject **keep)
{
    PyObject *type = PyType_FromSpec(spec);
    if (!type)
        return -1;
    if (keep)
        *keep = (PyTypeObject *)Py_NewRef(type);
    int rc = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return rc;
}

static int load_errors(void)
{
    PyObject *errors = PyImport_ImportModule("shm.errors");
    if (!errors)
        return -1;
    ClosedError = PyObject_GetAttrString(errors, "ClosedError");
    BusyError = PyObject_GetAttrString(errors, "BusyError");
    ExhaustedError = PyObject_GetAttrString(errors, "RingExhaustedError");
    SpecMismatch = PyObject_GetAttrString(errors, "SpecMismatchError");
    Py_DECREF(errors);
    return ClosedError && BusyError && ExhaustedError && SpecMismatch ? 0 : -1;
}

static int load_names(void)
{
    str_dtype = PyUnicode_InternFromString("dtype");
    str_coerce = PyUnicode_InternFromString("_coerce");
    str_coerce_block = PyUnicode_InternFromString("_coerce_block");
    str_make_room = PyUnicode_InternFromString("_make_room");
    str_notify = PyUnicode_InternFromString("_notify");
    return str_dtype && str_coerce && str_coerce_block && str_make_room && str_notify ? 0 : -1;
}

/* What reading returns are named tuples of shm.item. */
static int load_items(void)
{
    PyObject *items = PyImport_ImportModule("shm.item");
    if (!items)
        return -1;
    ItemType = (PyTypeObject *)PyObject_GetAttrString(items, "Item");
    BlobType = (PyTypeObject *)PyObject_GetAttrString(items, "Blob");
    Py_DECREF(items);
    new_tuple = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    return ItemType && BlobType && new_tuple ? 0 : -1;
}

static int load_numpy(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (!numpy)
        return -1;
    numpy_empty = PyObject_GetAttrString(numpy, "empty");
    Py_DECREF(numpy);
    return numpy_empty ? 0 : -1;
}

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shm._native",
    .m_doc = "Ordered access to shared memory; see shm/README.md for the protocol.",
    .m_size = -1, /* the error classes are static: one interpreter */
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *m = PyModule_Create(&module);
    if (!m)
        return NULL;
    if (load_errors() < 0 || load_names() < 0 || load_numpy() < 0 || load_items() < 0 ||
        add_type(m, &Mapping_spec, "Mapping", &MappingType) < 0 ||
        add_type(m, &Writer_spec, "Writer", NULL) < 0 || add_type(m, &Reader_spec, "Reader", NULL) < 0 ||
        add_type(m, &Claim_spec, "Claim", &ClaimType) < 0 || add_type(m, &Run_spec, "Run", &RunType) < 0 ||
        add_type(m, &View_spec, "View", &ViewType) < 0 ||
        PyModule_AddIntConstant(m, "ARMED_FUTEX", ARMED_FUTEX) < 0 ||
        PyModule_AddIntConstant(m, "ARMED_NOTICE", ARMED_NOTICE) < 0 ||
        PyModule_AddIntConstant(m, "DEMOTED", DEMOTED) < 0 || PyModule_AddIntConstant(m, "LOSSLESS", LOSSLESS) < 0 ||
        PyModule_AddIntConstant(m, "ACTIVE", ACTIVE) < 0 || PyModule_AddIntConstant(m, "JOINING", JOINING) < 0 ||
        PyModule_AddIntConstant(m, "FREE", FREE) < 0) {
        Py_DECREF(m);
        return NULL;
    }
    return m;
}
