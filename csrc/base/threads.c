/* The pool. Invariants, all under `pool.mutex`: `job` is the region being run or NULL; `running`
 * counts the workers inside it; `busy` is true from its publication until all have left. Workers
 * take task numbers from an atomic counter, so a slow thread delays nothing but its own task.
 *
 * A network of one photo is forty regions of some 100 us each, and to sleep and be woken takes 50:
 * who waits for the next region, or for the others to leave one, looks for it a moment first. */
#define _GNU_SOURCE
#include "threads.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cpus.h"

enum { MAX_THREADS = 256, POLL_MS = 50, SPIN_NS = 50000 };

typedef struct {
    mlc_task *task;
    void *context;
    size_t n;
    atomic_size_t next, seat;
    atomic_bool stop;
} job;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    job *job;
    atomic_ulong generation; /* written under the mutex, like `running` */
    atomic_int running;
    atomic_uint forks; /* between the first process and this one */
    int started, wanted, seats;
    bool busy;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static _Thread_local bool inside; /* this thread is running a task */
static _Thread_local size_t seat; /* and its number among those of the region */
static _Thread_local struct {
    mlc_poll *poll;
    void *context;
    bool stopped;
    struct timespec next;
} polling;

/* --- how many threads ------------------------------------------------------------------------ */

static int clamp_threads(long threads)
{
    return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : (int)threads;
}

/* A quota of one and a half CPUs is used up by two threads. */
static int default_threads(void)
{
    return clamp_threads((long)fmin(ceil(mlc_cpus_quota("")), mlc_cpus_affinity()));
}

mlc_status mlc_threads_from_environment(mlc_error *error)
{
    const char *named = getenv("MLCLASSIFY_NUM_THREADS");
    if (!named || !*named) return MLC_OK;
    char *end;
    long threads = strtol(named, &end, 10);
    if (*end || threads < 1)
        return mlc_fail(error, MLC_VALUE,
                        "MLCLASSIFY_NUM_THREADS must be a whole number from 1 on, got '%s'", named);
    mlc_threads_set(clamp_threads(threads));
    return MLC_OK;
}

int mlc_threads_get(void)
{
    pthread_mutex_lock(&pool.mutex);
    if (!pool.wanted) pool.wanted = default_threads();
    int threads = pool.wanted;
    pthread_mutex_unlock(&pool.mutex);
    return threads;
}

void mlc_threads_set(int threads)
{
    pthread_mutex_lock(&pool.mutex);
    pool.wanted = clamp_threads(threads);
    pthread_mutex_unlock(&pool.mutex);
}

/* --- interrupts ------------------------------------------------------------------------------ */

static struct timespec after_ms(clockid_t clock, long ms)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

void mlc_poll_set(mlc_poll *poll, void *context)
{
    polling.poll = poll;
    polling.context = context;
    polling.stopped = false;
    if (poll) polling.next = after_ms(CLOCK_MONOTONIC, POLL_MS);
}

/* Ask the poll function if 50 ms have passed; true once it has said stop. */
static bool poll_now(void)
{
    if (polling.stopped || !polling.poll) return polling.stopped;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec < polling.next.tv_sec ||
        (now.tv_sec == polling.next.tv_sec && now.tv_nsec < polling.next.tv_nsec))
        return false;
    polling.next = after_ms(CLOCK_MONOTONIC, POLL_MS);
    polling.stopped = polling.poll(polling.context);
    return polling.stopped;
}

/* --- regions --------------------------------------------------------------------------------- */

/* Take tasks until there are none or the job is stopped. Only the region's caller polls. */
static void run_tasks(job *j, bool caller)
{
    bool outer = inside;
    if (!outer) seat = atomic_fetch_add(&j->seat, 1);
    inside = true;
    while (!atomic_load_explicit(&j->stop, memory_order_relaxed)) {
        size_t i = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
        if (i >= j->n) break;
        j->task(j->context, i);
        if (caller && poll_now()) atomic_store(&j->stop, true);
    }
    inside = outer;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool is_new(unsigned long seen) { return atomic_load(&pool.generation) != seen; }
static bool is_left(unsigned long unused) { return (void)unused, atomic_load(&pool.running) == 0; }

/* Look for SPIN_NS whether ready(seen), without the mutex; whoever calls looks again with it. */
static void spin(bool (*ready)(unsigned long), unsigned long seen)
{
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        for (int i = 0; i < 16; i++, relax())
            if (ready(seen)) return;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000000000L + now.tv_nsec - from.tv_nsec < SPIN_NS);
}

static void *worker(void *unused)
{
    (void)unused;
    unsigned long seen = 0;
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        while (!pool.job || pool.generation == seen || pool.seats == 0)
            pthread_cond_wait(&pool.work, &pool.mutex);
        seen = pool.generation;
        job *j = pool.job;
        pool.seats--;
        pool.running++;
        pthread_mutex_unlock(&pool.mutex);
        run_tasks(j, false);
        pthread_mutex_lock(&pool.mutex);
        if (--pool.running == 0) pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.mutex);
        spin(is_new, seen);
        pthread_mutex_lock(&pool.mutex);
    }
    return NULL;
}

