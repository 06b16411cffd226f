/* The loops over many keys and rows of a lookup, each with a twin in Python: see speedups.py.
 *
 * A function that meets what it is not made for returns None, and its twin does the work or says what is wrong with it.
 * None of them keeps anything, and none lets other Python code run between measuring a result and writing it.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

#define MOST_DIGITS 9       /* of a number that any integer column holds */
#define MOST_VARINT 10      /* bytes */
#define MOST_LENGTH 5       /* bytes of a varint that says how long what follows is */
#define MOST_COLUMNS 256
#define MOST_TAG 2          /* bytes of a varint that holds a field's number */
#define MOST_NUMBER 2047    /* of a field with such a tag */

/* `count` more bytes than `total`; -1 with an exception when no object is as large. */
static Py_ssize_t
add(Py_ssize_t total, Py_ssize_t count)
{
    if (count > PY_SSIZE_T_MAX - total) {
        PyErr_NoMemory();
        return -1;
    }
    return total + count;
}

static int
takes_bytes(PyObject *const *args, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyBytes_CheckExact(args[i])) {
            PyErr_Format(PyExc_TypeError, "expected bytes, got %.100s", Py_TYPE(args[i])->tp_name);
            return 0;
        }
    }
    return 1;
}

static int
takes(const char *name, Py_ssize_t wanted, Py_ssize_t count)
{
    if (count != wanted) {
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, got %zd", name, wanted, count);
        return 0;
    }
    return 1;
}

/* Keys from the numbers of a list. */

static const char *
skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
        at++;
    }
    return at;
}

/* Behind the number that begins here; NULL where none does that is whole, not negative and short. */
static const char *
skip_number(const char *at, const char *end)
{
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    if (at == begin || at - begin > MOST_DIGITS || (*begin == '0' && at - begin > 1)) {
        return NULL;
    }
    return at;
}

/* How many numbers there are; 0 when it is no plain list of them. */
static Py_ssize_t
count_numbers(const char *at, const char *end)
{
    Py_ssize_t count = 0;
    for (;;) {
        at = skip_number(skip_space(at, end), end);
        if (at == NULL) {
            return 0;
        }
        count++;
        at = skip_space(at, end);
        if (at == end) {
            return count;
        }
        if (*at++ != ',') {
            return 0;
        }
    }
}

PyDoc_STRVAR(number_keys_doc, "number_keys(text, before, after)\n--\n\nSee speedups.number_keys.");

static PyObject *
number_keys(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (!takes("number_keys", 3, nargs) || !takes_bytes(args, 3)) {
        return NULL;
    }
    const char *at = PyBytes_AS_STRING(args[0]), *end = at + PyBytes_GET_SIZE(args[0]);
    const char *before = PyBytes_AS_STRING(args[1]), *after = PyBytes_AS_STRING(args[2]);
    const Py_ssize_t before_size = PyBytes_GET_SIZE(args[1]), after_size = PyBytes_GET_SIZE(args[2]);
    Py_ssize_t around = add(before_size, after_size);
    if (around < 0 || add(around, MOST_DIGITS) < 0) {
        return NULL;
    }
    const Py_ssize_t count = count_numbers(at, end);
    if (count == 0) {
        Py_RETURN_NONE;
    }
    PyObject *keys = PyList_New(count);
    if (keys == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *number = skip_space(at, end);
        at = skip_number(number, end);
        const Py_ssize_t digits = at - number;
        PyObject *key = PyBytes_FromStringAndSize(NULL, around + digits);
        if (key == NULL) {
            Py_DECREF(keys);
            return NULL;
        }
        char *out = PyBytes_AS_STRING(key);
        memcpy(out, before, before_size);
        memcpy(out + before_size, number, digits);
        memcpy(out + before_size + digits, after, after_size);
        PyList_SET_ITEM(keys, i, key);
        at = skip_space(at, end) + 1; /* the comma; behind the last number `at` is not looked at again */
    }
    return keys;
}

/* Redis' MGET. */

static int
digits_of(Py_ssize_t number)
{
    int found = 1;
    while (number >= 10) {
        number /= 10;
        found++;
    }
    return found;
}

static char *
write_number(char *out, Py_ssize_t number)
{
    const int digits = digits_of(number);
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return out + digits;
}

