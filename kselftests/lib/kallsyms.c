// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "kallsyms.h"

struct symbol {
	uint64_t addr;
	char name[SYMBOL_LEN];		/* a longer one is cut, and is none that we ask for */
};

static struct {
	struct symbol *symbol;		/* of the kernel's text */
	size_t count;
	bool read;
} table;

static void add(const struct symbol *s)
{
	/* The size doubles: at powers of two all is used. */
	if (!(table.count & (table.count - 1))) {
		size_t room = table.count ? 2 * table.count : 1;

		table.symbol = realloc(table.symbol, room * sizeof(*s));
		if (!table.symbol)
			broken("realloc of %zu bytes for kernel symbols", room * sizeof(*s));
	}
	table.symbol[table.count++] = *s;
}

static void read_table(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char text[512], type;
	struct symbol s;

	table.read = true;
	if (!f)
		return;
	while (fgets(text, sizeof(text), f)) {
		if (sscanf(text, "%" SCNx64 " %c %63s", &s.addr, &type, s.name) == 3 &&
		    (type == 't' || type == 'T' || type == 'w' || type == 'W'))
			add(&s);
	}
	fclose(f);
}

/* The function itself or a clone of the compiler's, not the half it never expects to run. */
static bool is_function(const char *symbol, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(symbol, name, len) && (!symbol[len] || symbol[len] == '.') &&
	       !strstr(symbol, ".cold");
}

static unsigned int size_at(uint64_t addr)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < table.count; i++) {
		if (table.symbol[i].addr > addr && table.symbol[i].addr < next)
			next = table.symbol[i].addr;
	}
	return addr && next != UINT64_MAX ? next - addr : 0;
}

unsigned int kallsyms_functions(const char *name, struct function *found, unsigned int max)
{
	unsigned int count = 0;

	if (!table.read)
		read_table();
	for (size_t i = 0; i < table.count && count < max; i++) {
		const struct symbol *s = &table.symbol[i];

		if (!is_function(s->name, name))
			continue;
		memcpy(found[count].name, s->name, SYMBOL_LEN);
		found[count].addr = s->addr;
		found[count++].size = size_at(s->addr);
	}
	return count;
}
