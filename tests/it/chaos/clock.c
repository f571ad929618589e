/* Preloaded into a service: its wall clock is wrong by as many nanoseconds as the file TEST_CLOCK says (eight bytes), which may
 * change at any time, as when somebody sets the time. The next eight bytes say by how much it was when it was last looked at. Waits
 * until a wall-clock time end when that clock shows it, as the kernel's do. The monotonic clock is left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
/* A wait looks at the clock so often. */
#define SLICE (SECOND / 20)

typedef int wait_until(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static volatile int64_t *wrong_by;
static wait_until *wait_really;

__attribute__((constructor)) static void open_clock(void) {
	const char *path = getenv("TEST_CLOCK");
	int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = file < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (at != MAP_FAILED) wrong_by = at;
	if (file >= 0) close(file);
	/* By its version: without one the oldest may be found, which is laid out otherwise. */
	wait_really = (wait_until *)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
	if (!wait_really) wait_really = (wait_until *)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
}

static int64_t nanos(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }

static struct timespec spec(int64_t nanos) {
	return (struct timespec){.tv_sec = nanos / SECOND, .tv_nsec = nanos % SECOND};
}

static int64_t really(void) {
	struct timespec t;
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
	return nanos(&t);
}

static int64_t shown(void) {
	int64_t by = wrong_by ? wrong_by[0] : 0;
	/* Written when it changes only: a page that everybody writes all the time would be no clock any more. */
	if (wrong_by && wrong_by[1] != by) wrong_by[1] = by;
	return really() + by;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, clock, t);
	*t = spec(shown());
	return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	(void)zone;
	int64_t now = shown();
	*t = (struct timeval){.tv_sec = now / SECOND, .tv_usec = now % SECOND / 1000};
	return 0;
}

time_t time(time_t *t) {
	time_t now = shown() / SECOND;
	if (t) *t = now;
	return now;
}

int timespec_get(struct timespec *t, int base) {
	*t = spec(shown());
	return base;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
	for (;;) {
		int64_t left = nanos(until) - shown();
		if (left <= 0) return ETIMEDOUT;
		struct timespec slice = spec(really() + (left < SLICE ? left : SLICE));
		int ended = wait_really(cond, mutex, &slice);
		if (ended != ETIMEDOUT) return ended;
	}
}

/* librdkafka's. In glibc both kinds of condition and mutex are the same. */
int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
	int ended = pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until);
	return ended == 0 ? thrd_success : ended == ETIMEDOUT ? thrd_timedout : thrd_error;
}
