// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmsplice: each segment of the vector is one get_user_pages_fast() call, and its pages stay in the
 * pipe until they are read. Works on any kernel, for any user.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "vehicle.h"

/* What a segment of @pages pages takes of its last one: the stamp is enough. */
static size_t segment_len(const struct vehicle *v, unsigned int pages)
{
	return (size_t)(pages - 1) * v->page + sizeof(struct stamp);
}

static int vmsplice_pin(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	struct iovec iov[VEHICLE_PINS_MAX];
	size_t len = segment_len(v, pages);
	unsigned int i;
	ssize_t done;

	for (i = 0; i < times; i++)
		iov[i] = (struct iovec){ .iov_base = addr, .iov_len = len };

	done = vmsplice(v->fd[1], iov, times, SPLICE_F_NONBLOCK);
	if (done < 0)
		return -errno;
	v->bytes = done;
	v->segment_pages = pages;
	v->held = done / len * pages + (done % len + v->page - 1) / v->page;
	return v->held;
}

/* The pipe gives the pages back as bytes: of each a stamp, and what follows it to a sink. */
static void vmsplice_read(struct vehicle *v, struct stamp *stamps)
{
	static uint8_t sink[1 << 16];
	struct iovec iov[2 * VEHICLE_PINS_MAX];
	unsigned int used = 0;
	ssize_t done;

	for (unsigned int i = 0; i < v->held; i++) {
		iov[used++] = (struct iovec){ .iov_base = &stamps[i], .iov_len = sizeof(*stamps) };
		if ((i + 1) % v->segment_pages)
			iov[used++] = (struct iovec){ .iov_base = sink,
						      .iov_len = v->page - sizeof(*stamps) };
	}
	done = readv(v->fd[0], iov, used);
	if (done != v->bytes)
		broken("readv of %zd bytes from the pipe: %zd, %s", v->bytes, done,
		       done < 0 ? strerror(errno) : "short");
	v->unpinned += v->held;
	v->held = 0;
}

static void vmsplice_unpin(struct vehicle *v)
{
	struct stamp sink[VEHICLE_PINS_MAX];

	if (v->held)
		vmsplice_read(v, sink);
}

static void vmsplice_close(struct vehicle *v)
{
	close(v->fd[0]);
	close(v->fd[1]);
}

static int vmsplice_open(struct vehicle *v, char *why, size_t size)
{
	static _Alignas(64) struct stamp trial;
	int bytes, got;

	v->page = getpagesize();
	if (pipe2(v->fd, O_CLOEXEC))
		broken("pipe2: %s", strerror(errno));

	bytes = fcntl(v->fd[1], F_GETPIPE_SZ);
	if (bytes < 0)
		broken("fcntl(F_GETPIPE_SZ): %s", strerror(errno));
	v->capacity = bytes / v->page;
	if (v->capacity > VEHICLE_PINS_MAX)
		v->capacity = VEHICLE_PINS_MAX;

	got = vmsplice_pin(v, &trial, 1, 1);
	if (got == 1) {
		vmsplice_unpin(v);
		return 0;
	}
	snprintf(why, size, "vmsplice does not work here: %s", got < 0 ? strerror(-got) : "short");
	vmsplice_close(v);
	return -1;
}

const struct vehicle_ops vehicle_vmsplice = {
	.name = "vmsplice",
	.description = "vmsplice(2) into a pipe, read back from it: FOLL_GET",
	.is = VEHICLE_HOLDS | VEHICLE_READ_DROPS,
	.open = vmsplice_open,
	.pin = vmsplice_pin,
	.read = vmsplice_read,
	.unpin = vmsplice_unpin,
	.close = vmsplice_close,
};
