// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "check.h"
#include "mkfs.h"
#include "ramdisk.h"

#define DEVICE		"/dev/ram1"	/* the first one is for swap */
#define BYTES		(16u << 20)

static bool ours;

int ramdisk_open(char *why, size_t size)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		snprintf(why, size, "%s: %s", DEVICE, strerror(errno));
		return -1;
	}
	if (!mkfs_blank(fd)) {
		snprintf(why, size, "%s is not empty", DEVICE);
		close(fd);
		return -1;
	}
	ours = true;
	return fd;
}

/* Mounted for as long as it takes to open a file: the file keeps the file system. */
static int open_unnamed(char *why, size_t size)
{
	char dir[] = "/tmp/guprace.XXXXXX";
	int fd = -1;

	if (!mkdtemp(dir)) {
		snprintf(why, size, "mkdtemp of %s: %s", dir, strerror(errno));
		return -1;
	}
	if (mount(DEVICE, dir, "ext2", 0, NULL)) {
		snprintf(why, size, "mount of an ext2 on %s: %s", DEVICE, strerror(errno));
	} else {
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0)
			snprintf(why, size, "open(O_TMPFILE) in an ext2: %s", strerror(errno));
		if (umount2(dir, MNT_DETACH))
			broken("umount of %s: %s", dir, strerror(errno));
	}
	rmdir(dir);
	return fd;
}

int ramdisk_open_ext2(char *why, size_t size)
{
	int fd = ramdisk_open(why, size);

	if (fd < 0)
		return -1;
	close(fd);
	fd = mkfs_ext2(DEVICE, BYTES, why, size) ? open_unnamed(why, size) : -1;
	if (fd < 0)
		ramdisk_close();
	return fd;
}

/* The file system goes away shortly after its last file: until then the disk is busy. */
void ramdisk_close(void)
{
	int fd;

	if (!ours)
		return;
	ours = false;
	for (unsigned int tries = 0; ; tries++) {
		fd = open(DEVICE, O_RDWR | O_EXCL | O_CLOEXEC);
		if (fd >= 0)
			break;
		if (errno != EBUSY || tries == 100)
			broken("open of %s: %s", DEVICE, strerror(errno));
		usleep(10000);
	}
	mkfs_blank_again(fd, DEVICE);
	close(fd);
}
