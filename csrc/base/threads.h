/* The only part of the core that knows of threads: one pool for the process, and locks.
 *
 * Work is cut by its caller, by shape and a fixed grain, into tasks that write disjoint memory;
 * which thread runs a task is not decided here or anywhere, so results cannot depend on it. */
#ifndef MLC_THREADS_H
#define MLC_THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "status.h"

typedef void mlc_task(void *context, size_t index);

/* Run task(context, i) for i in [0, n), in any order, on the pool and the calling thread. A call
 * made from inside a task, or while another thread uses the pool, runs all of it on its own
 * thread. False if the caller's poll function asked to stop: then some tasks did not run. */
bool mlc_parallel_for(size_t n, mlc_task *task, void *context);

/* As above on at most `limit` threads. */
bool mlc_parallel_limit(size_t n, size_t limit, mlc_task *task, void *context);

/* Which of a region's threads runs the current task, from 0 on: scratch memory goes by it, results
 * never do. */
size_t mlc_worker(void);

/* Threads a region may use, the caller included; at least 1. At first MLCLASSIFY_NUM_THREADS,
 * else what affinity and the cgroup's CPU quota leave. */
int mlc_threads_get(void);
void mlc_threads_set(int threads);
/* Take MLCLASSIFY_NUM_THREADS; MLC_VALUE if it is set to something that is no number of threads. */
mlc_status mlc_threads_from_environment(mlc_error *error);

/* `poll(context)` is called by the calling thread about every 50 ms of its parallel regions; once
 * it returns true, this and every later region of this thread stop early, until the next set. */
typedef bool mlc_poll(void *context);
void mlc_poll_set(mlc_poll *poll, void *context);

/* A lock of readers and writers. A fork copies one that is held by threads that the child does not
 * have: there it is made anew, and remembers if one of them was writing. */
typedef struct {
    pthread_rwlock_t lock;
    atomic_uint forks; /* that this process had behind it when `lock` was made */
    bool writing, torn;
} mlc_lock;

void mlc_lock_init(mlc_lock *lock);
/* Whether what the lock guards was half written when this process was forked; to be asked by who
 * holds it. */
bool mlc_lock_torn(const mlc_lock *lock);
void mlc_lock_done(mlc_lock *lock);
void mlc_lock_read(mlc_lock *lock);
void mlc_lock_write(mlc_lock *lock);
/* The same while the caller's poll function is asked about every 50 ms; false, without the lock,
 * once it says stop. */
bool mlc_lock_read_polled(mlc_lock *lock);
bool mlc_lock_write_polled(mlc_lock *lock);
void mlc_unlock(mlc_lock *lock);

#endif
