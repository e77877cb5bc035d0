/* A library to preload that lets allocations fail. What is tested is the extension as it is
 * shipped: a call is known for the core's by the address that it returns to, and for everybody's if
 * none is given.
 *
 *   faults_watch(low, high)  whose calls count: of code in [low, high)
 *   faults_arm(k, many)      the k-th call from here on, counted from 1, and the `many` - 1 after
 *                            it fail; 0: none
 *   faults_count()           calls since the last faults_arm
 *   faults_live()            blocks that the watched code got and nobody has freed
 *   faults_threads(bool)     whether the watched code may start threads */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *block);

enum { SLOTS = 1 << 16 };
static void *const GONE = (void *)1;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static uintptr_t watched_low, watched_high;
static size_t first = SIZE_MAX, last = SIZE_MAX, calls, live;
static bool no_threads;
static void *blocks[SLOTS]; /* a hash table of those that live */

static bool watches(const void *caller)
{
    return (uintptr_t)caller >= watched_low && (uintptr_t)caller < watched_high;
}

static size_t slot_of(const void *block) { return ((uintptr_t)block >> 4) * 40503 % SLOTS; }

/* Whether this call is one that fails. */
static bool fails(const void *caller)
{
    if (!watches(caller)) return false;
    pthread_mutex_lock(&mutex);
    calls++;
    bool now = calls >= first && calls < last;
    pthread_mutex_unlock(&mutex);
    if (now) errno = ENOMEM;
    return now;
}

static void *born(void *block, const void *caller)
{
    if (!block || !watches(caller)) return block;
    pthread_mutex_lock(&mutex);
    size_t i = slot_of(block);
    while (blocks[i] && blocks[i] != GONE) i = (i + 1) % SLOTS;
    blocks[i] = block;
    live++;
    pthread_mutex_unlock(&mutex);
    return block;
}

static void dies(const void *block)
{
    if (!block) return;
    pthread_mutex_lock(&mutex);
    size_t i = slot_of(block);
    while (blocks[i] && blocks[i] != block) i = (i + 1) % SLOTS;
    if (blocks[i]) {
        blocks[i] = GONE;
        live--;
        if (!blocks[(i + 1) % SLOTS]) /* nothing is looked for past here */
            for (; blocks[i] == GONE; i = (i + SLOTS - 1) % SLOTS) blocks[i] = NULL;
    }
    pthread_mutex_unlock(&mutex);
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t bytes)
{
    return fails(CALLER) ? NULL : born(__libc_malloc(bytes), CALLER);
}

void *calloc(size_t count, size_t bytes)
{
    return fails(CALLER) ? NULL : born(__libc_calloc(count, bytes), CALLER);
}

void *realloc(void *block, size_t bytes)
{
    if (fails(CALLER)) return NULL;
    void *moved = __libc_realloc(block, bytes);
    if (moved || !bytes) dies(block);
    return born(moved, CALLER);
}

int posix_memalign(void **block, size_t align, size_t bytes)
{
    if (fails(CALLER)) return ENOMEM;
    void *made = born(__libc_memalign(align, bytes), CALLER);
    if (made) *block = made;
    return made ? 0 : ENOMEM;
}

void free(void *block)
{
    dies(block);
    __libc_free(block);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *with)
{
    static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (no_threads && watches(CALLER)) return EAGAIN;
    if (!create) create = dlsym(RTLD_NEXT, "pthread_create");
    return create(thread, how, start, with);
}

void faults_watch(uintptr_t low, uintptr_t high)
{
    watched_low = low;
    watched_high = high;
}

void faults_arm(size_t k, size_t many)
{
    pthread_mutex_lock(&mutex);
    calls = 0;
    first = k ? k : SIZE_MAX;
    last = k ? k + many : SIZE_MAX;
    pthread_mutex_unlock(&mutex);
}

size_t faults_count(void) { return calls; }
size_t faults_live(void) { return live; }
void faults_threads(bool may) { no_threads = !may; }
