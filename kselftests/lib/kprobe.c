// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "kprobe.h"

static struct {
	const char *tracefs;
	char instance[32];		/* empty: not made */
	char prefix[32];		/* of the events: <prefix>_0, <prefix>_1 ... */
	bool used[KPROBES_MAX];
	int profile;			/* kprobe_profile, once it was read */
} kprobes = { .profile = -1 };

/* An argument that takes time to fetch; the ring buffer is off, so it is not even kept. */
#define SLOW_ARG	" @linux_banner:string"
#define READS_MAX	64
#define TEXT_MAX	(192 + READS_MAX * sizeof(SLOW_ARG))

/* Where the return address is when a function begins. */
#if defined(__aarch64__)
#define CALLER_ARG	" caller=%x30:x64"
#else
#define CALLER_ARG	" caller=$stack0:x64"
#endif

/* Other people's events are in there too, and ours are listed last. */
#define PROFILE_MAX	(64 << 10)

static const char *find_tracefs(void)
{
	static const char * const mounts[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	char path[128];

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		snprintf(path, sizeof(path), "%s/kprobe_events", mounts[i]);
		if (!access(path, W_OK))
			return mounts[i];
	}
	return NULL;
}

static int __attribute__((format(printf, 2, 3))) write_tracefs(const char *file,
								const char *fmt, ...)
{
	char path[192], text[TEXT_MAX];
	va_list ap;

	snprintf(path, sizeof(path), "%s/%s", kprobes.tracefs, file);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return write_file(path, text);
}

static int enable(int index, const char *value)
{
	char file[128];

	snprintf(file, sizeof(file), "instances/%s/events/guprace/%s_%d/enable", kprobes.instance,
		 kprobes.prefix, index);
	return write_tracefs(file, "%s", value);
}

bool kprobe_init(char *why, size_t size)
{
	char path[128];
	int err;

	kprobes.tracefs = find_tracefs();
	if (!kprobes.tracefs) {
		snprintf(why, size, "no kprobe_events that this user may write");
		return false;
	}
	snprintf(kprobes.prefix, sizeof(kprobes.prefix), "guprace_%d", getpid());
	snprintf(path, sizeof(path), "%s/instances/%s", kprobes.tracefs, kprobes.prefix);
	snprintf(kprobes.instance, sizeof(kprobes.instance), "%s", kprobes.prefix);
	if (mkdir(path, 0700)) {
		snprintf(why, size, "mkdir(%s): %s", path, strerror(errno));
		kprobes.instance[0] = '\0';
		return false;
	}
	snprintf(path, sizeof(path), "instances/%s/tracing_on", kprobes.instance);
	err = write_tracefs(path, "0");
	if (err) {
		snprintf(why, size, "write to %s/%s: %s", kprobes.tracefs, path, strerror(-err));
		kprobe_exit();
		return false;
	}
	return true;
}

/* By its address if we know it: a name makes the kernel look through all of them, several times. */
static void print_place(char *text, size_t size, const struct function *fn, unsigned int offset)
{
	if (fn->addr)
		snprintf(text, size, "%#" PRIx64, fn->addr + offset);
	else
		snprintf(text, size, "%s+%u", fn->name, offset);
}

static int add(const struct function *fn, unsigned int offset, const char *args)
{
	char place[SYMBOL_LEN + 16];
	int err, i = 0;

	if (!kprobes.instance[0])
		return -ENODEV;
	while (i < KPROBES_MAX && kprobes.used[i])
		i++;
	if (i == KPROBES_MAX)
		return -ENOSPC;
	print_place(place, sizeof(place), fn, offset);
	/* Before it is: who is interrupted in between removes it, there or not. */
	kprobes.used[i] = true;
	err = write_tracefs("kprobe_events", "p:guprace/%s_%d %s%s\n", kprobes.prefix, i, place,
			    args);
	if (err) {
		kprobes.used[i] = false;
		return err;
	}
	err = enable(i, "1");
	if (err) {
		kprobe_remove(i);
		return err;
	}
	return i;
}

