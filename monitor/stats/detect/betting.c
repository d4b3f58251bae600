/* The hot loops of banks of e-processes: gains on a block, and the limits of tilts. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_THIS_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_THIS_PROCESSOR
#endif

#define MAX_BUFFERS 16
#define MAX_NUMBERS 8

static double dot(const double *restrict a, const double *restrict b, Py_ssize_t n)
{
    double sum = 0;
    for (Py_ssize_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* r *= exp(gain), gains and results capped; the sum of weight * r. */
FOR_THIS_PROCESSOR
static double grow_by(double *restrict r, const double *restrict gain, const double *restrict weight, Py_ssize_t n,
                      double max_gain, double max_r)
{
    double sum = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        double grown = r[i] * exp(gain[i] < max_gain ? gain[i] : max_gain);
        grown = grown < max_r ? grown : max_r;
        r[i] = grown;
        sum += weight[i] * grown;
    }
    return sum;
}

/* gain[k] = (log_h[k] . counts - n log_z[k]) / phi */
FOR_THIS_PROCESSOR
static void dense_gains(double *restrict gain, const double *restrict log_h, const double *restrict counts,
                        const double *restrict log_z, Py_ssize_t members, Py_ssize_t bins, double n, double phi)
{
    for (Py_ssize_t k = 0; k < members; k++)
        gain[k] = (dot(log_h + k * bins, counts, bins) - n * log_z[k]) / phi;
}

/* Members with one bin each, in rows of all bins. */
FOR_THIS_PROCESSOR
static void single_gains(double *restrict gain, const double *restrict log_h, const double *restrict counts,
                         const double *restrict log_z, Py_ssize_t members, Py_ssize_t bins, double n, double phi)
{
    for (Py_ssize_t row = 0; row < members; row += bins)
        for (Py_ssize_t b = 0; b < bins; b++)
            gain[row + b] = (log_h[row + b] * counts[b] - n * log_z[row + b]) / phi;
}

/* values = theta . features, their range brought within max_range by a factor on both; exp of them. */
FOR_THIS_PROCESSOR
static double tilt(double *restrict theta, const double *restrict features, double *restrict values,
                   Py_ssize_t dimensions, Py_ssize_t bins, double max_range)
{
    for (Py_ssize_t b = 0; b < bins; b++)
        values[b] = 0;
    for (Py_ssize_t i = 0; i < dimensions; i++)
        for (Py_ssize_t b = 0; b < bins; b++)
            values[b] += theta[i] * features[i * bins + b];
    double low = values[0], high = values[0];
    for (Py_ssize_t b = 0; b < bins; b++) {
        low = values[b] < low ? values[b] : low;
        high = values[b] > high ? values[b] : high;
    }
    const double factor = high - low > max_range ? max_range / (high - low) : 1;
    for (Py_ssize_t i = 0; i < dimensions; i++)
        theta[i] *= factor;
    for (Py_ssize_t b = 0; b < bins; b++)
        values[b] = exp(factor * values[b]);
    return exp(factor * high) - exp(factor * low);
}

FOR_THIS_PROCESSOR
static double mean_limit(const double *restrict h, const double *restrict p, Py_ssize_t bins, double spread,
                         double first, double second)
{
    double mean = 0, square = 0;
    for (Py_ssize_t b = 0; b < bins; b++) {
        mean += p[b] * h[b];
        square += p[b] * h[b] * h[b];
    }
    const double variance = square - mean * mean;
    return mean + first * sqrt(2 * (variance > 0 ? variance : 0)) + second * spread;
}

typedef struct {
    double first, second, max_range;
    const double *features, *possible;
    double *values; /* (bins,) scratch */
    Py_ssize_t dimensions, bins, distributions;
} Limits;

