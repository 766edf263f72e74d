// SPDX-License-Identifier: GPL-2.0-only
/*
 * io_uring fixed buffers: IORING_REGISTER_BUFFERS pins for writing and for long, and keeps the
 * pages until IORING_UNREGISTER_BUFFERS; each walk is a buffer of its own. (It pins under
 * mmap_lock in v6.1, by GUP-fast in v6.12.) The stamps travel through a socket, which io_uring
 * serves at once where a file would take a worker: WRITE_FIXED brings one out of a buffer,
 * READ_FIXED one into it.
 *
 * Raw system calls: there is no liburing in the guest, and these are four.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "vehicle.h"

#define ENTRIES		64u

struct uring {
	struct io_uring_params params;
	uint8_t *sq;
	uint8_t *cq;
	struct io_uring_sqe *sqes;
	int socket[2];		/* the ring's end, ours */
	bool registered;
	uint8_t *addr;		/* that the buffers were registered at */
	unsigned int pages;	/* of each */
};

static uint32_t *word(uint8_t *ring, uint32_t offset)
{
	return (uint32_t *)(ring + offset);
}

static size_t sq_size(const struct uring *u)
{
	return u->params.sq_off.array + u->params.sq_entries * sizeof(uint32_t);
}

static size_t cq_size(const struct uring *u)
{
	return u->params.cq_off.cqes + u->params.cq_entries * sizeof(struct io_uring_cqe);
}

static size_t sqes_size(const struct uring *u)
{
	return u->params.sq_entries * sizeof(struct io_uring_sqe);
}

