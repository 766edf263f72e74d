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

#define KPROBES_MAX	16
#define SYMBOL_LEN	64

/* False, with the reason, where this user or this kernel has no kprobe events. */
bool kprobe_init(char *why, size_t size);

/* Remove all probes and the instance. */
void kprobe_exit(void);

/* Arm a probe at symbol + offset; its index, or -errno. */
int kprobe_add(const char *symbol, unsigned int offset);

/*
 * The same, and slow: whoever comes by reads a text of the kernel's `reads` times, byte by byte and
 * with checks, before he goes on. A few microseconds each, on any architecture.
 */
int kprobe_add_slow(const char *symbol, unsigned int offset, unsigned int reads);

/* Disarm a probe for good. */
void kprobe_remove(int index);

/* Hits of `count` probes from `first` on, so far. */
uint64_t kprobe_hits(int first, unsigned int count);

/* Bytes of a function, by /proc/kallsyms; 0 where this user is not told. */
unsigned int kprobe_symbol_size(const char *symbol);

/* Functions in /proc/kallsyms called `name`, and clones such as name.part.0; how many. */
unsigned int kprobe_symbols(const char *name, char symbols[][SYMBOL_LEN], unsigned int max);

#endif
