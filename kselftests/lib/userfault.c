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

static void wake_sleeper(void *arg)
{
	const int fd = *(const int *)arg;
	size_t page = getpagesize();
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct uffdio_range range = { .len = page };
	struct uffd_msg msg;

	if (poll(&poll_fd, 1, POLL_MS) <= 0 || read(fd, &msg, sizeof(msg)) != sizeof(msg))
		return;
	range.start = msg.arg.pagefault.address & ~(uint64_t)(page - 1);
	if (ioctl(fd, UFFDIO_WAKE, &range))
		broken("ioctl(UFFDIO_WAKE): %s", strerror(errno));
}

struct responder *userfault_waker(struct race *race, int *fd)
{
	return responder_start(race, wake_sleeper, fd);
}
