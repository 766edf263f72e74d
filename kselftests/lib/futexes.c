// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "futexes.h"
#include "huge.h"
#include "nodes.h"

#define PAGES		4u	/* of a file of small pages */
#define POOL		4u	/* hugetlb pages: one is held here, one is where it moves to */
#define PATIENCE_S	5
#define TRIES		3u

enum backed {
	BY_SMALL,
	BY_HUGE,
	BY_HUGETLB,
	BACKED,
};

/* What becomes of the page between the wait and the wakes. */
enum change {
	STAYS,
	UNMAPPED,
	MOVED,
	TAKEN,		/* out of the file: another one is there when somebody looks */
	SPLIT,		/* by taking the last page of the huge one */
	CHANGES,
};

static const char * const backed_text[BACKED] = {
	"a small page of a file", "a page of a huge one of a file", "a page of hugetlb's",
};

static const char * const change_text[CHANGES] = {
	"is where it was", "was unmapped", "was moved", "was taken out of the file",
	"is of a huge one that was split",
};

struct bed {
	struct race *race;
	enum backed backed;
	int fd;
	size_t page;
	size_t size;
	unsigned int pages;
	uint8_t *map[2];	/* of the same file */
	const uint8_t *reader;	/* once more, read-only */
};

struct sleeper {
	pthread_t thread;
	const uint32_t *word;
	uint64_t since;		/* ns: it cannot have begun to wait before */
	int err;
	atomic_bool up;
};

/* FUTEX_PRIVATE_FLAG would leave GUP out of it. */
static long futex(const void *word, int op, uint32_t value, const void *timeout, const void *other)
{
	return syscall(SYS_futex, word, op, value, timeout, other, 0);
}

static void *sleep_on(void *arg)
{
	static const struct timespec patience = { .tv_sec = PATIENCE_S };
	struct sleeper *s = arg;

	s->err = futex(s->word, FUTEX_WAIT, 0, &patience, NULL) ? errno : 0;
	atomic_store(&s->up, true);
	return NULL;
}

/* How many wait for this word: to have them wait for the same word again wakes nobody. */
static long count_sleepers(const void *word)
{
	return futex(word, FUTEX_REQUEUE, 0, (void *)(uintptr_t)INT_MAX, word);
}

static bool lie_down(struct sleeper *s, const uint8_t *word)
{
	*s = (struct sleeper){ .word = (const uint32_t *)word, .since = now_ns() };
	check_pthread_create(&s->thread, sleep_on, s, "a thread that waits for a futex");
	while (!atomic_load(&s->up) && count_sleepers(word) < 1)
		cpu_relax();
	return !atomic_load(&s->up);
}

static void get_up(struct sleeper *s, const uint8_t *word)
{
	while (!atomic_load(&s->up))
		futex(word, FUTEX_WAKE, INT_MAX, NULL, NULL);
	check_pthread_join(s->thread, "a thread that waits for a futex");
}

/*
 * A host may take the CPU away from whoever looks, for longer than the sleeper's patience. But not each time:
 * who never finds a sleeper where it lies looks in another place.
 */
static bool lies_down(struct sleeper *s, const uint8_t *word)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		if (lie_down(s, word))
			return true;
		get_up(s, word);
		if (s->err != ETIMEDOUT)
			return false;
	}
	return false;
}

static bool patience_lasts(const struct sleeper *s)
{
	return now_ns() - s->since < PATIENCE_S * NSEC_PER_SEC;
}

static uint8_t *map_file(const struct bed *b, int prot)
{
	uint8_t *map = huge_reserve(b->size, b->size > PAGES * b->page ? b->size : b->page,
				    "a file of futexes");

	huge_map(map, b->size, prot, MAP_SHARED, b->fd, "a file of futexes");
	if (b->backed == BY_HUGE)
		check_madvise(map, b->size, MADV_HUGEPAGE, "a file of futexes");
	return map;
}

