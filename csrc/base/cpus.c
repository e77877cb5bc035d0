/* A quota may stand at any cgroup between a process and the root. Inside a container the root of
 * /sys/fs/cgroup is the container's own, and the path that /proc names need not be there. */
#define _GNU_SOURCE
#include "cpus.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

/* The whole numbers that `folder`/`name` starts with, at most two; how many there are. */
static int read_numbers(const char *folder, const char *name, double number[2])
{
    char path[PATH_MAX], line[64] = "", *at = line, *end = line;
    int found = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return 0;
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (!fgets(line, sizeof line, file)) line[0] = '\0';
    fclose(file);
    for (; found < 2; found++, at = end) {
        number[found] = (double)strtoll(at, &end, 10);
        if (end == at) break;
    }
    return found;
}

/* "max 100000" in version 2 and -1 in version 1 mean that there is no quota. */
static double quota_of(const char *folder)
{
    double n[2], period[2];
    bool found = read_numbers(folder, "cpu.max", n) == 2;
    if (!found && read_numbers(folder, "cpu.cfs_quota_us", n) == 1 &&
        read_numbers(folder, "cpu.cfs_period_us", period) == 1) {
        n[1] = period[0];
        found = true;
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): n[1] > 0 */
    return found && n[0] > 0 && n[1] > 0 ? n[0] / n[1] : INFINITY;
}

/* The least quota from `mount` + `path` up to `mount`. */
static double least_quota(const char *mount, const char *path)
{
    char folder[PATH_MAX];
    double least = INFINITY;
    int length = snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (length < 0 || length >= (int)sizeof folder) return quota_of(mount);
    for (;;) {
        least = fmin(least, quota_of(folder));
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + strlen(mount)) return least;
        *slash = '\0';
    }
}

/* Whether "cpu" is one of the names, with commas between them, in [from, to). */
static bool names_cpu(const char *from, const char *to)
{
    while (from < to) {
        const char *comma = memchr(from, ',', (size_t)(to - from));
        const char *end = comma ? comma : to;
        if (end - from == 3 && memcmp(from, "cpu", 3) == 0) return true;
        from = end + 1;
    }
    return false;
}

/* Lines of /proc/self/cgroup are "number:controllers:path", without controllers in version 2. */
double mlc_cpus_quota(const char *root)
{
    char v1[PATH_MAX], v2[PATH_MAX], file[PATH_MAX], line[PATH_MAX + 64];
    if (strlen(root) > PATH_MAX / 2) return INFINITY;
    snprintf(v2, sizeof v2, "%s/sys/fs/cgroup", root);
    snprintf(v1, sizeof v1, "%s/sys/fs/cgroup/cpu", root);
    snprintf(file, sizeof file, "%s/proc/self/cgroup", root);
    double least = fmin(quota_of(v2), quota_of(v1));
    FILE *groups = fopen(file, "re");
    while (groups && fgets(line, sizeof line, groups)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        path[strcspn(path, "\n")] = '\0';
        if (path == names + 1) least = fmin(least, least_quota(v2, path + 1));
        if (names_cpu(names + 1, path)) least = fmin(least, least_quota(v1, path + 1));
    }
    if (groups) fclose(groups);
    return least;
}

int mlc_cpus_affinity(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus > 0 ? (int)cpus : 1;
}
