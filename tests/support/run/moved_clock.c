/* The wall clock of each process that preloads this library is moved by MOVED_S seconds; monotonic clocks stay.

   `./notify test --days N` builds and preloads it. libfaketime 0.9.10 moves the deadlines of monotonic sleeps as well
   (time.sleep of Python 3.11 ends at once, or after 400 days), and Redis hangs in it when it begins.

   It calls nothing that allocates memory: allocators ask for the time before anything else is ready. */

#define _GNU_SOURCE
#include <semaphore.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += MOVED_S;
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, at, zone);
    if (!failed && at) at->tv_sec += MOVED_S;
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

/* The caller made the deadline with the moved clock, but the kernel waits by the real one. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    struct timespec real = {deadline->tv_sec - MOVED_S, deadline->tv_nsec};
    return sem_clockwait(semaphore, CLOCK_REALTIME, &real);
}