/* Workers never take signals: Ctrl-C belongs to the thread that runs the interpreter. */
static void start_workers(int needed)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.started < needed) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, NULL)) break; /* fewer workers, same results */
        pthread_detach(thread);
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* A fork copies the memory of the pool but none of its threads. */
static void prepare_fork(void) { pthread_mutex_lock(&pool.mutex); }
static void parent_of_fork(void) { pthread_mutex_unlock(&pool.mutex); }
static void child_of_fork(void)
{
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.job = NULL;
    pool.started = pool.seats = 0;
    pool.running = 0;
    pool.busy = false;
    pool.forks++;
}

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static void watch_forks(void) { pthread_atfork(prepare_fork, parent_of_fork, child_of_fork); }

/* Make `j` the pool's job; false if the pool serves another thread. */
static bool publish(job *j, int helpers)
{
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&pool.mutex);
    bool mine = !pool.busy;
    if (mine) {
        start_workers(helpers);
        pool.busy = true;
        pool.job = j;
        pool.generation++;
        pool.seats = helpers;
        if (helpers == 1)
            pthread_cond_signal(&pool.work);
        else
            pthread_cond_broadcast(&pool.work);
    }
    pthread_mutex_unlock(&pool.mutex);
    return mine;
}

/* Wait until every worker has left the job, polling meanwhile. */
static void retire(job *j)
{
    pthread_mutex_lock(&pool.mutex);
    pool.seats = 0; /* nobody may enter any more */
    if (pool.running) {
        pthread_mutex_unlock(&pool.mutex);
        spin(is_left, 0);
        pthread_mutex_lock(&pool.mutex);
    }
    while (pool.running) {
        struct timespec deadline = after_ms(CLOCK_REALTIME, POLL_MS);
        if (pthread_cond_timedwait(&pool.done, &pool.mutex, &deadline) != ETIMEDOUT) continue;
        pthread_mutex_unlock(&pool.mutex);
        if (poll_now()) atomic_store(&j->stop, true);
        pthread_mutex_lock(&pool.mutex);
    }
    pool.job = NULL;
    pool.busy = false;
    pthread_mutex_unlock(&pool.mutex);
}

size_t mlc_worker(void) { return inside ? seat : 0; }

bool mlc_parallel_for(size_t n, mlc_task *task, void *context)
{
    return mlc_parallel_limit(n, MAX_THREADS, task, context);
}

bool mlc_parallel_limit(size_t n, size_t limit, mlc_task *task, void *context)
{
    if (polling.stopped) return false;
    job j = {.task = task, .context = context, .n = n};
    int threads = inside || n < 2 ? 1 : mlc_threads_get();
    if ((size_t)threads > n) threads = (int)n;
    if ((size_t)threads > limit) threads = (int)limit;
    bool shared = threads > 1 && publish(&j, threads - 1);
    run_tasks(&j, true);
    if (shared) retire(&j);
    return !atomic_load(&j.stop);
}

/* --- locks ----------------------------------------------------------------------------------- */

/* Writers first, where the system can: overlapping readers would else keep a writer out for good.
 */
static void make_lock(mlc_lock *lock)
{
    pthread_rwlockattr_t kind;
    pthread_rwlockattr_init(&kind);
#if defined(__GLIBC__)
    pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    pthread_rwlock_init(&lock->lock, &kind);
    pthread_rwlockattr_destroy(&kind);
    lock->forks = pool.forks;
}

void mlc_lock_init(mlc_lock *lock)
{
    pthread_once(&fork_once, watch_forks);
    lock->writing = lock->torn = false;
    make_lock(lock);
}

/* In a child, make a lock of its parent anew, before anybody here has it. */
static void own(mlc_lock *lock)
{
    if (lock->forks == pool.forks) return;
    pthread_mutex_lock(&pool.mutex);
    if (lock->forks != pool.forks) {
        lock->torn |= lock->writing;
        lock->writing = false;
        make_lock(lock);
    }
    pthread_mutex_unlock(&pool.mutex);
}

void mlc_lock_done(mlc_lock *lock)
{
    own(lock);
    pthread_rwlock_destroy(&lock->lock);
}

void mlc_lock_read(mlc_lock *lock)
{
    own(lock);
    pthread_rwlock_rdlock(&lock->lock);
}

void mlc_lock_write(mlc_lock *lock)
{
    own(lock);
    pthread_rwlock_wrlock(&lock->lock);
    lock->writing = true;
}

typedef int timed_wait(pthread_rwlock_t *lock, const struct timespec *until);

static bool wait_polled(mlc_lock *lock, timed_wait *wait)
{
    own(lock);
    for (;;) {
        struct timespec until = after_ms(CLOCK_REALTIME, POLL_MS);
        if (wait(&lock->lock, &until) != ETIMEDOUT) return true;
        if (poll_now()) return false;
    }
}

bool mlc_lock_read_polled(mlc_lock *lock) { return wait_polled(lock, pthread_rwlock_timedrdlock); }

bool mlc_lock_write_polled(mlc_lock *lock)
{
    if (!wait_polled(lock, pthread_rwlock_timedwrlock)) return false;
    lock->writing = true;
    return true;
}

/* Readers find `writing` false and leave it: they would all write it at once. */
void mlc_unlock(mlc_lock *lock)
{
    if (lock->writing) lock->writing = false;
    pthread_rwlock_unlock(&lock->lock);
}

bool mlc_lock_torn(const mlc_lock *lock) { return lock->torn; }
