/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/parallel.c: a small pool of POSIX threads. Workers sleep on a condition variable; a job is a counter that
 * caller and workers draw items from. The pool is made anew in a process that forked, where its threads do not exist.
 */
#define _GNU_SOURCE
#include "runtime/parallel.h"

#include "runtime/place.h"

#include <fenv.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* Below so many operations, waking a thread (5 to 50 microseconds) costs more than it brings. */
enum { SMALL_WORK = 1 << 16 };

/* What items of work need of a worker's stack, with room to spare: whatever has more than a few kilobytes is scratch. */
enum { WORKER_STACK = 256 << 10 };

/* To wake a thread on an idle CPU of a virtual machine can take as long as this. */
enum { SPIN_NANOSECONDS = 50000 };

typedef struct member {
    attn_i_pool *pool;
    pthread_t thread;
    attn_i_place place;
} member;

struct attn_i_pool {
    int32_t threads; /* wanted, the caller included */
    attn_execute_fn execute;
    void *executor_data;

    pthread_mutex_t use; /* held by the caller whose job it is */
    atomic_uint family;  /* the value of `forks` that the threads belong to; REBUILDING while they are made anew */
    int32_t started;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake, done;
    atomic_uint_least64_t job; /* counts jobs, so that a worker knows a new one */
    int open;                  /* workers may still join the job */
    atomic_int working;        /* workers that have joined it and not yet finished */
    int stop;

    attn_task_fn task;
    void *data;
    int64_t count;
    int cpu;     /* that the caller is on */
    fenv_t mode; /* of the caller: rounding, and how subnormal numbers are treated */
    atomic_int_least64_t next;

    member workers[]; /* threads - 1 */
};

enum { REBUILDING = 0 };

/* How often this process' ancestors forked since the library was first used, plus 1. */
static atomic_uint forks = 1;
static pthread_once_t forks_once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
    atomic_fetch_add(&forks, 1);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

static size_t pool_bytes(int32_t threads)
{
    return sizeof(attn_i_pool) + (size_t)(threads - 1) * sizeof(member);
}

static void initialise_locks(attn_i_pool *pool)
{
    pthread_mutex_init(&pool->use, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
}

attn_i_pool *attn_i_pool_create(const attn_i_allocator *allocator, int32_t threads, attn_execute_fn execute,
                                void *executor_data)
{
    pthread_once(&forks_once, watch_forks);
    attn_i_pool *pool = attn_i_allocate(allocator, pool_bytes(threads));
    if (pool == NULL) return NULL;
    memset(pool, 0, pool_bytes(threads));
    pool->threads = threads;
    pool->execute = execute;
    pool->executor_data = executor_data;
    atomic_init(&pool->family, atomic_load(&forks));
    atomic_init(&pool->next, 0);
    initialise_locks(pool);
    return pool;
}

static void draw_items(attn_i_pool *pool, attn_task_fn task, void *data, int64_t count)
{
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= count) return;
        task(data, i);
    }
}

static int64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* The two waits that are mostly short. They yield, so that threads that are more than CPUs are not held up. */
static void spin_for_job(attn_i_pool *pool, uint64_t seen)
{
    const int64_t end = nanoseconds() + SPIN_NANOSECONDS;
    while (atomic_load_explicit(&pool->job, memory_order_relaxed) == seen && nanoseconds() < end) sched_yield();
}

static void spin_for_workers(attn_i_pool *pool)
{
    const int64_t end = nanoseconds() + SPIN_NANOSECONDS;
    while (atomic_load_explicit(&pool->working, memory_order_relaxed) > 0 && nanoseconds() < end) sched_yield();
}

/* Called with `lock` held. After a job, or one that it came too late for, a worker is awake for a while; then it sleeps
 * until there is another. */
static void wait_for_job(member *self, uint64_t *seen)
{
    attn_i_pool *pool = self->pool;
    pthread_mutex_unlock(&pool->lock);
    spin_for_job(pool, *seen);
    pthread_mutex_lock(&pool->lock);
    attn_i_place_note(&self->place);
    while (!pool->stop && pool->job == *seen) pthread_cond_wait(&pool->wake, &pool->lock);
    attn_i_place_return(&self->place);
    if (!pool->open) *seen = pool->job;
}

