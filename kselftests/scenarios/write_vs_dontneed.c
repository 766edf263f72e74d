// SPDX-License-Identifier: GPL-2.0-only
/*
 * write_vs_dontneed - forced writes into private read-only mappings against MADV_DONTNEED
 *
 * Property (P2): what is written into a private mapping is never seen in the file,
 * by whatever way the kernel came to the page. A write to /proc/self/mem reaches where the process
 * itself may not write (FOLL_FORCE): the fault breaks COW, but cannot make the PTE writable, so a
 * second walk must tell by other means that the page is the process' own copy:
 *
 *   A: pwrite to /proc/self/mem: the walk finds the file's page, not writable
 *   A: fault: copies it, maps the copy, read-only
 *   B: madvise(MADV_DONTNEED): the copy is gone
 *   A: walks again: finds nothing, faults: the file's page again
 *   A: walks again: not an exclusive anonymous page: faults again, for writing
 *      ... if it remembers only that COW was broken, it writes into the file's page
 *
 * "Remembers" was once to leave FOLL_WRITE out after the fault, later FOLL_COW with a dirty PTE. A
 * dirty PTE of the file's page in a private mapping comes by UFFDIO_CONTINUE, so B does that in the
 * subtest `continue` after it dropped the copy. `zero` has no file but the zero page. With `probe`,
 * the write goes through a pin of GUP-fast, into mappings that the process may write to itself.
 *
 * Mode: steered. A finds the file's pages mapped at the begin of each trial: in a free-running loop
 * it would mostly find the copies of its last write, and break no COW.
 *
 * Oracles, after both windows, of a second, shared, mapping of the file, or of another mapping of
 * the zero page:
 *   file_changed     the page is not what it was at the begin
 *   bad_stamp        the address shows neither the file's stamp nor the one that A wrote
 *   short_write      A wrote less than it was to
 *
 * Counters, besides those of lib/trial.c:
 *   writes           pages written
 *   cut_short        writes that ended where B had dropped the page and not brought it back
 *   survived         pages where the address shows the write after both windows
 *   dropped          pages where MADV_DONTNEED came later
 *   mixed            trials with both: MADV_DONTNEED came between
 *
 * Fixed by: CVE-2016-5195, 19be0eaffa3a ("mm: remove gup_flags FOLL_WRITE games from
 * __get_user_pages()", v4.9); CVE-2022-2590, 5535be309971 ("mm/gup: fix FOLL_FORCE
 * COW security issue and remove FOLL_COW", v6.0). Controls: G43, G44. Kconfig:
 * write_vs_dontneed.config.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "ramdisk.h"
#include "scenario.h"
#include "stamp.h"
#include "userfault.h"

#define MAPPING_FILE	1
#define MAPPING_WRITER	2
#define PAGES		4u

enum backing {
	SHMEM,
	EXT2,
	ZERO,
};

struct variant {
	enum backing backing;
	bool uffd;		/* the file's page comes back by UFFDIO_CONTINUE */
	bool pins;		/* written through the vehicle's pins, not /proc/self/mem */
};

struct world {
	struct race *race;
	const struct variant *variant;
	size_t page;
	size_t size;		/* of what A writes and B drops, bytes */
	uint8_t *target;
	uint8_t *witness;	/* the same pages, or others of the same zero page */
	int file, mem, uffd;
	uint8_t *buffer;	/* what A writes: as many pages */
	uint64_t generation;
	ssize_t done;		/* by A: bytes, or pins */
	int err;		/* of either's system calls */
	uint64_t writes, cut_short, survived, dropped, mixed;
};

static struct stamp original(const struct world *w, unsigned int index)
{
	if (w->variant->backing == ZERO)
		return (struct stamp){ };
	return stamp_of(MAPPING_FILE, index, 0);
}

static bool same(struct stamp a, struct stamp b)
{
	return !memcmp(&a, &b, sizeof(a));
}

/* The process' copies go; the file's pages come back, now or when they are touched. */
static int drop_copies(struct world *w)
{
	struct uffdio_continue again = {
		.range = { .start = (unsigned long)w->target, .len = w->size },
	};

	if (madvise(w->target, w->size, MADV_DONTNEED))
		return errno;
	if (!w->variant->uffd)
		return 0;
	while (ioctl(w->uffd, UFFDIO_CONTINUE, &again)) {
		if (errno != EAGAIN)
			return errno;
		if (again.mapped < 0)
			continue;
		again.range.start += again.mapped;
		again.range.len -= again.mapped;
	}
	return 0;
}