/* False where it is not of huge pages, and was to be. */
static bool make_file(struct bed *b)
{
	unsigned int flags = MFD_CLOEXEC;

	b->size = b->backed == BY_SMALL ? PAGES * b->page : huge_size(b->race);
	if (b->backed == BY_HUGETLB)
		flags |= MFD_HUGETLB | huge_bits(b->size);
	b->pages = b->size / b->page;
	b->fd = memfd_create("guprace futexes", flags);
	if (b->fd < 0)
		race_skip(b->race, "memfd_create with flags %#x: %s", flags, strerror(errno));
	if (ftruncate(b->fd, b->size))
		broken("ftruncate of a file of futexes to %zu bytes: %s", b->size, strerror(errno));
	for (int i = 0; i < 2; i++)
		b->map[i] = map_file(b, PROT_READ | PROT_WRITE);
	b->reader = map_file(b, PROT_READ);
	memset(b->map[0], 0, b->size);
	memset(b->map[1], 0, b->page);
	return b->backed != BY_HUGE || huge_mapped(b->map[0]);
}

static void drop_file(struct bed *b)
{
	for (int i = 0; i < 2; i++)
		huge_release(b->map[i], b->size, "a file of futexes");
	huge_release((void *)b->reader, b->size, "a file of futexes");
	close(b->fd);
}

static bool punch(const struct bed *b, unsigned int page)
{
	size_t length = b->backed == BY_HUGETLB ? b->size : b->page;
	off_t at = b->backed == BY_HUGETLB ? 0 : (off_t)page * b->page;

	return !fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length);
}

static bool move(const struct bed *b, unsigned int page)
{
	struct nodes n = { .pages = 1, .page = { b->map[0] + page * b->page } };
	int node = nodes_ask_first(&n);

	nodes_turn(&n, !node);
	if (node < 0 || nodes_move(&n, MPOL_MF_MOVE_ALL) || n.status[0] == node || n.status[0] < 0)
		return false;
	race_add(b->race, "moved", 1);
	return true;
}

/* False where that cannot be had: it is no matter of futexes. */
static bool change(const struct bed *b, enum change how, unsigned int page)
{
	switch (how) {
	case STAYS:
		return true;
	case UNMAPPED:
		return !madvise(b->map[0], b->size, MADV_DONTNEED) &&
		       !madvise(b->map[1], b->size, MADV_DONTNEED);
	case MOVED:
		return move(b, page);
	case TAKEN:
		return punch(b, page);
	case SPLIT:
		return b->backed == BY_HUGE && punch(b, b->pages - 1);
	case CHANGES:
		break;
	}
	return false;
}

static void wake_others(const struct bed *b, enum change how, unsigned int page)
{
	const unsigned int others[] = { 0, (page + 1) % b->pages, b->pages - 1, page };

	for (unsigned int i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		/* Of its own page, another word. */
		unsigned int offset = others[i] == page ? sizeof(uint32_t) : 0;
		long woken = futex(b->map[1] + others[i] * b->page + offset, FUTEX_WAKE, INT_MAX,
				   NULL, NULL);

		race_add(b->race, "checks", 1);
		if (woken)
			race_hit(b->race, "woke_other", "%s, %u of %u, %s: expected 0 of a wake for "
				 "word %u of page %u, observed %ld", backed_text[b->backed], page,
				 b->pages, change_text[how], offset / 4, others[i], woken);
	}
}

