/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions of the running kernel, by /proc/kallsyms. It is read once: the kernel takes its time to
 * print a hundred thousand names, more so with KCSAN or KASAN.
 */
#ifndef GUPRACE_KALLSYMS_H
#define GUPRACE_KALLSYMS_H

#include <stdint.h>

#define SYMBOL_LEN	64

struct function {
	char name[SYMBOL_LEN];
	uint64_t addr;			/* 0 where this user is not told */
	unsigned int size;		/* bytes, up to whatever comes next; 0 the same */
};

/* Functions called `name`, and the compiler's clones such as name.part.0; how many, at most `max`. */
unsigned int kallsyms_functions(const char *name, struct function *found, unsigned int max);

#endif