/* A's write is to find the file's page, mapped. */
static void prepare(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->generation++;
	w->err = drop_copies(w);
	if (w->err)
		broken("drop of the copies before a trial: %s", strerror(w->err));
	for (unsigned int i = 0; i < PAGES; i++) {
		stamp_page(w->buffer + i * w->page, stamp_of(MAPPING_WRITER, i, w->generation));
		(void)stamp_load(w->target + i * w->page);
	}
}

static void write_forced(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->done = pwrite(w->mem, w->buffer, w->size, (off_t)(uintptr_t)w->target);
}

static void pin_for_writing(struct race *race, void *arg)
{
	struct world *w = arg;

	w->done = race->vehicle.ops->pin(&race->vehicle, w->target, PAGES, 1);
}

static void drop(struct race *race, void *arg)
{
	struct world *w = arg;

	(void)race;
	w->err = drop_copies(w);
}

static void report(const struct world *w, const char *oracle, unsigned int index,
		   const char *expected, const struct stamp *s)
{
	race_hit(w->race, oracle, "page %u: expected %s in generation %" PRIu64 ", observed words %"
		 PRIu64 " %" PRIu64 " %" PRIu64 " %#" PRIx64, index, expected, w->generation,
		 s->mapping, s->index, s->generation, s->check);
}

static void judge_file(struct world *w)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		struct stamp s = stamp_load(w->witness + i * w->page);

		if (!same(s, original(w, i)))
			report(w, "file_changed", i, "what it was", &s);
	}
}

static void judge_address(struct world *w)
{
	unsigned int survived = 0, dropped = 0;

	for (unsigned int i = 0; i < PAGES; i++) {
		struct stamp s = stamp_load(w->target + i * w->page);

		if (same(s, stamp_of(MAPPING_WRITER, i, w->generation)))
			survived++;
		else if (same(s, original(w, i)))
			dropped++;
		else
			report(w, "bad_stamp", i, "what the file has, or what was written", &s);
	}
	w->survived += survived;
	w->dropped += dropped;
	w->mixed += survived && dropped;
	if (survived && dropped)
		race_near_miss(w->race);
}

/*
 * A write that comes between MADV_DONTNEED and UFFDIO_CONTINUE ends there: its fault cannot wait
 * for user space, since access_remote_vm() does not allow it to be retried.
 */
static void judge_length(struct world *w)
{
	ssize_t all = w->variant->pins ? PAGES : w->size;
	ssize_t page = w->variant->pins ? 1 : w->page;

	if (w->done > 0)
		w->writes += w->done / page;
	if (w->done == all)
		return;
	if (w->variant->uffd)
		w->cut_short++;
	else
		race_hit(w->race, "short_write", "expected %zd, all of %u pages, observed %zd", all,
			 PAGES, w->done);
}

static void judge(struct race *race, void *arg)
{
	struct world *w = arg;

	if (w->err)
		broken("MADV_DONTNEED%s: %s", w->variant->uffd ? " and UFFDIO_CONTINUE" : "",
		       strerror(w->err));
	if (w->variant->pins) {
		for (int i = 0; i < w->done; i++)
			race->vehicle.ops->write(&race->vehicle, i, (struct stamp *)
						 (w->buffer + i * w->page));
		race->vehicle.ops->unpin(&race->vehicle);
	}
	judge_length(w);
	judge_file(w);
	judge_address(w);
}

static int open_file(struct world *w)
{
	char why[192];
	int fd;

	if (w->variant->backing == EXT2) {
		fd = ramdisk_open_ext2(why, sizeof(why));
		if (fd < 0)
			race_skip(w->race, "%s", why);
		return fd;
	}
	fd = memfd_create("guprace file", MFD_CLOEXEC);
	if (fd < 0)
		race_skip(w->race, "memfd_create: %s", strerror(errno));
	return fd;
}

static void *map_file(const struct world *w, int prot, int flags)
{
	void *map = mmap(NULL, w->size, prot, flags, w->file, 0);

	if (map == MAP_FAILED)
		broken("mmap of %zu bytes of the file: %s", w->size, strerror(errno));
	return map;
}

