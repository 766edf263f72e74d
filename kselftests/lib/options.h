/* SPDX-License-Identifier: GPL-2.0-only */
/* What every scenario can be told; each tells it by --help. */
#ifndef GUPRACE_OPTIONS_H
#define GUPRACE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	double seconds;
	uint64_t seed;
	const char *only;		/* subtests, by glob; NULL: all */
	bool stretch;
	bool naive;
	bool first;
};

/* Ends the program after --help and --list, or with usage and status 2. */
struct options options_parse(int argc, char **argv);
void options_error(const char *option, const char *value) __attribute__((noreturn));

#endif
