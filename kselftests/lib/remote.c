// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing.h"
#include "check.h"
#include "remote.h"
#include "stamp.h"
#include "userfault.h"
#include "waiter.h"

#define MAPPING_REMOTE	1
#define HELD_MS		10000	/* for the call to come to its source */

enum request {
	FORK = 'f',
	LOOK = 'l',
};

struct remote {
	struct race *race;
	size_t page;
	uint8_t *target;	/* at the same address in both processes */
	uint8_t *source;	/* kept back */
	struct stamp *seen;	/* by the other, shared */
	int fd;			/* of userfaultfd */
	int channel[2];		/* our end, the other's */
	pid_t other;
	ssize_t copied;
	int err;
};

/* Its page is its own from the first write on. What it writes after the fork is behind the stamp. */
static void __attribute__((noreturn)) be_other(struct remote *r)
{
	int release = -1;
	char request;

	close(r->channel[0]);
	stamp_page(r->target, stamp_of(MAPPING_REMOTE, 0, 1));
	while (read(r->channel[1], &request, 1) == 1) {
		if (request == FORK && waiter_fork(&release) < 0)
			_exit(1);
		if (request == FORK)
			r->target[r->page - 1]++;
		else
			*r->seen = stamp_load(r->target);
		if (write(r->channel[1], &request, 1) != 1)
			_exit(1);
	}
	close(release);
	while (wait(NULL) > 0)
		;
	_exit(0);
}

static void start_other(struct remote *r)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->channel))
		broken("socketpair: %s", strerror(errno));
	r->other = fork();
	if (!r->other)
		be_other(r);
	if (r->other < 0)
		broken("fork of another process: %s", strerror(errno));
	close(r->channel[1]);
}

static void ask(struct remote *r, char request)
{
	if (write(r->channel[0], &request, 1) != 1 || read(r->channel[0], &request, 1) != 1)
		broken("the other process is gone");
}

static void end_other(struct remote *r)
{
	int status;

	close(r->channel[0]);
	if (waitpid(r->other, &status, 0) != r->other || status)
		broken("the other process ended with status %#x", status);
}

static void *write_there(void *arg)
{
	struct remote *r = arg;
	struct iovec from = { r->source, sizeof(struct stamp) };
	struct iovec to = { r->target, sizeof(struct stamp) };

	r->copied = process_vm_writev(r->other, &from, 1, &to, 1, 0);
	r->err = errno;
	return NULL;
}

/* The pins are taken by then: the copy comes after them. */
static void await_fault(struct remote *r)
{
	struct pollfd poll_fd = { .fd = r->fd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&poll_fd, 1, HELD_MS) != 1 || read(r->fd, &msg, sizeof(msg)) != sizeof(msg))
		broken("process_vm_writev has not come to its source within %d ms: %s", HELD_MS,
		       strerror(r->err));
}

static void let_go(struct remote *r)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)r->source, .len = r->page };
	uint8_t *from = backing_small(r->page, "guprace source");

	stamp_page(from, stamp_of(MAPPING_REMOTE, 0, 2));
	copy.src = (uintptr_t)from;
	if (ioctl(r->fd, UFFDIO_COPY, &copy))
		broken("ioctl(UFFDIO_COPY): %s", strerror(errno));
	check_munmap(from, r->page, "the source of the copy");
}

static void judge(struct remote *r)
{
	const struct stamp *seen = r->seen;

	if (r->copied != sizeof(struct stamp))
		broken("process_vm_writev to another process: %zd, %s", r->copied, strerror(r->err));
	if (!stamp_is(seen, MAPPING_REMOTE, 0, 2))
		race_hit(r->race, "address_differs", "written by process_vm_writev into a process "
			 "that forked meanwhile: expected generation 2, " STAMP_SEEN,
			 STAMP_SEEN_ARGS(seen));
	race_add(r->race, "checks", 1);
}

static void one_round(struct remote *r)
{
	pthread_t writer;

	r->err = 0;
	start_other(r);
	check_pthread_create(&writer, write_there, r, "a writer");
	await_fault(r);
	ask(r, FORK);
	let_go(r);
	check_pthread_join(writer, "a writer");
	ask(r, LOOK);
	end_other(r);
	judge(r);
	check_madvise(r->source, r->page, MADV_DONTNEED, "the source");
}

/* Before any is held back, into one that is pinned by that and not asked. */
static void need_writes(struct remote *r)
{
	stamp_page(r->source, stamp_of(MAPPING_REMOTE, 0, 2));
	start_other(r);
	ask(r, LOOK);
	write_there(r);
	end_other(r);
	if (r->copied < 0)
		race_skip(r->race, "process_vm_writev to a child: %s", strerror(r->err));
	check_madvise(r->source, r->page, MADV_DONTNEED, "the source");
}

void remote_pins_and_forks(struct race *race, unsigned int rounds)
{
	struct remote r = { .race = race, .page = getpagesize() };
	int err;

	r.target = backing_small(r.page, "guprace target");
	r.source = backing_small(r.page, "guprace held back");
	r.seen = check_mmap(NULL, r.page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    "the other process' report");
	need_writes(&r);
	r.fd = userfault_open(race, 0, "faults");
	err = userfault_register(r.fd, r.source, r.page, UFFDIO_REGISTER_MODE_MISSING);
	if (err)
		race_skip(race, "ioctl(UFFDIO_REGISTER): %s", strerror(err));
	for (unsigned int i = 0; i < rounds; i++)
		one_round(&r);
	check_munmap(r.seen, r.page, "the other process' report");
	check_munmap(r.source, r.page, "the source");
	check_munmap(r.target, r.page, "the target");
	close(r.fd);
}
