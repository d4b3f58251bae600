/* Counts scores by cell: one pass that looks up, adds, and finds scores out of range. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 4
#define MANY 16384 /* scores during which other threads may run */

typedef struct {
    const void *scores;
    const uint16_t *cell_of; /* by code, of a power of two */
    uint64_t top;            /* the last code */
    double lsb;
    int64_t *lanes; /* (LANES, cells) */
    Py_ssize_t cells;
} Job;

static inline uint64_t code_u2(const char *score, double lsb)
{
    uint16_t code;
    (void)lsb;
    memcpy(&code, score, sizeof code); /* frames need not be aligned */
    return code;
}

static inline uint64_t code_u4(const char *score, double lsb)
{
    uint32_t code;
    (void)lsb;
    memcpy(&code, score, sizeof code);
    return code;
}

/* Rounded half to even; what is negative or no number becomes a code beyond every range. */
static inline uint64_t code_f4(const char *score, double lsb)
{
    float value;
    memcpy(&value, score, sizeof value);
    const double code = value / lsb;
    return code >= -0.5 && code < 0x1p62 ? (uint64_t)llrint(code) : UINT64_MAX;
}

/* Adds `weight` for each score in [from, to); the bitwise or of all codes. */
#define DEFINE_COUNT(NAME, SIZE, CODE)                                                                                 \
    static uint64_t NAME(const Job *job, Py_ssize_t from, Py_ssize_t to, int64_t weight)                               \
    {                                                                                                                  \
        const char *score = (const char *)job->scores + SIZE * from, *end = (const char *)job->scores + SIZE * to;     \
        const uint16_t *cell_of = job->cell_of;                                                                        \
        const uint64_t top = job->top;                                                                                 \
        const double lsb = job->lsb;                                                                                   \
        int64_t *a = job->lanes, *b = a + job->cells, *c = b + job->cells, *d = c + job->cells;                        \
        uint64_t seen = 0;                                                                                             \
        for (; end - score >= LANES * SIZE; score += LANES * SIZE) {                                                   \
            const uint64_t p = CODE(score, lsb), q = CODE(score + SIZE, lsb);                                          \
            const uint64_t r = CODE(score + 2 * SIZE, lsb), s = CODE(score + 3 * SIZE, lsb);                           \
            const uint16_t i = cell_of[p & top], j = cell_of[q & top], k = cell_of[r & top], l = cell_of[s & top];     \
            a[i] += weight, b[j] += weight, c[k] += weight, d[l] += weight;                                            \
            seen |= p | q | r | s;                                                                                     \
        }                                                                                                              \
        for (; score < end; score += SIZE) {                                                                           \
            const uint64_t p = CODE(score, lsb);                                                                       \
            a[cell_of[p & top]] += weight;                                                                             \
            seen |= p;                                                                                                 \
        }                                                                                                              \
        return seen;                                                                                                   \
    }

DEFINE_COUNT(count_u2, 2, code_u2)
DEFINE_COUNT(count_u4, 4, code_u4)
DEFINE_COUNT(count_f4, 4, code_f4)

typedef uint64_t (*Count)(const Job *, Py_ssize_t, Py_ssize_t, int64_t);

/* The runs of every period; without a period, everything. */
static uint64_t count_runs(Count count, const Job *job, Py_ssize_t n, const Py_buffer *runs, Py_ssize_t period,
                           int64_t weight)
{
    const int32_t *first = runs->buf, *last = first + runs->len / sizeof *first;
    uint64_t seen = period ? 0 : count(job, 0, n, weight);
    for (Py_ssize_t start = 0; period && start < n; start += period)
        for (const int32_t *run = first; run < last; run += 2)
            seen |= count(job, start + run[0], start + run[1], weight);
    return seen;
}

static Count count_of(const char *format)
{
    if (format && *format == '=') /* not aligned */
        format++;
    switch (format && !format[1] ? format[0] : 0) {
    case 'H':
        return count_u2;
    case 'I':
        return count_u4;
    case 'f':
        return count_f4;
    }
    return NULL;
}

static PyObject *add_in(Py_buffer *scores, Py_buffer *lanes, Py_buffer *cell_of, Py_buffer *runs, Py_ssize_t period,
                        double lsb)
{
    const Py_ssize_t n = scores->len / scores->itemsize, codes = cell_of->len / (Py_ssize_t)sizeof(uint16_t);
    const Count count = count_of(scores->format);
    const Job job = {scores->buf, cell_of->buf,
                     (uint64_t)codes - 1, lsb,
                     lanes->buf,  lanes->len / (Py_ssize_t)sizeof(int64_t) / LANES};
    if (count == NULL)
        return PyErr_Format(PyExc_TypeError, "scores of format %s: expected H, I or f", scores->format);
    if (codes < 1 || codes & (codes - 1) || period < 0 || (period && n % period))
        return PyErr_Format(PyExc_ValueError, "%zd codes, %zd scores in periods of %zd: expected 2^bits, whole periods",
                            codes, n, period);
    PyThreadState *others = n < MANY ? NULL : PyEval_SaveThread();
    const uint64_t seen = count_runs(count, &job, n, runs, period, 1);
    if (seen > job.top)
        count_runs(count, &job, n, runs, period, -1);
    if (others)
        PyEval_RestoreThread(others);
    return PyBool_FromLong(seen <= job.top);
}

static PyObject *add(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
    static const int flags[] = {PyBUF_FORMAT, PyBUF_WRITABLE, PyBUF_SIMPLE, PyBUF_SIMPLE};
    Py_buffer buffers[4];
    PyObject *fits = NULL;
    int held = 0;
    (void)self;
    if (n_args != 6)
        return PyErr_Format(PyExc_TypeError, "%zd arguments: expected scores, lanes, cell_of, runs, period, lsb", n_args);
    const Py_ssize_t period = PyLong_AsSsize_t(args[4]);
    const double lsb = PyFloat_AsDouble(args[5]);
    if (PyErr_Occurred())
        return NULL;
    while (held < 4 && PyObject_GetBuffer(args[held], &buffers[held], flags[held]) == 0)
        held++;
    if (held == 4)
        fits = add_in(&buffers[0], &buffers[1], &buffers[2], &buffers[3], period, lsb);
    while (held)
        PyBuffer_Release(&buffers[--held]);
    return fits;
}

static PyMethodDef methods[] = {
    {"add", (PyCFunction)(void (*)(void))add, METH_FASTCALL, "See monitor.stats.count.counting.add."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "kernel", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_kernel(void)
{
    return PyModuleDef_Init(&module);
}