static void wait_and_wake(const struct bed *b, enum change how, unsigned int page, bool reading)
{
	const uint8_t *word = (reading ? b->reader : b->map[0]) + page * b->page;
	struct sleeper s;
	long woken;

	if (!lies_down(&s, word)) {
		race_hit(b->race, "not_woken", "%s, %u of %u%s: expected a wait, observed %s",
			 backed_text[b->backed], page, b->pages, reading ? ", read-only" : "",
			 strerror(s.err));
		return;
	}
	if (b->backed == BY_HUGE)
		race_add(b->race, "huge", huge_mapped(b->map[0]));
	if (change(b, how, page)) {
		wake_others(b, how, page);
		woken = futex(b->map[1] + page * b->page, FUTEX_WAKE, INT_MAX, NULL, NULL);
		race_add(b->race, "checks", 1);
		race_add(b->race, "wakes", woken == 1);
		/* Who is up by now was woken by another's, which was told, or has lost its patience. */
		if (woken != 1 && !atomic_load(&s.up) && patience_lasts(&s))
			race_hit(b->race, "not_woken", "%s, %u of %u, %s: expected 1 of a wake for it, "
				 "observed %ld", backed_text[b->backed], page, b->pages,
				 change_text[how], woken);
	} else {
		race_add(b->race, "absent", 1);
	}
	get_up(&s, word);
}

static void try_file(struct race *race, enum backed backed, enum change how, unsigned int round)
{
	struct bed b = { .race = race, .backed = backed, .page = getpagesize() };

	if (make_file(&b))
		wait_and_wake(&b, how, 1 + round % (b.pages - 2), round % 2);
	else
		race_add(race, "absent", 1);
	drop_file(&b);
}

/* Errors, not sleep: the value is another. */
static void expect_refusal(struct race *race, const void *word, const char *where)
{
	long got = futex(word, FUTEX_WAIT, 1, NULL, NULL);

	race_add(race, "checks", 1);
	if (got && errno == EFAULT)
		race_add(race, "refusals", 1);
	else
		race_hit(race, "admitted", "a wait in %s: expected EFAULT, observed %s", where,
			 got ? strerror(errno) : "success");
}

static void refuse(struct race *race)
{
	size_t page = getpagesize();
	uint8_t *map = check_mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, "pages without futexes");

	map[0] = 0;
	if (mprotect(map, 2 * page, PROT_READ))
		broken("mprotect of pages without futexes: %s", strerror(errno));
	expect_refusal(race, map, "read-only anonymous memory");
	(void)*(volatile uint8_t *)(map + page);
	expect_refusal(race, map + page, "the zero page, read-only");
	if (mprotect(map, 2 * page, PROT_NONE))
		broken("mprotect of pages without futexes: %s", strerror(errno));
	expect_refusal(race, map, "memory without access");
	check_munmap(map, 2 * page, "pages without futexes");
	expect_refusal(race, map, "unmapped memory");
}

/* The same address, another process' memory: who waits here is not who is meant there. */
static void ask_child(struct race *race)
{
	size_t page = getpagesize();
	uint8_t *map = check_mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  "a private page");
	struct sleeper s;
	int status = 0;
	pid_t child;

	map[0] = 0;
	if (lie_down(&s, map)) {
		child = fork();
		if (!child)
			_exit(futex(map, FUTEX_WAKE, INT_MAX, NULL, NULL) != 0);
		if (child < 0 || waitpid(child, &status, 0) != child)
			broken("a child that wakes: %s", strerror(errno));
		race_add(race, "checks", 1);
		if (status)
			race_hit(race, "woke_other", "a private page: expected 0 of a child's wake, "
				 "observed status %#x", status);
	}
	get_up(&s, map);
	check_munmap(map, page, "a private page");
}

static void race_files(struct race *race, enum backed backed)
{
	for (unsigned int round = 0; round < FUTEXES_ROUNDS && race_in_time(race); round++) {
		for (unsigned int how = 0; how < CHANGES && race_in_time(race); how++)
			try_file(race, backed, how, round);
	}
}

void futexes_small(struct race *race)
{
	race_files(race, BY_SMALL);
	refuse(race);
	ask_child(race);
}

void futexes_thp(struct race *race)
{
	if (!huge_setting("shmem_enabled", "advise"))
		race_skip(race, "transparent huge pages of shmem cannot be had");
	race_files(race, BY_HUGE);
	huge_restore();
}

void futexes_hugetlb(struct race *race)
{
	huge_pool(race, POOL);
	race_files(race, BY_HUGETLB);
	huge_restore();
}