static void map_both(struct world *w)
{
	int prot = w->variant->pins ? PROT_READ | PROT_WRITE : PROT_READ;

	w->file = open_file(w);
	if (ftruncate(w->file, w->size))
		broken("ftruncate to %zu: %s", w->size, strerror(errno));
	w->witness = map_file(w, PROT_READ | PROT_WRITE, MAP_SHARED);
	w->target = map_file(w, prot, MAP_PRIVATE);
	for (unsigned int i = 0; i < PAGES; i++)
		stamp_page(w->witness + i * w->page, original(w, i));
}

/* Neither is ever written to by address: both show the zero page. */
static void map_zeros(struct world *w)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	w->file = -1;
	w->witness = check_mmap(NULL, w->size, PROT_READ, flags, "the witness");
	w->target = check_mmap(NULL, w->size, PROT_READ, flags, "the target");
	check_madvise(w->target, w->size, MADV_NOHUGEPAGE, "the target");
	name_mapping(w->target, w->size, "guprace target");
}

static void open_mem(struct world *w)
{
	void *page = check_mmap(NULL, w->page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
				"a page to write to by force");
	char byte = 0;

	w->mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (w->mem < 0)
		race_skip(w->race, "/proc/self/mem: %s", strerror(errno));
	if (pwrite(w->mem, &byte, 1, (off_t)(uintptr_t)page) != 1)
		race_skip(w->race, "no forced writes by /proc/self/mem: %s", strerror(errno));
	check_munmap(page, w->page, "a page to write to by force");
}

static void open_uffd(struct world *w)
{
	int err;

	w->uffd = userfault_open(w->race, UFFD_FEATURE_MINOR_SHMEM, "minor faults of shmem");
	err = userfault_register(w->uffd, w->target, w->size, UFFDIO_REGISTER_MODE_MINOR);
	if (err)
		race_skip(w->race, "no userfaultfd for minor faults of shmem: %s", strerror(err));
}

static const struct variant variants[] = {
	{ SHMEM, false, false },
	{ EXT2, false, false },
	{ ZERO, false, false },
	{ SHMEM, true, false },
	{ SHMEM, false, true },
};

static void run(struct race *race)
{
	const struct variant *variant = &variants[race->subtest->arg];
	const struct trial trial = {
		.prepare = prepare, .a = variant->pins ? pin_for_writing : write_forced, .b = drop,
		.judge = judge,
	};
	struct world w = {
		.race = race, .variant = variant, .page = getpagesize(), .mem = -1, .uffd = -1,
	};

	w.size = PAGES * w.page;
	w.buffer = check_mmap(NULL, w.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      "what is written");
	if (!variant->pins)
		open_mem(&w);
	if (variant->backing == ZERO)
		map_zeros(&w);
	else
		map_both(&w);
	if (variant->uffd)
		open_uffd(&w);

	race_trials(race, &trial, &w);

	check_munmap(w.target, w.size, "the target");
	check_munmap(w.witness, w.size, "the witness");
	check_munmap(w.buffer, w.size, "what is written");
	close(w.uffd);
	close(w.mem);
	close(w.file);
	ramdisk_close();
	race_count(race, "writes", w.writes);
	race_count(race, "cut_short", w.cut_short);
	race_count(race, "survived", w.survived);
	race_count(race, "dropped", w.dropped);
	race_count(race, "mixed", w.mixed);
}

static const struct floor floors[] = {
	{ "trials", 20 },
	{ "survived", 50 },
	{ "dropped", 50 },
	{ "mixed", 5 },
	{ }
};

/* Where B drops a page in the middle, A's write ends. */
static const struct floor continue_floors[] = {
	{ "trials", 20 },
	{ "survived", 50 },
	{ "dropped", 50 },
	{ "cut_short", 20 },
	{ }
};

static const struct subtest subtests[] = {
	{ "mem.shmem", NULL, run, floors, 0 },
	{ "mem.ext2", NULL, run, floors, 1 },
	{ "mem.zero", NULL, run, floors, 2 },
	{ "mem.continue", NULL, run, continue_floors, 3 },
	{ "probe.shmem", &vehicle_probe, run, floors, 4 },
	{ }
};

const struct scenario scenario = {
	.name = "write_vs_dontneed",
	.summary = "forced writes into private read-only mappings against MADV_DONTNEED (P2)",
	.subtests = subtests,
};
