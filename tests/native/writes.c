/* A library to preload that does to regular files what a system may do: it takes less of a write
 * than it was given, it is interrupted, and it fails in the middle or at the end.
 *
 *   writes_most(bytes)             a write takes at most so many; 0: what it is given
 *   writes_fail(call, k, number)   the k-th call of this kind from here on, counted from 1, fails
 *                                  with this errno; 0: none. A file that fails to close is closed
 *   writes_count(call)             calls of this kind since
 *
 * A call is one of those that write: fsync also of a folder, close of a file that is written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE, FSYNC, CLOSE, RENAME, CALLS };

static size_t most, counts[CALLS], failing[CALLS];
static int numbers[CALLS];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static bool is_written(int file)
{
    struct stat about;
    int flags = fcntl(file, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !fstat(file, &about) &&
           S_ISREG(about.st_mode);
}

/* Whether this call is the one that fails. */
static bool fails(int call)
{
    if (++counts[call] != failing[call]) return false;
    errno = numbers[call];
    return true;
}

ssize_t write(int file, const void *data, size_t bytes)
{
    if (is_written(file)) {
        if (fails(WRITE)) return -1;
        if (most && bytes > most) bytes = most;
    }
    return REAL(write)(file, data, bytes);
}

int fsync(int file) { return fails(FSYNC) ? -1 : REAL(fsync)(file); }

int close(int file)
{
    bool written = is_written(file);
    int status = REAL(close)(file);
    return written && fails(CLOSE) ? -1 : status;
}

int rename(const char *from, const char *to) { return fails(RENAME) ? -1 : REAL(rename)(from, to); }

void writes_most(size_t bytes) { most = bytes; }

void writes_fail(int call, size_t k, int number)
{
    counts[call] = 0;
    failing[call] = k;
    numbers[call] = number;
}

size_t writes_count(int call) { return counts[call]; }