static char *
write_text(char *out, const char *text, Py_ssize_t size)
{
    memcpy(out, text, size);
    return out + size;
}

PyDoc_STRVAR(mget_command_doc, "mget_command(keys)\n--\n\nSee speedups.mget_command.");

static PyObject *
mget_command(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const char name[] = "\r\n$4\r\nMGET";
    if (!takes("mget_command", 1, nargs)) {
        return NULL;
    }
    PyObject *keys = PySequence_Fast(args[0], "expected a sequence of bytes");
    if (keys == NULL) {
        return NULL;
    }
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(keys);
    PyObject **items = PySequence_Fast_ITEMS(keys);
    PyObject *command = NULL;
    Py_ssize_t size = 1 + digits_of(count + 1) + (Py_ssize_t)sizeof(name) - 1 + 2;
    if (!takes_bytes(items, count)) {
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_ssize_t length = PyBytes_GET_SIZE(items[i]);
        size = add(size, length);
        if (size < 0 || (size = add(size, 5 + digits_of(length))) < 0) {
            goto done;
        }
    }
    command = PyBytes_FromStringAndSize(NULL, size);
    if (command == NULL) {
        goto done;
    }
    char *out = PyBytes_AS_STRING(command);
    *out++ = '*';
    out = write_number(out, count + 1);
    out = write_text(out, name, sizeof(name) - 1);
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_ssize_t length = PyBytes_GET_SIZE(items[i]);
        out = write_text(out, "\r\n$", 3);
        out = write_number(out, length);
        out = write_text(out, "\r\n", 2);
        out = write_text(out, PyBytes_AS_STRING(items[i]), length);
    }
    write_text(out, "\r\n", 2);
done:
    Py_DECREF(keys);
    return command;
}

/* A millrace.v1.Rows. */

static int
varint_size(uint64_t number)
{
    int found = 1;
    while (number >= 0x80) {
        number >>= 7;
        found++;
    }
    return found;
}

static char *
write_varint(char *out, uint64_t number)
{
    while (number >= 0x80) {
        *out++ = (char)(number | 0x80);
        number >>= 7;
    }
    *out++ = (char)number;
    return out;
}

PyDoc_STRVAR(rows_message_doc, "rows_message(front, values)\n--\n\nSee speedups.rows_message.");

static PyObject *
rows_message(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (!takes("rows_message", 2, nargs) || !takes_bytes(args, 1)) {
        return NULL;
    }
    PyObject *values = PySequence_Fast(args[1], "expected a sequence of values");
    if (values == NULL) {
        return NULL;
    }
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(values);
    PyObject **items = PySequence_Fast_ITEMS(values);
    PyObject *message = NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]), missing = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t length = 0;
        if (items[i] == Py_None) {
            missing += varint_size(i);
        } else if (PyBytes_CheckExact(items[i])) {
            length = PyBytes_GET_SIZE(items[i]);
        } else {
            message = Py_NewRef(Py_None);
            goto done;
        }
        size = add(size, length);
        if (size < 0 || (size = add(size, 1 + varint_size(length))) < 0) {
            goto done;
        }
    }
    if (missing != 0) {
        size = add(size, missing);
        if (size < 0 || (size = add(size, 1 + varint_size(missing))) < 0) {
            goto done;
        }
    }
    message = PyBytes_FromStringAndSize(NULL, size);
    if (message == NULL) {
        goto done;
    }
    char *out = write_text(PyBytes_AS_STRING(message), PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]));
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_ssize_t length = items[i] == Py_None ? 0 : PyBytes_GET_SIZE(items[i]);
        *out++ = 0x12;
        out = write_varint(out, length);
        if (length != 0) {
            out = write_text(out, PyBytes_AS_STRING(items[i]), length);
        }
    }
    if (missing != 0) {
        *out++ = 0x1a;
        out = write_varint(out, missing);
        for (Py_ssize_t i = 0; i < count; i++) {
            if (items[i] == Py_None) {
                out = write_varint(out, i);
            }
        }
    }
done:
    Py_DECREF(values);
    return message;
}

/* A row of scalars from its Protobuf message. */

typedef struct {
    PyObject *name;
    PyObject *convert; /* of what is stored, or NULL */
    char kind;         /* b: boolean, i: int32, l: int64, f: float, d: double, s: text, y: bytes */
} Column;

