// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "setting.h"
#include "spare.h"

#ifndef SPARE_ROOT
#define SPARE_ROOT	""				/* of another machine, in a test */
#endif
#define FIRMWARE	SPARE_ROOT "/sys/firmware/memmap"	/* x86: of the BIOS, before mem= */
#define TREE		SPARE_ROOT "/proc/device-tree"
#define RESERVED	"reserved-memory"			/* a node there */

static void take_last(struct spare *last, uint64_t start, uint64_t end)
{
	if (start < end && end > last->end)
		*last = (struct spare){ start, end };
}

static bool entry_reads(const char *entry, const char *file, char *line, size_t size)
{
	char path[256];

	snprintf(path, sizeof(path), FIRMWARE "/%.32s/%s", entry, file);
	return setting_read(path, line, size);
}

static void take_firmware_entry(struct spare *last, const char *entry)
{
	char type[64], start[32], end[32];
	uint64_t from, to;

	if (!entry_reads(entry, "type", type, sizeof(type)) || strcmp(type, "System RAM") ||
	    !entry_reads(entry, "start", start, sizeof(start)) ||
	    !entry_reads(entry, "end", end, sizeof(end)))
		return;
	if (sscanf(start, "%" SCNx64, &from) == 1 && sscanf(end, "%" SCNx64, &to) == 1)
		take_last(last, from, to + 1);
}

/* Addresses and sizes of 64 bits, as the trees of 64-bit machines have them. */
static void each_range(struct spare *spare, const char *node,
		       void (*take)(struct spare *spare, uint64_t start, uint64_t end))
{
	char path[256];
	uint64_t reg[2];
	FILE *file;

	snprintf(path, sizeof(path), TREE "/%.80s/reg", node);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fread(reg, sizeof(reg), 1, file) == 1)
		take(spare, be64toh(reg[0]), be64toh(reg[0]) + be64toh(reg[1]));
	fclose(file);
}

static void take_tree_node(struct spare *last, const char *node)
{
	each_range(last, node, take_last);
}

/* What begins in the range, or reaches into it, is somebody's. */
static void leave(struct spare *range, uint64_t start, uint64_t end)
{
	if (start < range->end && end > range->start)
		range->start = end;
}

static void leave_reserved(struct spare *range, const char *node)
{
	char path[96];

	snprintf(path, sizeof(path), RESERVED "/%.64s", node);
	each_range(range, path, leave);
}

static void each_entry(struct spare *last, const char *dir, const char *prefix,
		       void (*take)(struct spare *last, const char *entry))
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	if (!d)
		return;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] != '.' && !strncmp(entry->d_name, prefix, strlen(prefix)))
			take(last, entry->d_name);
	}
	closedir(d);
}

static bool leave_used(struct spare *range)
{
	char line[256];
	uint64_t start, end;
	FILE *file = fopen(SPARE_ROOT "/proc/iomem", "re");
	bool told = false;

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			continue;
		told |= end != 0;
		leave(range, start, end + 1);
	}
	fclose(file);
	return told;
}

/* Without mem= nothing was left alone: what looks like it is the firmware's own. */
static bool told_to_leave(void)
{
	char line[4096];

	return setting_read(SPARE_ROOT "/proc/cmdline", line, sizeof(line)) &&
	       (!strncmp(line, "mem=", 4) || strstr(line, " mem="));
}

bool spare_ram(struct spare *spare)
{
	*spare = (struct spare){ };
	if (!told_to_leave())
		return false;
	each_entry(spare, FIRMWARE, "", take_firmware_entry);
	if (!spare->end)
		each_entry(spare, TREE, "memory@", take_tree_node);
	each_entry(spare, TREE "/" RESERVED, "", leave_reserved);
	return leave_used(spare) && spare->start < spare->end;
}
