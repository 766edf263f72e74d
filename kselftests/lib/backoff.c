// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every way out of the fast walk that gives a reference back goes through gup_put_folio(), so a
 * kprobe event on it counts back-offs. unpin_user_page() comes through it too. And since it is a
 * static function, a compiler may have inlined some of its calls. So nothing is assumed:
 *
 *  - the functions of that name, and clones the compiler made of it, are looked up by name;
 *  - what an unpin adds to the count is measured, on a page that nobody else touches: once for
 *    each page, or never; anything else means no counter;
 *  - that the fast walk's own call is seen is measured too, where the probe module is there: a R/O
 *    FOLL_PIN of an anonymous page that a child shares must be given back by gup_must_unshare()
 *    (commit a7f226604170, "mm/gup: trigger FAULT_FLAG_UNSHARE when R/O-pinning a possibly shared
 *    anonymous page", v5.19), once, and then taken by the slow path.
 *
 * The event lives in a tracing instance of its own with its ring buffer off; only kprobe_profile
 * is read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backoff.h"
#include "check.h"
#include "ktap.h"

#define FUNCTION	"gup_put_folio"
#define CLONES_MAX	4
#define CALIBRATION	8	/* pins; at most VEHICLE_PINS_MAX */

static struct {
	const char *tracefs;
	char group[32];			/* also the name of the instance */
	unsigned int events;		/* made: <group>_0, <group>_1 ... */
	bool instance;
	uint64_t begin;			/* hits */
	unsigned int per_unpin;		/* hits that one unpin makes: 0 or 1 */
} backoff;

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

/* The function itself or a clone such as gup_put_folio.part.0, not its cold half. */
static bool is_function(const char *symbol)
{
	size_t len = strlen(FUNCTION);

	return !strncmp(symbol, FUNCTION, len) && (!symbol[len] || symbol[len] == '.') &&
	       !strstr(symbol, ".cold");
}

static unsigned int find_functions(char names[CLONES_MAX][64])
{
	char text[512], type, name[64];
	unsigned int found = 0;
	FILE *f = fopen("/proc/kallsyms", "re");

	if (!f)
		return 0;
	while (found < CLONES_MAX && fgets(text, sizeof(text), f)) {
		if (sscanf(text, "%*x %c %63s", &type, name) != 2)
			continue;
		if ((type == 't' || type == 'T') && is_function(name))
			memcpy(names[found++], name, sizeof(name));
	}
	fclose(f);
	return found;
}

static int __attribute__((format(printf, 2, 3))) write_tracefs(const char *file,
								const char *fmt, ...)
{
	char path[192], text[192];
	va_list ap;

	snprintf(path, sizeof(path), "%s/%s", backoff.tracefs, file);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return write_file(path, text);
}

static int enable_event(unsigned int i, const char *value)
{
	char file[128];

	snprintf(file, sizeof(file), "instances/%s/events/guprace/%s_%u/enable", backoff.group,
		 backoff.group, i);
	return write_tracefs(file, "%s", value);
}

static int make_instance(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/instances/%s", backoff.tracefs, backoff.group);
	if (mkdir(path, 0700))
		return -errno;
	backoff.instance = true;
	snprintf(path, sizeof(path), "instances/%s/tracing_on", backoff.group);
	return write_tracefs(path, "0");
}

static int make_events(char names[CLONES_MAX][64], unsigned int found)
{
	int err;

	for (unsigned int i = 0; i < found; i++) {
		err = write_tracefs("kprobe_events", "p:guprace/%s_%u %s\n", backoff.group, i,
				    names[i]);
		if (err)
			return err;
		backoff.events++;
	}
	err = make_instance();
	for (unsigned int i = 0; !err && i < found; i++)
		err = enable_event(i, "1");
	return err;
}

bool backoff_arm(void)
{
	char names[CLONES_MAX][64];
	unsigned int found;
	int err;

	backoff.tracefs = find_tracefs();
	if (!backoff.tracefs) {
		ktap_diag("backoffs not counted: no kprobe_events that this user may write");
		return false;
	}
	found = find_functions(names);
	if (!found) {
		ktap_diag("backoffs not counted: this kernel has no function " FUNCTION);
		return false;
	}
	snprintf(backoff.group, sizeof(backoff.group), "guprace_%d", getpid());
	err = make_events(names, found);
	if (err) {
		ktap_diag("backoffs not counted: kprobe event on " FUNCTION ": %s", strerror(-err));
		backoff_disarm();
		return false;
	}
	return true;
}

void backoff_disarm(void)
{
	char path[128];

	if (backoff.instance) {
		for (unsigned int i = 0; i < backoff.events; i++)
			(void)enable_event(i, "0");
		snprintf(path, sizeof(path), "%s/instances/%s", backoff.tracefs, backoff.group);
		(void)rmdir(path);
		backoff.instance = false;
	}
	while (backoff.events)
		(void)write_tracefs("kprobe_events", "-:guprace/%s_%u\n", backoff.group,
				    --backoff.events);
}

/* kprobe_profile has a line for each event: name, hits, misses. */
static uint64_t read_hits(void)
{
	char path[128], text[256], name[64];
	uint64_t hits, sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/kprobe_profile", backoff.tracefs);
	f = fopen(path, "re");
	if (!f)
		broken("open of %s: %s", path, strerror(errno));
	while (fgets(text, sizeof(text), f)) {
		if (sscanf(text, "%63s %" SCNu64, name, &hits) == 2 &&
		    !strncmp(name, backoff.group, strlen(backoff.group)) &&
		    name[strlen(backoff.group)] == '_')
			sum += hits;
	}
	fclose(f);
	return sum;
}

static void *own_page(void)
{
	void *page = check_mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, "the calibration page");

	stamp_page(page, stamp_of(0, 0, 0));
	return page;
}