typedef struct {
    PyObject_HEAD
    PyObject *empty; /* a row without values: each name → None, in order */
    Column *columns;
    int16_t *places; /* by field number: its column, or -1 */
    int count;
    vectorcallfunc call;
} RowReader;

static int
read_varint(const uint8_t **at, const uint8_t *end, uint64_t *found)
{
    uint64_t number = 0;
    for (int i = 0; i < MOST_VARINT && *at < end; i++) {
        const uint8_t byte = *(*at)++;
        if (i == MOST_VARINT - 1 && byte > 1) {
            return 0;
        }
        number |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *found = number;
            return 1;
        }
    }
    return 0;
}

static uint64_t
little_endian(const uint8_t *at, int size)
{
    uint64_t found = 0;
    for (int i = size - 1; i >= 0; i--) {
        found = found << 8 | at[i];
    }
    return found;
}

/* The value that begins here, of which `at` is moved to the end. NULL without an exception for what isn't one. */
static PyObject *
read_value(char kind, unsigned wire, const uint8_t **at, const uint8_t *end)
{
    uint64_t number;
    switch (kind) {
    case 'b':
    case 'i':
    case 'l':
        if (wire != 0 || !read_varint(at, end, &number)) {
            return NULL;
        }
        if (kind == 'b') {
            return PyBool_FromLong(number != 0);
        }
        return PyLong_FromLongLong(kind == 'i' ? (int32_t)(uint32_t)number : (int64_t)number);
    case 'f':
    case 'd': {
        const int size = kind == 'f' ? 4 : 8;
        if (wire != (kind == 'f' ? 5u : 1u) || end - *at < size) {
            return NULL;
        }
        number = little_endian(*at, size);
        *at += size;
        if (kind == 'f') {
            const uint32_t bits = (uint32_t)number;
            float single;
            memcpy(&single, &bits, sizeof single);
            return PyFloat_FromDouble(single);
        }
        double whole;
        memcpy(&whole, &number, sizeof whole);
        return PyFloat_FromDouble(whole);
    }
    default: {
        const uint8_t *length = *at;
        if (wire != 2 || !read_varint(at, end, &number) || *at - length > MOST_LENGTH ||
            number > (uint64_t)(end - *at)) {
            return NULL;
        }
        const char *begin = (const char *)*at;
        *at += number;
        return kind == 's' ? PyUnicode_DecodeUTF8(begin, (Py_ssize_t)number, "strict")
                           : PyBytes_FromStringAndSize(begin, (Py_ssize_t)number);
    }
    }
}

/* Put all values into the row: 1, or 0 for what isn't a message of such columns, or -1 with an exception. */
static int
read_row(RowReader *self, PyObject *row, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        const uint8_t *begin = at;
        uint64_t tag;
        if (!read_varint(&at, end, &tag) || at - begin > MOST_TAG || self->places[tag >> 3] < 0) {
            return 0;
        }
        const Column *column = &self->columns[self->places[tag >> 3]];
        PyObject *value = read_value(column->kind, tag & 7, &at, end);
        if (value == NULL) {
            if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
                return -1;
            }
            PyErr_Clear();
            return 0;
        }
        if (column->convert != NULL) {
            PyObject *stored = value;
            value = PyObject_CallOneArg(column->convert, stored);
            Py_DECREF(stored);
            if (value == NULL) {
                return -1;
            }
        }
        const int failed = PyDict_SetItem(row, column->name, value);
        Py_DECREF(value);
        if (failed) {
            return -1;
        }
    }
    return 1;
}

