/* What each bind_*.c adds to the module. */
#ifndef MLC_BINDINGS_H
#define MLC_BINDINGS_H

#include "args.h"

#define BINDING(name) PyObject *py_##name(PyObject *module, PyObject *const *args, Py_ssize_t nargs)

/* bind_scores.c */
BINDING(sigmoid);
BINDING(bce_with_logits);
BINDING(asymmetric_with_logits);
BINDING(accuracy_count);
BINDING(ranked_columns);

/* bind_ranking.c */
BINDING(column_ranking);
BINDING(column_curve);
BINDING(row_ranking);
BINDING(row_gains);

/* bind_counts.c */
BINDING(label_counts);
BINDING(row_counts);
BINDING(label_weights);
BINDING(rank_histogram);
BINDING(histogram_ranking);

/* bind_thresholds.c */
BINDING(threshold_counts);
BINDING(threshold_search);

/* bind_image.c */
BINDING(augment);

/* bind_system.c */
BINDING(random_uniform);
BINDING(isas);
BINDING(isa);
BINDING(kernels);
BINDING(get_num_threads);
BINDING(set_num_threads);
BINDING(cpus);

/* bind_net.c: add the type Net */
int bind_net(PyObject *module);

#endif