static bool measure_unpin(struct vehicle *v)
{
	unsigned int want = v->capacity < CALIBRATION ? v->capacity : CALIBRATION;
	void *page = own_page();
	uint64_t hits = read_hits();
	int got = v->ops->pin(v, page, want);

	v->ops->unpin(v);
	hits = read_hits() - hits;
	check_munmap(page, getpagesize(), "the calibration page");
	if (got != (int)want)
		broken("%s took %d pins of %u on a page that nobody touches", v->name, got, want);
	if (hits && hits != want) {
		ktap_diag("backoffs of %s not counted: %u quiet pins and unpins called " FUNCTION
			  " %" PRIu64 " times", v->name, want, hits);
		return false;
	}
	backoff.per_unpin = hits / want;
	return true;
}

/* Hold a child that shares our pages until `release` is closed. */
static pid_t fork_sharer(int *release)
{
	int fds[2];
	char byte;
	pid_t pid;

	if (pipe(fds))
		broken("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		broken("fork: %s", strerror(errno));
	if (!pid) {
		close(fds[1]);
		(void)!read(fds[0], &byte, 1);
		_exit(0);
	}
	close(fds[0]);
	*release = fds[1];
	return pid;
}

/* Whether the fast walk's own call is seen: 1 yes, 0 no, -1 no way to tell. */
static int fast_walk_seen(void)
{
	uint64_t hits;
	struct vehicle probe;
	void *page;
	char why[128];
	int release, got;
	pid_t child;

	if (vehicle_open(&probe, &vehicle_probe_ro, why, sizeof(why)))
		return -1;
	page = own_page();
	child = fork_sharer(&release);
	hits = read_hits();
	got = probe.ops->pin(&probe, page, 1);
	hits = read_hits() - hits;
	close(release);
	waitpid(child, NULL, 0);
	probe.ops->close(&probe);
	check_munmap(page, getpagesize(), "the calibration page");
	return got == 1 && hits == 1;
}

bool backoff_begin(struct vehicle *v)
{
	if (!backoff.events || !measure_unpin(v))
		return false;
	switch (fast_walk_seen()) {
	case 0:
		ktap_diag("backoffs of %s not counted: the fast walk's call of " FUNCTION
			  " is not seen (inlined?)", v->name);
		return false;
	case -1:
		ktap_diag("backoffs of %s: unverified, no probe module to provoke one", v->name);
		break;
	}
	backoff.begin = read_hits();
	return true;
}

uint64_t backoff_end(uint64_t unpins)
{
	uint64_t hits = read_hits() - backoff.begin;
	uint64_t ours = unpins * backoff.per_unpin;

	/* A hit that the kprobe missed (kprobe_profile's third column) may not wrap the count. */
	return hits > ours ? hits - ours : 0;
}