/* ln Z of tilts (tilts, dimensions), each shortened where it ranges too far. */
static void log_limits(double *theta, double *log_z, Py_ssize_t tilts, const Limits *of)
{
    for (Py_ssize_t t = 0; t < tilts; t++) {
        const double spread = tilt(theta + t * of->dimensions, of->features, of->values, of->dimensions, of->bins,
                                   of->max_range);
        double largest = 0;
        for (Py_ssize_t j = 0; j < of->distributions; j++) {
            const double limit =
                mean_limit(of->values, of->possible + j * of->bins, of->bins, spread, of->first, of->second);
            largest = limit > largest ? limit : largest;
        }
        log_z[t] = log(largest);
    }
}

typedef struct {
    double *r, *theta, *log_z, *seen, *age, *estimated, *order; /* order: how many, then the experts, oldest first */
    Py_ssize_t experts, hypotheses, dimensions;
} Experts;

static double capital(const Experts *e, Py_ssize_t j)
{
    double sum = 0;
    for (Py_ssize_t h = 0; h < e->hypotheses; h++)
        sum += e->r[j * e->hypotheses + h];
    return sum;
}

/* The place of a new expert; of the two that are most alike in age, the poorer gives way if there is none. */
static Py_ssize_t open_expert(Experts *e)
{
    Py_ssize_t count = (Py_ssize_t)e->order[0], place = count, at = 0;
    double *order = e->order + 1;
    if (count == e->experts) {
        double least = HUGE_VAL;
        for (Py_ssize_t i = 0; i + 1 < count; i++) {
            const double ratio = e->age[(Py_ssize_t)order[i]] / e->age[(Py_ssize_t)order[i + 1]];
            if (i == 0 || ratio < least)
                least = ratio, at = i;
        }
        const Py_ssize_t older = (Py_ssize_t)order[at], younger = (Py_ssize_t)order[at + 1];
        const int loses = capital(e, older) > capital(e, younger);
        const Py_ssize_t heir = loses ? older : younger;
        place = loses ? younger : older;
        for (Py_ssize_t h = 0; h < e->hypotheses; h++)
            e->r[heir * e->hypotheses + h] += e->r[place * e->hypotheses + h];
        for (Py_ssize_t i = at + loses; i + 1 < count; i++)
            order[i] = order[i + 1];
        count--;
    }
    order[count] = (double)place;
    e->order[0] = (double)(count + 1);
    e->age[place] = e->estimated[place] = 0;
    for (Py_ssize_t i = 0; i < e->dimensions; i++)
        e->seen[place * e->dimensions + i] = 0;
    for (Py_ssize_t h = 0; h < e->hypotheses; h++)
        e->r[place * e->hypotheses + h] = e->log_z[place * e->hypotheses + h] = 0;
    for (Py_ssize_t i = 0; i < e->hypotheses * e->dimensions; i++)
        e->theta[place * e->hypotheses * e->dimensions + i] = 0;
    return place;
}

/* What an expert bets from now on: the posterior means, less what is explained. */
static void estimate(Experts *e, Py_ssize_t j, const double *precision, double phi, double explained, double idle,
                     const Limits *limits)
{
    const double *seen = e->seen + j * e->dimensions;
    for (Py_ssize_t h = 0; h < e->hypotheses; h++) {
        double *theta = e->theta + (j * e->hypotheses + h) * e->dimensions, size = 0;
        for (Py_ssize_t i = 0; i < e->dimensions; i++) {
            theta[i] = seen[i] / (e->age[j] + phi * precision[h * e->dimensions + i]);
            size += theta[i] * theta[i];
        }
        size = sqrt(size);
        const double left = explained <= 0 ? 1 : size > explained ? 1 - explained / size : 0;
        for (Py_ssize_t i = 0; i < e->dimensions; i++)
            theta[i] *= left;
        if (left > 0 && size > 0)
            log_limits(theta, e->log_z + j * e->hypotheses + h, 1, limits);
        else
            e->log_z[j * e->hypotheses + h] = idle;
    }
    e->estimated[j] = e->age[j];
}

static Py_ssize_t doubles(const Py_buffer *buffer) { return buffer->len / (Py_ssize_t)sizeof(double); }

