/* How many CPUs this process may use. */
#ifndef MLC_CPUS_H
#define MLC_CPUS_H

/* CPUs of its affinity; where there is none, those that are online. At least 1. */
int mlc_cpus_affinity(void);

/* CPUs that the least quota of its cgroup, and of those that hold it, allows; INFINITY without one.
 * `root` is put before /proc and /sys: "", but in tests. */
double mlc_cpus_quota(const char *root);

#endif
