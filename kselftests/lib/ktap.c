// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "ktap.h"

#define LINE_MAX_LEN	1024

/* One call per line keeps lines of two threads apart; a standard output that is gone is no news. */
static void __attribute__((format(printf, 1, 2))) line(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fflush(stdout);
}

void ktap_clean(char *to, size_t size, const char *from)
{
	size_t used = 0;

	for (; *from; from++) {
		unsigned char c = *from;
		size_t need = c == '\\' ? 2 : c < ' ' || c > '~' ? 4 : 1;

		if (used + need >= size)
			break;
		if (need == 1)
			to[used] = c;
		else
			snprintf(to + used, size - used, need == 2 ? "\\\\" : "\\x%02x", c);
		used += need;
	}
	to[used] = '\0';
}

void ktap_header(const char *scenario)
{
	line("KTAP version 1\n# scenario %s\n", scenario);
}

void ktap_param(const char *name, const char *value)
{
	line("# param %s %s\n", name, value);
}

void ktap_floor(const char *subtest, const char *counter, uint64_t least)
{
	line("# floor %s.%s %" PRIu64 "\n", subtest, counter, least);
}

void ktap_plan(unsigned int tests)
{
	line("1..%u\n", tests);
}

void ktap_diag(const char *fmt, ...)
{
	char raw[LINE_MAX_LEN], clean[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	ktap_clean(clean, sizeof(clean), raw);
	line("# %s\n", clean);
}

void ktap_hit(const char *subtest, const char *oracle, const char *text)
{
	char clean[LINE_MAX_LEN];

	ktap_clean(clean, sizeof(clean), text);
	line("# hit %s %s %s\n", subtest, oracle, clean);
}

void ktap_counter(const char *subtest, const char *counter, uint64_t value)
{
	line("# counter %s.%s %" PRIu64 "\n", subtest, counter, value);
}

void ktap_result(unsigned int number, const char *subtest, enum ending ending, const char *detail)
{
	char clean[LINE_MAX_LEN];

	ktap_clean(clean, sizeof(clean), detail);
	switch (ending) {
	case ENDING_PASS:
		line("ok %u %s\n", number, subtest);
		break;
	case ENDING_FAIL:
		line("not ok %u %s # %s\n", number, subtest, clean);
		break;
	case ENDING_SKIP:
		line("ok %u %s # SKIP %s\n", number, subtest, clean);
		break;
	}
}

void ktap_totals(unsigned int pass, unsigned int fail, unsigned int skip)
{
	line("# totals pass:%u fail:%u skip:%u\n", pass, fail, skip);
}

void ktap_bail_out(const char *reason)
{
	char clean[LINE_MAX_LEN];

	ktap_clean(clean, sizeof(clean), reason);
	line("Bail out! %s\n", clean);
}