static void *worker(void *argument)
{
    member *self = argument;
    attn_i_pool *pool = self->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stop && (!pool->open || pool->job == seen)) wait_for_job(self, &seen);
        if (pool->stop) break;
        seen = pool->job;
        pool->working++;
        attn_task_fn task = pool->task;
        void *data = pool->data;
        int64_t count = pool->count;
        const int cpu = pool->cpu;
        fesetenv(&pool->mode);
        pthread_mutex_unlock(&pool->lock);
        attn_i_place_avoid(cpu);
        draw_items(pool, task, data, count);
        pthread_mutex_lock(&pool->lock);
        if (--pool->working == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static int add_thread_local(struct dl_phdr_info *object, size_t size, void *bytes)
{
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_TLS) *(size_t *)bytes += (size_t)(part->p_memsz + part->p_align);
    }
    return 0;
}

/* A stack as this process' threads have, but at least what a worker needs: the default may be as small as a limit on
 * stacks, and the C library takes thread-local storage, of which some programs have a lot, from the stack too. */
static void ask_for_stack(pthread_attr_t *attributes)
{
    size_t usual = 0, least = (size_t)WORKER_STACK + (size_t)PTHREAD_STACK_MIN;
    dl_iterate_phdr(add_thread_local, &least);
    pthread_attr_getstacksize(attributes, &usual);
    if (usual < least) pthread_attr_setstacksize(attributes, (least / WORKER_STACK + 1) * WORKER_STACK);
}

/* Called with `use` held. Starts what has not started; a thread that cannot be had is tried again with the next job.
 * Workers take no signals: those are the application's. */
static void start_workers(attn_i_pool *pool)
{
    if (pool->started == pool->threads - 1) return;
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    ask_for_stack(&attributes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started < pool->threads - 1) {
        member *one = &pool->workers[pool->started];
        *one = (member){.pool = pool};
        pthread_mutex_lock(&pool->lock); /* until it is known where it may run */
        const int failed = pthread_create(&one->thread, &attributes, worker, one);
        if (!failed) attn_i_place_send(&one->place, one->thread, 1);
        pthread_mutex_unlock(&pool->lock);
        if (failed) break;
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* 1 if the pool is this process' own and now held by the caller. */
static int take(attn_i_pool *pool)
{
    unsigned now = atomic_load(&forks), family = atomic_load(&pool->family);
    if (family != now) { /* in a child: locks and threads are the parent's; whoever comes first makes them anew */
        if (family == REBUILDING || !atomic_compare_exchange_strong(&pool->family, &family, REBUILDING)) return 0;
        initialise_locks(pool);
        pool->started = 0;
        pool->open = 0;
        pool->working = 0;
        atomic_store(&pool->family, now);
    }
    return pthread_mutex_trylock(&pool->use) == 0;
}

void attn_i_parallel(attn_i_pool *pool, int64_t count, int64_t work, attn_task_fn task, void *data)
{
    if (count > 1 && work >= SMALL_WORK) {
        if (pool->execute != NULL) {
            pool->execute(pool->executor_data, count, task, data);
            return;
        }
        if (pool->threads > 1 && take(pool)) {
            start_workers(pool);
            pthread_mutex_lock(&pool->lock);
            pool->task = task;
            pool->data = data;
            pool->count = count;
            pool->cpu = attn_i_place_here();
            fegetenv(&pool->mode);
            pool->job++;
            pool->open = 1;
            atomic_store(&pool->next, 0);
            for (int32_t i = 0; i < pool->started; i++) {
                attn_i_place_send(&pool->workers[i].place, pool->workers[i].thread, 0);
            }
            pthread_cond_broadcast(&pool->wake);
            pthread_mutex_unlock(&pool->lock);
            draw_items(pool, task, data, count);
            pthread_mutex_lock(&pool->lock);
            pool->open = 0; /* whoever has not woken yet is not waited for */
            pthread_mutex_unlock(&pool->lock);
            spin_for_workers(pool);
            pthread_mutex_lock(&pool->lock);
            while (pool->working > 0) pthread_cond_wait(&pool->done, &pool->lock);
            pthread_mutex_unlock(&pool->lock);
            pthread_mutex_unlock(&pool->use);
            return;
        }
    }
    for (int64_t i = 0; i < count; i++) task(data, i);
}

void attn_i_pool_destroy(attn_i_pool *pool, const attn_i_allocator *allocator)
{
    if (pool == NULL) return;
    if (atomic_load(&pool->family) == atomic_load(&forks)) {
        pthread_mutex_lock(&pool->lock);
        pool->stop = 1;
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
        for (int32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_cond_destroy(&pool->done);
        pthread_mutex_destroy(&pool->lock);
        pthread_mutex_destroy(&pool->use);
    }
    attn_i_release(allocator, pool, pool_bytes(pool->threads));
}
