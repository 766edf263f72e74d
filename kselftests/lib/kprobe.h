/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kprobe events of tracefs, for their hit counts and for the time they take. They are enabled in a
 * tracing instance of our own with its ring buffer off, and are gone when the program ends.
 */
#ifndef GUPRACE_KPROBE_H
#define GUPRACE_KPROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kallsyms.h"

#define KPROBES_MAX	16

/* False, with the reason, where this user or this kernel has no kprobe events. */
bool kprobe_init(char *why, size_t size);

/* Remove all probes and the instance. */
void kprobe_exit(void);

/* Arm a probe in a function, `offset` bytes from its begin; its index, or -errno. */
int kprobe_add(const struct function *fn, unsigned int offset);

/*
 * The same, and slow: whoever comes by reads a text of the kernel's `reads` times, byte by byte and
 * with checks, before he goes on. A few microseconds each, on any architecture.
 */
int kprobe_add_slow(const struct function *fn, unsigned int offset, unsigned int reads);

/*
 * Arm a probe at the begin of a function that writes down who calls it; its index, or -errno. The
 * address that the last call returns to, 0 if there was none; the probe is gone then.
 */
int kprobe_add_caller(const struct function *fn);
uint64_t kprobe_take_caller(int index);

/* Disarm a probe for good. */
void kprobe_remove(int index);

/* Hits of `count` probes from `first` on, so far. */
uint64_t kprobe_hits(int first, unsigned int count);

#endif
