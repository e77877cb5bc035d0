/* The whole surface of mlclassify._core. Python owns every array but a net's parameters; C borrows
 * them for the length of one call. */
#define MLC_IMPORTS_NUMPY
#include "bindings.h"

#include <stdlib.h>

#include "../base/threads.h"
#include "../isa/select.h"

/* clang-format off */
#define FUNCTION(name, doc) \
    {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, PyDoc_STR(doc)}
/* clang-format on */

static PyMethodDef functions[] = {
    FUNCTION(sigmoid, "sigmoid(x, out, /)\n--\n\nout = 1 / (1 + exp(-x)); float32; out may be x."),
    FUNCTION(bce_with_logits,
             "bce_with_logits(logits, targets, weight, pos_weight, smoothing, missing, mean, out, "
             "grad, /)\n--\n\n"
             "The loss, summed or its mean; elementwise into out, its gradient into grad."),
    FUNCTION(asymmetric_with_logits,
             "asymmetric_with_logits(logits, targets, weight, pos_weight, smoothing, missing, "
             "mean, out, grad, gamma_neg, gamma_pos, clip, /)\n--\n\n"
             "The same of the asymmetric loss."),
    FUNCTION(accuracy_count, "accuracy_count(scores, targets, thresh, /)\n--\n\n"
                             "How many cells have (score > thresh) == (target != 0)."),
    FUNCTION(ranked_columns,
             "ranked_columns(scores, targets, out_scores, out_rows, out_positives, /)\n"
             "--\n\nColumns, descending: scores, their rows, positives so far."),
    FUNCTION(column_ranking, "column_ranking(scores, targets, weights, out, /)\n--\n\n"
                             "Of each label: AP, ROC AUC; NaN where they are not defined."),
    FUNCTION(column_curve,
             "column_curve(scores, targets, weights, length, row, positive, all, /)\n--\n\n"
             "Of each label, down to each score: a row that has it, weight of positives, of all."),
    FUNCTION(row_ranking, "row_ranking(scores, targets, out, /)\n--\n\n"
                          "Of each row: AP, coverage, ranking loss."),
    FUNCTION(row_gains, "row_gains(scores, targets, gains, out, /)\n--\n\n"
                        "Of each row: what its labels gain by their places."),
    FUNCTION(label_counts, "label_counts(targets, decided, out, /)\n--\n\n"
                           "Of each label: in how many rows both are not 0, targets, decided."),
    FUNCTION(row_counts, "row_counts(targets, decided, out, /)\n--\n\n"
                         "The same of each row."),
    FUNCTION(label_weights, "label_weights(targets, decided, weights, out, /)\n--\n\n"
                            "As label_counts, summing the rows' weights."),
    FUNCTION(rank_histogram, "rank_histogram(scores, targets, histogram, /)\n--\n\n"
                             "Add scores to the histograms of their ranks' upper bits."),
    FUNCTION(histogram_ranking, "histogram_ranking(histogram, out, /)\n--\n\n"
                                "Of each label: AP, its least, its most; ROC AUC likewise."),
    FUNCTION(threshold_counts,
             "threshold_counts(scores, targets, thresholds, counts, exact, /)\n--\n\n"
             "Of each label: how many scores lie above how many thresholds; rows all right."),
    FUNCTION(threshold_search,
             "threshold_search(scores, targets, start, smooth, edges, counts, /)\n--\n\n"
             "Of each label: the scores around the cut of the best F1, and what it counts."),
    FUNCTION(augment, "augment(images, homography, border, nearest, edges, lighting, tint, turn, "
                      "mean, std, out, /)\n--\n\n"
                      "Resample, light, color and normalise a batch of uint8 images into float32."),
    FUNCTION(random_uniform, "random_uniform(seed, epoch, position, operation, out, /)\n--\n\n"
                             "Fill float64 out with numbers of [0, 1) that belong to the key."),
    FUNCTION(isas, "isas()\n--\n\nInstruction sets this machine can run, slowest first."),
    FUNCTION(isa, "isa()\n--\n\nThe instruction set in use."),
    FUNCTION(kernels, "kernels(isa, /)\n--\n\nAddresses of a table's kernels, by name."),
    FUNCTION(get_num_threads, "get_num_threads()\n--\n\nThreads a call may use."),
    FUNCTION(set_num_threads,
             "set_num_threads(threads, /)\n--\n\nUse so many threads from now on."),
    FUNCTION(cpus, "cpus(root, /)\n--\n\nCPUs that the affinity allows, and the cgroups' quotas; "
                   "root is put before /proc and /sys."),
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    mlc_error error;
    if (PyArray_ImportNumPyAPI() < 0) return -1;
    const char *named = getenv("MLCLASSIFY_ISA");
    mlc_status status = mlc_isa_choose(named && *named ? named : NULL, &error);
    if (!status) status = mlc_threads_from_environment(&error);
    if (status) {
        raise_status(status, &error);
        return -1;
    }
    return bind_net(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mlclassify._core",
    .m_doc = PyDoc_STR("C kernels, metrics and the CNN engine of mlclassify."),
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
