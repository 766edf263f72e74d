// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmsplice: each segment of the vector is one get_user_pages_fast() call, and its page stays in the
 * pipe until it is read. Works on any kernel, for any user.
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

static int vmsplice_pin(struct vehicle *v, void *addr, unsigned int times)
{
	struct iovec iov[VEHICLE_PINS_MAX];
	unsigned int i;
	ssize_t done;

	for (i = 0; i < times; i++)
		iov[i] = (struct iovec){ .iov_base = addr, .iov_len = sizeof(struct stamp) };

	done = vmsplice(v->fd[1], iov, times, SPLICE_F_NONBLOCK);
	if (done < 0)
		return -errno;
	v->held = done / sizeof(struct stamp);
	return v->held;
}

static void vmsplice_read(struct vehicle *v, struct stamp *stamps)
{
	ssize_t want = v->held * sizeof(*stamps);
	ssize_t done = read(v->fd[0], stamps, want);

	if (done != want)
		broken("read of %zd bytes from the pipe: %zd, %s", want, done,
		       done < 0 ? strerror(errno) : "short");
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
	static struct stamp trial;
	int bytes, got;

	if (pipe2(v->fd, O_CLOEXEC))
		broken("pipe2: %s", strerror(errno));

	bytes = fcntl(v->fd[1], F_GETPIPE_SZ);
	if (bytes < 0)
		broken("fcntl(F_GETPIPE_SZ): %s", strerror(errno));
	v->capacity = bytes / getpagesize();
	if (v->capacity > VEHICLE_PINS_MAX)
		v->capacity = VEHICLE_PINS_MAX;

	got = vmsplice_pin(v, &trial, 1);
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
	.open = vmsplice_open,
	.pin = vmsplice_pin,
	.read = vmsplice_read,
	.unpin = vmsplice_unpin,
	.close = vmsplice_close,
};
