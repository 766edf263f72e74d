/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KTAP on standard output: a line is written and flushed at once, so that what a dying guest had
 * found is not lost in a buffer. Text from elsewhere is cleaned, it can end no line early.
 */
#ifndef GUPRACE_KTAP_H
#define GUPRACE_KTAP_H

#include <stddef.h>
#include <stdint.h>

enum ending {
	ENDING_PASS,
	ENDING_FAIL,
	ENDING_SKIP,
};

/* Copy text, with control characters and bytes beyond ASCII as \xNN and a backslash doubled. */
void ktap_clean(char *to, size_t size, const char *from);

void ktap_header(const char *scenario);
void ktap_param(const char *name, const char *value);
void ktap_floor(const char *subtest, const char *counter, uint64_t least);
void ktap_plan(unsigned int tests);
void ktap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void ktap_hit(const char *subtest, const char *oracle, const char *text);
void ktap_counter(const char *subtest, const char *counter, uint64_t value);
void ktap_result(unsigned int number, const char *subtest, enum ending ending, const char *detail);
void ktap_totals(unsigned int pass, unsigned int fail, unsigned int skip);
void ktap_bail_out(const char *reason);

#endif