static PyObject *
row_reader_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    RowReader *self = (RowReader *)callable;
    if (names != NULL && PyTuple_GET_SIZE(names) != 0) {
        PyErr_SetString(PyExc_TypeError, "RowReader takes no keywords");
        return NULL;
    }
    if (!takes("RowReader", 1, PyVectorcall_NARGS(nargsf))) {
        return NULL;
    }
    PyObject *data = args[0];
    if (!PyBytes_CheckExact(data)) {
        Py_RETURN_NONE;
    }
    PyObject *row = PyDict_Copy(self->empty);
    if (row == NULL) {
        return NULL;
    }
    const uint8_t *begin = (const uint8_t *)PyBytes_AS_STRING(data);
    Py_INCREF(data);
    const int found = read_row(self, row, begin, begin + PyBytes_GET_SIZE(data));
    Py_DECREF(data);
    if (found == 1) {
        return row;
    }
    Py_DECREF(row);
    if (found < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
add_column(RowReader *self, PyObject *described)
{
    PyObject *name, *convert;
    const char *kind;
    int number;
    if (!PyTuple_Check(described) || !PyArg_ParseTuple(described, "UisO", &name, &number, &kind, &convert)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "a column is (name, number, kind, convert)");
        }
        return -1;
    }
    if (number < 1 || number > MOST_NUMBER || strlen(kind) != 1 || strchr("bilfdsy", *kind) == NULL) {
        PyErr_Format(PyExc_ValueError, "there is no column of number %d and kind '%.10s'", number, kind);
        return -1;
    }
    Column *column = &self->columns[self->count];
    column->name = Py_NewRef(name);
    PyUnicode_InternInPlace(&column->name);
    column->convert = convert == Py_None ? NULL : Py_NewRef(convert);
    column->kind = *kind;
    self->places[number] = (int16_t)self->count++;
    return PyDict_SetItem(self->empty, column->name, Py_None);
}

static PyObject *
row_reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *columns;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "RowReader takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!:RowReader", &PyTuple_Type, &columns)) {
        return NULL;
    }
    const Py_ssize_t count = PyTuple_GET_SIZE(columns);
    if (count > MOST_COLUMNS) {
        PyErr_Format(PyExc_ValueError, "%zd columns, of at most %d", count, MOST_COLUMNS);
        return NULL;
    }
    RowReader *self = (RowReader *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->call = row_reader_call;
    self->empty = PyDict_New();
    self->columns = PyMem_Calloc(count + 1, sizeof(Column));
    self->places = PyMem_Malloc((MOST_NUMBER + 1) * sizeof(int16_t));
    if (self->empty == NULL || self->columns == NULL || self->places == NULL) {
        Py_DECREF(self);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    for (int i = 0; i <= MOST_NUMBER; i++) {
        self->places[i] = -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (add_column(self, PyTuple_GET_ITEM(columns, i)) < 0) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

static int
row_reader_traverse(PyObject *object, visitproc visit, void *arg)
{
    RowReader *self = (RowReader *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->empty);
    for (int i = 0; i < self->count; i++) {
        Py_VISIT(self->columns[i].name);
        Py_VISIT(self->columns[i].convert);
    }
    return 0;
}

static int
row_reader_clear(PyObject *object)
{
    RowReader *self = (RowReader *)object;
    for (int i = 0; i < self->count; i++) {
        Py_CLEAR(self->columns[i].convert);
    }
    return 0;
}

static void
row_reader_dealloc(PyObject *object)
{
    RowReader *self = (RowReader *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    row_reader_clear(object);
    for (int i = 0; i < self->count; i++) {
        Py_XDECREF(self->columns[i].name);
    }
    Py_XDECREF(self->empty);
    PyMem_Free(self->columns);
    PyMem_Free(self->places);
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(row_reader_doc,
             "RowReader(columns)\n--\n\n"
             "From a message's bytes to a row; None for a message that is anything but plain values of these columns.\n\n"
             "`columns`: (name, field number, kind, convert or None), see speedups.row_reader.");

static PyMemberDef row_reader_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(RowReader, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot row_reader_slots[] = {
    {Py_tp_doc, (void *)row_reader_doc},
    {Py_tp_new, row_reader_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, row_reader_members},
    {Py_tp_traverse, row_reader_traverse},
    {Py_tp_clear, row_reader_clear},
    {Py_tp_dealloc, row_reader_dealloc},
    {0, NULL},
};

static PyType_Spec row_reader_spec = {
    .name = "millrace.connectors.wire._speedups.RowReader",
    .basicsize = sizeof(RowReader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = row_reader_slots,
};

/* The module. */

static int
execute(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &row_reader_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    const int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyMethodDef methods[] = {
    {"number_keys", (PyCFunction)(void (*)(void))number_keys, METH_FASTCALL, number_keys_doc},
    {"mget_command", (PyCFunction)(void (*)(void))mget_command, METH_FASTCALL, mget_command_doc},
    {"rows_message", (PyCFunction)(void (*)(void))rows_message, METH_FASTCALL, rows_message_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_speedups",
    .m_doc = "Loops over many keys and rows; see speedups.py.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