/* One stamp at the start of the page behind pin @pin, as entry @slot of a chain. */
static void queue(struct uring *u, size_t page, unsigned int slot, uint8_t op, unsigned int pin,
		  bool last)
{
	uint32_t tail = *word(u->sq, u->params.sq_off.tail);
	uint32_t index = tail & *word(u->sq, u->params.sq_off.ring_mask);

	u->sqes[slot] = (struct io_uring_sqe){
		.opcode = op,
		.flags = last ? 0 : IOSQE_IO_LINK,
		.fd = u->socket[0],
		.addr = (uintptr_t)u->addr + pin % u->pages * page,
		.len = sizeof(struct stamp),
		.user_data = pin,
		.buf_index = pin / u->pages,
	};
	word(u->sq, u->params.sq_off.array)[index] = slot;
	__atomic_store_n(word(u->sq, u->params.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
}

static void reap(struct uring *u, const char *what)
{
	struct io_uring_cqe *cqes = (void *)(u->cq + u->params.cq_off.cqes);
	uint32_t head = *word(u->cq, u->params.cq_off.head);
	uint32_t mask = *word(u->cq, u->params.cq_off.ring_mask);

	for (; head != __atomic_load_n(word(u->cq, u->params.cq_off.tail), __ATOMIC_ACQUIRE);
	     head++) {
		const struct io_uring_cqe *cqe = &cqes[head & mask];

		if (cqe->res != sizeof(struct stamp))
			broken("%s of a stamp, pin %llu: %s", what,
			       (unsigned long long)cqe->user_data,
			       cqe->res < 0 ? strerror(-cqe->res) : "short");
	}
	__atomic_store_n(word(u->cq, u->params.cq_off.head), head, __ATOMIC_RELEASE);
}

static void transfer(struct vehicle *v, uint8_t op, const char *what, unsigned int first,
		     unsigned int count)
{
	struct uring *u = v->state;

	for (unsigned int i = 0; i < count; i++)
		queue(u, v->page, i, op, first + i, i + 1 == count);
	if (syscall(SYS_io_uring_enter, v->fd[0], count, count, IORING_ENTER_GETEVENTS, NULL, 0) !=
	    (int)count)
		broken("io_uring_enter of %u %s: %s", count, what, strerror(errno));
	reap(u, what);
}

static void uring_read(struct vehicle *v, struct stamp *stamps)
{
	struct uring *u = v->state;

	for (unsigned int first = 0; first < v->held; first += ENTRIES) {
		unsigned int left = v->held - first, count = left < ENTRIES ? left : ENTRIES;
		ssize_t len = count * sizeof(*stamps);

		transfer(v, IORING_OP_WRITE_FIXED, "WRITE_FIXED", first, count);
		if (recv(u->socket[1], stamps + first, len, MSG_WAITALL) != len)
			broken("recv of %u stamps: %s", count, strerror(errno));
	}
}

static void uring_write(struct vehicle *v, unsigned int pin, const struct stamp *stamp)
{
	struct uring *u = v->state;

	if (send(u->socket[1], stamp, sizeof(*stamp), 0) != sizeof(*stamp))
		broken("send of a stamp: %s", strerror(errno));
	transfer(v, IORING_OP_READ_FIXED, "READ_FIXED", pin, 1);
}

static int uring_pin(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	struct uring *u = v->state;
	struct iovec iov[VEHICLE_PINS_MAX];

	for (unsigned int i = 0; i < times; i++)
		iov[i] = (struct iovec){ .iov_base = addr, .iov_len = pages * v->page };
	if (syscall(SYS_io_uring_register, v->fd[0], IORING_REGISTER_BUFFERS, iov, times))
		return -errno;
	u->registered = true;
	u->addr = addr;
	u->pages = pages;
	v->held = pages * times;
	return v->held;
}

static void uring_unpin(struct vehicle *v)
{
	struct uring *u = v->state;

	if (!u->registered)
		return;
	if (syscall(SYS_io_uring_register, v->fd[0], IORING_UNREGISTER_BUFFERS, NULL, 0))
		broken("io_uring_register(IORING_UNREGISTER_BUFFERS): %s", strerror(errno));
	u->registered = false;
	v->unpinned += v->held;
	v->held = 0;
}

static void uring_close(struct vehicle *v)
{
	struct uring *u = v->state;

	uring_unpin(v);
	munmap(u->sqes, sqes_size(u));
	munmap(u->cq, cq_size(u));
	munmap(u->sq, sq_size(u));
	close(u->socket[0]);
	close(u->socket[1]);
	close(v->fd[0]);
	free(u);
}

static void *map_ring(const struct vehicle *v, size_t size, off_t offset, const char *what)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, v->fd[0],
			 offset);

	if (map == MAP_FAILED)
		broken("mmap of %s of the ring: %s", what, strerror(errno));
	return map;
}

static int uring_open(struct vehicle *v, char *why, size_t size)
{
	struct uring *u = calloc(1, sizeof(*u));

	if (!u)
		broken("calloc of %zu bytes for %s", sizeof(*u), v->name);
	v->state = u;
	v->page = getpagesize();
	v->capacity = VEHICLE_PINS_MAX;
	v->fd[0] = syscall(SYS_io_uring_setup, ENTRIES, &u->params);
	if (v->fd[0] < 0) {
		snprintf(why, size, "io_uring_setup: %s", strerror(errno));
		free(u);
		return -1;
	}
	u->sq = map_ring(v, sq_size(u), IORING_OFF_SQ_RING, "the submission queue");
	u->cq = map_ring(v, cq_size(u), IORING_OFF_CQ_RING, "the completion queue");
	u->sqes = map_ring(v, sqes_size(u), IORING_OFF_SQES, "the entries");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, u->socket))
		broken("socketpair: %s", strerror(errno));
	return 0;
}

const struct vehicle_ops vehicle_uring = {
	.name = "uring",
	.description = "io_uring fixed buffers: FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM",
	.is = VEHICLE_WRITES | VEHICLE_FOLL_PIN | VEHICLE_HOLDS | VEHICLE_LONGTERM,
	.open = uring_open,
	.pin = uring_pin,
	.read = uring_read,
	.write = uring_write,
	.unpin = uring_unpin,
	.close = uring_close,
};
