// SPDX-License-Identifier: GPL-2.0-only
/*
 * O_DIRECT: the block layer pins the caller's memory by GUP-fast, once for each segment of the
 * vector, and copies through the pins before it gives them back (FOLL_GET before v6.3, FOLL_PIN
 * since, for what is read into). A RAM disk copies at once, a loop device in a worker of its own
 * some time later; either way the system call returns when that is done.
 *
 *   direct     writes the target to the disk; read() tells what arrived there
 *   direct_in  reads the disk into the target: what write() set down before
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "ktap.h"
#include "mkfs.h"
#include "vehicle.h"

#define RAM_DISKS	16

struct direct {
	uint8_t *copy;		/* of what is on the disk, page by page */
	int number;		/* of the RAM disk; -1: it is a loop device */
};

/* RAM disks that are written to, by number: for who ends in the middle of it. 0: none. */
static int ram_disk[RAM_DISKS];

static void wipe_ram_disks(void)
{
	for (int i = 0; i < RAM_DISKS; i++) {
		if (ram_disk[i])
			(void)mkfs_wipe(ram_disk[i]);
	}
}

static int direct_transfer(struct vehicle *v, void *addr, unsigned int pages, unsigned int times,
			   ssize_t (*transfer)(int, const struct iovec *, int, off_t))
{
	struct iovec iov[VEHICLE_PINS_MAX];
	ssize_t done;

	end_holds();
	for (unsigned int i = 0; i < times; i++)
		iov[i] = (struct iovec){ .iov_base = addr, .iov_len = pages * v->page };
	done = transfer(v->fd[0], iov, times, 0);
	if (done < 0)
		return -errno;
	v->held = done / v->page;
	v->unpinned += v->held;
	return v->held;
}

static int direct_pin(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	return direct_transfer(v, addr, pages, times, pwritev);
}

static int direct_in_pin(struct vehicle *v, void *addr, unsigned int pages, unsigned int times)
{
	return direct_transfer(v, addr, pages, times, preadv);
}

static void direct_read(struct vehicle *v, struct stamp *stamps)
{
	struct direct *direct = v->state;
	ssize_t done = pread(v->fd[0], direct->copy, v->held * v->page, 0);

	if (done != (ssize_t)(v->held * v->page))
		broken("pread of %u pages from the disk: %zd, %s", v->held, done,
		       done < 0 ? strerror(errno) : "short");
	for (unsigned int i = 0; i < v->held; i++)
		memcpy(&stamps[i], direct->copy + i * v->page, sizeof(*stamps));
}

/* The whole page: the rest of it is zero, in the target too. */
static void direct_in_write(struct vehicle *v, unsigned int pin, const struct stamp *stamp)
{
	struct direct *direct = v->state;
	ssize_t done;

	memset(direct->copy, 0, v->page);
	memcpy(direct->copy, stamp, sizeof(*stamp));
	end_holds();
	done = pwrite(v->fd[0], direct->copy, v->page, pin * v->page);
	v->unpinned++;
	if (done != (ssize_t)v->page)
		broken("pwrite of page %u to the disk: %zd, %s", pin, done,
		       done < 0 ? strerror(errno) : "short");
}

static void direct_unpin(struct vehicle *v)
{
	v->held = 0;
}

/* All that was written, for the next one who looks whether the disk is blank. */
static void clear_ram_disk(struct vehicle *v)
{
	struct direct *direct = v->state;

	memset(direct->copy, 0, VEHICLE_PINS_MAX * v->page);
	if (pwrite(v->fd[0], direct->copy, VEHICLE_PINS_MAX * v->page, 0) < 0)
		ktap_diag("/dev/ram%d is not blank again: %s", direct->number, strerror(errno));
	ram_disk[direct->number] = 0;
}

static void direct_close(struct vehicle *v)
{
	struct direct *direct = v->state;

	if (direct->number >= 0)
		clear_ram_disk(v);
	close(v->fd[0]);
	munmap(direct->copy, VEHICLE_PINS_MAX * v->page);
	free(direct);
}

/* O_EXCL of a block device: nobody else has it open that way or mounted. And blank: nobody's data. */
static int open_ram_disk(int *number)
{
	static bool registered;
	char path[32];

	for (int i = 0; i < RAM_DISKS; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/ram%d", i);
		fd = open(path, O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (mkfs_blank(fd)) {
			if (!registered)
				broken_cleanup(wipe_ram_disks);
			registered = true;
			ram_disk[i] = fd;
			*number = i;
			return fd;
		}
		close(fd);
	}
	return -1;
}

/* Unbound by its last close, and so by any end of the program; it keeps the file behind it. */
static int open_loop(size_t size)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, fd = -1;
	int backing = memfd_create("guprace disk", MFD_CLOEXEC);
	struct loop_config config = {
		.fd = backing, .info = { .lo_flags = LO_FLAGS_AUTOCLEAR },
	};
	char path[32];

	if (control < 0 || backing < 0 || ftruncate(backing, size))
		goto out;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	if (number < 0)
		goto out;
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config)) {
		close(fd);
		fd = -1;
	}
out:
	if (backing >= 0)
		close(backing);
	if (control >= 0)
		close(control);
	return fd;
}

static int direct_open(struct vehicle *v, char *why, size_t size)
{
	struct direct *direct = calloc(1, sizeof(*direct));
	int got;

	if (!direct)
		broken("calloc of %zu bytes for %s", sizeof(*direct), v->name);
	v->state = direct;
	v->page = getpagesize();
	v->capacity = VEHICLE_PINS_MAX;
	direct->number = -1;
	v->fd[0] = open_ram_disk(&direct->number);
	if (v->fd[0] < 0)
		v->fd[0] = open_loop(VEHICLE_PINS_MAX * v->page);
	if (v->fd[0] < 0) {
		snprintf(why, size, "neither a free, empty /dev/ram* nor a loop device");
		free(direct);
		return -1;
	}
	direct->copy = check_mmap(NULL, VEHICLE_PINS_MAX * v->page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, "the copy of the disk");
	/* Of small pages, each given back by itself; fails where there are no huge ones. */
	madvise(direct->copy, VEHICLE_PINS_MAX * v->page, MADV_NOHUGEPAGE);
	name_mapping(direct->copy, VEHICLE_PINS_MAX * v->page, "guprace disk");
	memset(direct->copy, 0, VEHICLE_PINS_MAX * v->page);
	got = direct_pin(v, direct->copy, VEHICLE_PINS_MAX, 1);
	if (got == VEHICLE_PINS_MAX) {
		direct_unpin(v);
		return 0;
	}
	snprintf(why, size, "O_DIRECT does not work here: %s", got < 0 ? strerror(-got) : "short");
	direct_close(v);
	return -1;
}

const struct vehicle_ops vehicle_direct = {
	.name = "direct",
	.description = "O_DIRECT pwritev(2) from the target to a RAM disk or loop device",
	.is = VEHICLE_READ_PINS,
	.open = direct_open,
	.pin = direct_pin,
	.read = direct_read,
	.unpin = direct_unpin,
	.close = direct_close,
};

const struct vehicle_ops vehicle_direct_in = {
	.name = "direct_in",
	.description = "O_DIRECT preadv(2) into the target: FOLL_WRITE",
	.is = VEHICLE_WRITES | VEHICLE_FILLS,
	.open = direct_open,
	.pin = direct_in_pin,
	.write = direct_in_write,
	.unpin = direct_unpin,
	.close = direct_close,
};