int kprobe_add_slow(const struct function *fn, unsigned int offset, unsigned int reads)
{
	char args[READS_MAX * sizeof(SLOW_ARG)] = "";

	for (unsigned int n = 0; n < reads && n < READS_MAX; n++)
		strcat(args, SLOW_ARG);
	return add(fn, offset, args);
}

int kprobe_add(const struct function *fn, unsigned int offset)
{
	return kprobe_add_slow(fn, offset, 0);
}

/* Both fail where it was never made. */
void kprobe_remove(int index)
{
	(void)enable(index, "0");
	(void)write_tracefs("kprobe_events", "-:guprace/%s_%d\n", kprobes.prefix, index);
	kprobes.used[index] = false;
}

/* Of our own instance: anything that others trace stays as it is. */
static int record(const char *value)
{
	char file[64];

	snprintf(file, sizeof(file), "instances/%s/tracing_on", kprobes.instance);
	return write_tracefs(file, "%s", value);
}

static FILE *open_trace(const char *mode)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/instances/%s/trace", kprobes.tracefs, kprobes.instance);
	return fopen(path, mode);
}

int kprobe_add_caller(const struct function *fn)
{
	int index = add(fn, 0, CALLER_ARG);

	if (index >= 0)
		(void)record("1");
	return index;
}

uint64_t kprobe_take_caller(int index)
{
	uint64_t caller = 0;
	char line[512];
	FILE *trace;

	(void)record("0");
	trace = open_trace("re");
	while (trace && fgets(line, sizeof(line), trace)) {
		const char *at = strstr(line, " caller=");

		if (at)
			(void)sscanf(at, " caller=%" SCNx64, &caller);
	}
	if (trace)
		fclose(trace);
	trace = open_trace("we");	/* empties it */
	if (trace)
		fclose(trace);
	kprobe_remove(index);
	return caller;
}

void kprobe_exit(void)
{
	char path[128];

	if (!kprobes.instance[0])
		return;
	for (int i = 0; i < KPROBES_MAX; i++) {
		if (kprobes.used[i])
			kprobe_remove(i);
	}
	snprintf(path, sizeof(path), "%s/instances/%s", kprobes.tracefs, kprobes.instance);
	(void)rmdir(path);
	kprobes.instance[0] = '\0';
}

/* The index of an event of ours, or -1. */
static int event_index(const char *event)
{
	size_t len = strlen(kprobes.prefix);
	int index;

	if (strncmp(event, kprobes.prefix, len) || sscanf(event + len, "_%d", &index) != 1)
		return -1;
	return index;
}

/* One line of kprobe_profile: name, hits, misses. */
static uint64_t hits_of_line(const char *line, int first, unsigned int count)
{
	char name[64];
	uint64_t hits;
	int index;

	if (sscanf(line, "%63s %" SCNu64, name, &hits) != 2)
		return 0;
	index = event_index(name);
	return index >= first && index < first + (int)count ? hits : 0;
}

/* The file stays open: a steered race reads it once a trial. */
static void open_profile(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/kprobe_profile", kprobes.tracefs);
	kprobes.profile = open(path, O_RDONLY | O_CLOEXEC);
	if (kprobes.profile < 0)
		broken("open of %s: %s", path, strerror(errno));
}

/* A page or less at a time, whatever is asked for: until nothing comes any more. */
static void read_profile(char *text, size_t size)
{
	size_t used = 0;
	ssize_t got;

	while ((got = pread(kprobes.profile, text + used, size - 1 - used, used)) > 0)
		used += got;
	if (got < 0)
		broken("read of kprobe_profile: %s", strerror(errno));
	if (used == size - 1)
		broken("kprobe_profile has more than %zu bytes: too many events of others", used);
	text[used] = '\0';
}

uint64_t kprobe_hits(int first, unsigned int count)
{
	static char text[PROFILE_MAX];
	uint64_t sum = 0;
	char *line, *rest;

	if (kprobes.profile < 0)
		open_profile();
	read_profile(text, sizeof(text));
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		sum += hits_of_line(line, first, count);
	return sum;
}
