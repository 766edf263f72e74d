// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own gup_test (CONFIG_GUP_TEST, debugfs): pin_user_pages_fast() and unpin within one
 * ioctl. It tells how many pages it got and nothing of what was in them.
 *
 * The numbers of the FOLL_* flags differ between kernels, but FOLL_WRITE has been 1 throughout, and
 * no other is needed: the command says the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "check.h"
#include "vehicle.h"

#define GUP_TEST_PATH	"/sys/kernel/debug/gup_test"
#define FOLL_WRITE	1u

/* Not in any header that user space gets; the layout is the same from v5.10 on. */
struct gup_test {
	uint64_t get_delta_usec;
	uint64_t put_delta_usec;
	uint64_t addr;
	uint64_t size;			/* in: bytes to pin; out: bytes tried */
	uint32_t nr_pages_per_call;
	uint32_t gup_flags;
	uint32_t test_flags;
	uint32_t which_pages[8];
};

#define PIN_FAST_BENCHMARK	_IOWR('g', 2, struct gup_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)

/* One system call for each walk: it cannot be told to walk the same pages twice. */
static int gup_test_pin(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	int got = 0;

	for (unsigned int i = 0; i < times; i++) {
		struct gup_test test = {
			.addr = (unsigned long)addr,
			.size = pages * v->page,
			.nr_pages_per_call = pages,
			.gup_flags = FOLL_WRITE,
		};

		if (ioctl(v->fd[0], PIN_FAST_BENCHMARK, &test))
			return got ? got : -errno;
		got += test.size / v->page;
		v->unpinned += test.size / v->page;
		if (test.size != pages * v->page)
			break;
	}
	v->held = got;
	return got ? got : -EFAULT;
}

static void gup_test_unpin(struct vehicle *v)
{
	v->held = 0;
}

static void gup_test_close(struct vehicle *v)
{
	close(v->fd[0]);
}

static int gup_test_open(struct vehicle *v, char *why, size_t size)
{
	static _Alignas(64) struct stamp trial;
	uintptr_t page;
	int got;

	v->page = getpagesize();
	v->capacity = VEHICLE_PINS_MAX;
	v->fd[0] = open(GUP_TEST_PATH, O_RDWR | O_CLOEXEC);
	if (v->fd[0] < 0) {
		snprintf(why, size, "no %s: %s", GUP_TEST_PATH, strerror(errno));
		return -1;
	}
	page = (uintptr_t)&trial & -v->page;
	stamp_page(&trial, stamp_of(0, 0, 0));
	got = gup_test_pin(v, (void *)page, 1, 1);
	if (got == 1)
		return 0;
	snprintf(why, size, "%s cannot pin: %s", GUP_TEST_PATH, strerror(-got));
	gup_test_close(v);
	return -1;
}

bool vehicle_longterm_copies(void)
{
	int fd = open(GUP_TEST_PATH, O_RDWR | O_CLOEXEC);
	bool copies;

	if (fd < 0)
		return false;
	copies = !ioctl(fd, PIN_LONGTERM_TEST_STOP);
	close(fd);
	return copies;
}

const struct vehicle_ops vehicle_gup_test = {
	.name = "gup_test",
	.description = "pin_user_pages_fast(FOLL_WRITE) and unpin by gup_test in debugfs",
	.is = VEHICLE_WRITES | VEHICLE_FOLL_PIN | VEHICLE_BLIND,
	.open = gup_test_open,
	.pin = gup_test_pin,
	.unpin = gup_test_unpin,
	.close = gup_test_close,
};
