/* SPDX-License-Identifier: GPL-2.0-only */
/* Broken set-ups end the program; checked calls say which call, with what, and why. */
#ifndef GUPRACE_CHECK_H
#define GUPRACE_CHECK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Print `Bail out! ...` and exit with 1: the set-up is broken, nothing was learnt. */
void broken(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Have `fn` called however the program ends; the last one first. */
void broken_cleanup(void (*fn)(void));

/* Call them, once. For main(), and on the way out. Does nothing in a child. */
void clean_up(void);

/*
 * Of threads that find at the same time that the program must end, the first one says why and cleans
 * up: true for that one. The others wait for the end, and do not return; but whoever is to wait in the
 * midst of his own clean-up does.
 */
bool end_begins(void);
void end_is_near(void);

/* Whoever is about to change what is put back: from the end on nobody but who cleans up does. */
void end_holds(void);

void *check_mmap(void *addr, size_t len, int prot, int flags, const char *what);
void check_munmap(void *addr, size_t len, const char *what);
void check_madvise(void *addr, size_t len, int advice, const char *what);
void check_pthread_create(pthread_t *thread, void *(*fn)(void *), void *arg, const char *what);
void check_pthread_join(pthread_t thread, const char *what);

/* By the largest NR_CPUS there is: a cpu_set_t holds 1024, and is refused where there may be more. */
#define CPUS_MAX	8192
void check_pin_to_cpu(int cpu);

/* Name a mapping in /proc/PID/maps, where the kernel can. */
void name_mapping(void *addr, size_t len, const char *name);

/* Write the whole string to a file; 0 or -errno. */
int write_file(const char *path, const char *text);

#endif
