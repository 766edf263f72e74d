// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "check.h"
#include "ktap.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#define PR_SET_VMA_ANON_NAME	0
#endif

#define CLEANUPS_MAX		8

static void (*cleanup[CLEANUPS_MAX])(void);
static unsigned int cleanups;
static pid_t owner;		/* of what they put back */

static atomic_bool ending;
static __thread bool ends_it;	/* this thread, of all those that found a reason */

void broken_cleanup(void (*fn)(void))
{
	if (cleanups == CLEANUPS_MAX)
		broken("more than %d cleanups", CLEANUPS_MAX);
	owner = getpid();
	cleanup[cleanups++] = fn;
}

/* A child has inherited the list, and not what is on it. */
void clean_up(void)
{
	while (cleanups && getpid() == owner)
		cleanup[--cleanups]();
}

bool end_begins(void)
{
	bool first = !atomic_exchange(&ending, true);

	ends_it = ends_it || first;
	return first;
}

void end_is_near(void)
{
	while (!ends_it && getpid() == owner)
		pause();
}

void end_holds(void)
{
	if (atomic_load_explicit(&ending, memory_order_relaxed))
		end_is_near();
}

void broken(const char *fmt, ...)
{
	char reason[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	if (end_begins()) {
		ktap_bail_out(reason);
		clean_up();
	} else {
		end_is_near();
	}
	_exit(1);
}

void *check_mmap(void *addr, size_t len, int prot, int flags, const char *what)
{
	void *map = mmap(addr, len, prot, flags, -1, 0);

	if (map == MAP_FAILED)
		broken("mmap(%p, %zu, flags %#x) for %s: %s", addr, len, flags, what,
		       strerror(errno));
	return map;
}

void check_munmap(void *addr, size_t len, const char *what)
{
	if (munmap(addr, len))
		broken("munmap(%p, %zu) of %s: %s", addr, len, what, strerror(errno));
}

void check_madvise(void *addr, size_t len, int advice, const char *what)
{
	if (madvise(addr, len, advice))
		broken("madvise(%p, %zu, %d) of %s: %s", addr, len, advice, what, strerror(errno));
}

void check_pthread_create(pthread_t *thread, void *(*fn)(void *), void *arg, const char *what)
{
	int err = pthread_create(thread, NULL, fn, arg);

	if (err)
		broken("pthread_create of %s: %s", what, strerror(err));
}

void check_pthread_join(pthread_t thread, const char *what)
{
	int err = pthread_join(thread, NULL);

	if (err)
		broken("pthread_join of %s: %s", what, strerror(err));
}

void check_pin_to_cpu(int cpu)
{
	cpu_set_t set[CPUS_MAX / CPU_SETSIZE];

	CPU_ZERO_S(sizeof(set), set);
	CPU_SET_S(cpu, sizeof(set), set);
	if (sched_setaffinity(0, sizeof(set), set))
		broken("sched_setaffinity to CPU %d: %s", cpu, strerror(errno));
}

void name_mapping(void *addr, size_t len, const char *name)
{
	/* EINVAL without CONFIG_ANON_VMA_NAME: only readers of /proc/PID/maps miss it. */
	(void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, len, name);
}

int write_file(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd;
	ssize_t done;
	int err = 0;

	end_holds();
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	done = write(fd, text, len);
	if (done < 0)
		err = -errno;
	else if ((size_t)done != len)
		err = -EIO;
	close(fd);
	return err;
}
