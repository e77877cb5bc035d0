#define _GNU_SOURCE
#include "memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number after `label` (empty: the first) in a file of numbers; false if there is none. */
static int read_number(const char *path, const char *label, size_t *number)
{
    char line[256], *end;
    unsigned long long value = 0;
    int found = 0;
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        if (strncmp(line, label, strlen(label)) != 0) continue;
        value = strtoull(line + strlen(label), &end, 10);
        found = end != line + strlen(label);
    }
    fclose(file);
    if (found) *number = value < SIZE_MAX ? (size_t)value : SIZE_MAX;
    return found;
}

static void lower(size_t *least, size_t limit, size_t used)
{
    size_t left = limit > used ? limit - used : 0;
    if (left < *least) *least = left;
}

/* A group's use counts files in the cache, which give way; `inactive` is the name of those. */
static void group_limit(size_t *least, const char *max, const char *current, const char *stat,
                        const char *inactive)
{
    size_t limit, used, cache = 0;
    if (!read_number(max, "", &limit) || !read_number(current, "", &used)) return;
    read_number(stat, inactive, &cache);
    lower(least, limit, used > cache ? used - cache : 0);
}

size_t mlc_memory_available(void)
{
    size_t least = SIZE_MAX, value;
    struct rlimit space;
    if (read_number("/proc/meminfo", "MemAvailable:", &value) && value < SIZE_MAX >> 10)
        least = value << 10;
    group_limit(&least, "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current",
                "/sys/fs/cgroup/memory.stat", "inactive_file ");
    group_limit(&least, "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.stat",
                "total_inactive_file ");
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY &&
        read_number("/proc/self/statm", "", &value))
        lower(&least, (size_t)space.rlim_cur, value * (size_t)sysconf(_SC_PAGESIZE));
    return least;
}

char *mlc_memory_text(size_t bytes, char *text)
{
    if (bytes >> 30)
        snprintf(text, 32, "%.1f GB", (double)bytes / (1 << 30));
    else
        snprintf(text, 32, "%zu MB", bytes >> 20);
    return text;
}