/* (r, gain, weight, log_h, counts, log_z, n, phi, max_gain, max_r) -> sum of weight r */
static PyObject *grow_in(Py_buffer *b, const double *x)
{
    const Py_ssize_t members = doubles(&b[0]), bins = doubles(&b[4]), tilts = doubles(&b[3]);
    if (doubles(&b[1]) != members || doubles(&b[2]) != members || doubles(&b[5]) != members || bins < 1 ||
        (tilts != members * bins && (tilts != members || members % bins)))
        return PyErr_Format(PyExc_ValueError, "%zd members, %zd bins, %zd tilts do not fit", members, bins, tilts);
    double sum;
    Py_BEGIN_ALLOW_THREADS;
    (tilts == members ? single_gains : dense_gains)(b[1].buf, b[3].buf, b[4].buf, b[5].buf, members, bins, x[0], x[1]);
    sum = grow_by(b[0].buf, b[1].buf, b[2].buf, members, x[2], x[3]);
    Py_END_ALLOW_THREADS;
    return PyFloat_FromDouble(sum);
}

/* (theta, log_z, features, possible, values, first, second, max_range) */
static PyObject *limits_in(Py_buffer *b, const double *x)
{
    const Py_ssize_t tilts = doubles(&b[1]), bins = doubles(&b[4]);
    const Py_ssize_t dimensions = tilts ? doubles(&b[0]) / tilts : 0, possible = bins ? doubles(&b[3]) / bins : 0;
    if (bins < 1 || doubles(&b[2]) < dimensions * bins || dimensions * tilts != doubles(&b[0]))
        return PyErr_Format(PyExc_ValueError, "%zd tilts, %zd bins do not fit", tilts, bins);
    const Limits limits = {x[0], x[1], x[2], b[2].buf, b[3].buf, b[4].buf, dimensions, bins, possible};
    Py_BEGIN_ALLOW_THREADS;
    log_limits(b[0].buf, b[1].buf, tilts, &limits);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

/* (r, theta, log_z, seen, age, estimated, order, gain, sums, weight | bins, features, means, precision, prior,
   possible, n, phi, tolerated, known, growth, max_range, max_gain, max_r) -> sum of r; sums is scratch */
static PyObject *learn_in(Py_buffer *b, const double *x)
{
    const Py_ssize_t experts = doubles(&b[4]), bins = doubles(&b[10]), dimensions = doubles(&b[12]);
    const Py_ssize_t hypotheses = doubles(&b[14]), members = experts * hypotheses;
    if (experts < 2 || bins < 2 || doubles(&b[0]) != members || doubles(&b[1]) != members * dimensions ||
        doubles(&b[2]) != members || doubles(&b[3]) != experts * dimensions || doubles(&b[5]) != experts ||
        doubles(&b[6]) != experts + 1 || doubles(&b[7]) != members || doubles(&b[8]) != dimensions + bins ||
        doubles(&b[9]) != members || doubles(&b[11]) != dimensions * bins ||
        doubles(&b[13]) != hypotheses * dimensions || doubles(&b[15]) % bins)
        return PyErr_Format(PyExc_ValueError, "%zd experts, %zd hypotheses, %zd dimensions, %zd bins do not fit",
                            experts, hypotheses, dimensions, bins);
    Experts e = {b[0].buf, b[1].buf, b[2].buf,   b[3].buf,   b[4].buf,
                 b[5].buf, b[6].buf, experts, hypotheses, dimensions};
    const double n = x[0], phi = x[1], slack = sqrt(x[2]) + sqrt(x[3]);
    double *sums = b[8].buf, total;
    const double *counts = b[10].buf, *features = b[11].buf, *means = b[12].buf, *prior = b[14].buf;
    const Limits limits = {slack,    (x[2] + 7 * x[3]) / 3, x[5], features,           b[15].buf, sums + dimensions,
                           dimensions, bins,                doubles(&b[15]) / bins};
    Py_BEGIN_ALLOW_THREADS;
    for (Py_ssize_t i = 0; i < dimensions; i++)
        sums[i] = dot(features + i * bins, counts, bins);
    const Py_ssize_t youngest = open_expert(&e);
    for (Py_ssize_t h = 0; h < hypotheses; h++)
        e.r[youngest * hypotheses + h] += n * prior[h];
    dense_gains(b[7].buf, e.theta, sums, e.log_z, members, dimensions, n, phi);
    total = grow_by(e.r, b[7].buf, b[9].buf, members, x[6], x[7]);
    for (Py_ssize_t i = 1; i <= (Py_ssize_t)e.order[0]; i++) {
        const Py_ssize_t j = (Py_ssize_t)e.order[i];
        for (Py_ssize_t k = 0; k < dimensions; k++)
            e.seen[j * dimensions + k] += sums[k] - n * means[k];
        e.age[j] += n;
        if (e.age[j] > x[4] * e.estimated[j])
            estimate(&e, j, b[13].buf, phi, sqrt(2) * slack, x[2] + x[3], &limits);
    }
    Py_END_ALLOW_THREADS;
    return PyFloat_FromDouble(total);
}

static PyObject *with_buffers(PyObject *const *args, Py_ssize_t n_args, int buffers, const int *flags, int numbers,
                              PyObject *(*work)(Py_buffer *, const double *))
{
    Py_buffer held[MAX_BUFFERS];
    double x[MAX_NUMBERS];
    PyObject *result = NULL;
    int n = 0;
    if (n_args != buffers + numbers)
        return PyErr_Format(PyExc_TypeError, "%zd arguments: expected %d", n_args, buffers + numbers);
    for (int i = 0; i < numbers; i++)
        x[i] = PyFloat_AsDouble(args[buffers + i]);
    if (PyErr_Occurred())
        return NULL;
    while (n < buffers && PyObject_GetBuffer(args[n], &held[n], flags[n] | PyBUF_FORMAT) == 0) {
        if (held[n].format == NULL || held[n].format[0] != 'd') {
            PyErr_Format(PyExc_TypeError, "array %d has format %s: expected d", n, held[n].format);
            PyBuffer_Release(&held[n]);
            break;
        }
        n++;
    }
    if (n == buffers)
        result = work(held, x);
    while (n)
        PyBuffer_Release(&held[--n]);
    return result;
}

static PyObject *grow(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
    static const int flags[] = {PyBUF_WRITABLE, PyBUF_WRITABLE, PyBUF_SIMPLE, PyBUF_SIMPLE, PyBUF_SIMPLE, PyBUF_SIMPLE};
    (void)self;
    return with_buffers(args, n_args, 6, flags, 4, grow_in);
}

static PyObject *limits(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
    static const int flags[] = {PyBUF_WRITABLE, PyBUF_WRITABLE, PyBUF_SIMPLE, PyBUF_SIMPLE, PyBUF_WRITABLE};
    (void)self;
    return with_buffers(args, n_args, 5, flags, 3, limits_in);
}

static PyObject *learn(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
    static const int flags[] = {PyBUF_WRITABLE, PyBUF_WRITABLE, PyBUF_WRITABLE, PyBUF_WRITABLE,
                                PyBUF_WRITABLE, PyBUF_WRITABLE, PyBUF_WRITABLE, PyBUF_WRITABLE,
                                PyBUF_WRITABLE, PyBUF_SIMPLE,   PyBUF_SIMPLE,   PyBUF_SIMPLE,
                                PyBUF_SIMPLE,   PyBUF_SIMPLE,   PyBUF_SIMPLE,   PyBUF_SIMPLE};
    (void)self;
    return with_buffers(args, n_args, 16, flags, 8, learn_in);
}

static PyMethodDef methods[] = {
    {"grow", (PyCFunction)(void (*)(void))grow, METH_FASTCALL, "See monitor.stats.detect.bets.grow."},
    {"limits", (PyCFunction)(void (*)(void))limits, METH_FASTCALL, "See monitor.stats.detect.bets.limits."},
    {"learn", (PyCFunction)(void (*)(void))learn, METH_FASTCALL, "See monitor.stats.detect.learner.Learner.update."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "betting", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_betting(void)
{
    return PyModuleDef_Init(&module);
}
