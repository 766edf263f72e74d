// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "userfault.h"

#define POLL_MS	20

int userfault_open(struct race *race, uint64_t feature, const char *what)
{
	struct uffdio_api api = { .api = UFFD_API, .features = feature };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		race_skip(race, "userfaultfd: %s", strerror(errno));
	if (ioctl(fd, UFFDIO_API, &api)) {
		int err = errno;

		close(fd);
		race_skip(race, "this kernel's userfaultfd has no %s: %s", what, strerror(err));
	}
	return fd;
}

int userfault_register(int fd, void *addr, size_t size, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)addr, .len = size },
		.mode = mode,
	};

	return ioctl(fd, UFFDIO_REGISTER, &reg) ? errno : 0;
}

int userfault_protect(int fd, void *addr, size_t size, bool against)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)addr, .len = size },
		.mode = against ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &wp) ? errno : 0;
}

void *userfault_next(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&poll_fd, 1, POLL_MS) <= 0 || read(fd, &msg, sizeof(msg)) != sizeof(msg))
		return NULL;
	return (void *)(uintptr_t)(msg.arg.pagefault.address & ~(uint64_t)(getpagesize() - 1));
}

void userfault_wake(int fd, void *page)
{
	struct uffdio_range range = { .start = (uintptr_t)page, .len = getpagesize() };

	if (ioctl(fd, UFFDIO_WAKE, &range))
		broken("ioctl(UFFDIO_WAKE): %s", strerror(errno));
}

static void wake_sleeper(void *arg)
{
	const int fd = *(const int *)arg;
	void *page = userfault_next(fd);

	if (page)
		userfault_wake(fd, page);
}

struct responder *userfault_waker(struct race *race, int *fd)
{
	return responder_start(race, wake_sleeper, fd);
}
