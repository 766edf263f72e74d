// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "ramdisk.h"

#define DEVICE		"/dev/ram1"	/* the first one is for swap */
#define BLOCKS		"4096"		/* 16 MiB */
#define BLOCK_BYTES	"4096"		/* a page: truncation leaves no partial ones behind */
#define HEAD		(64u << 10)	/* whatever is on a disk shows by its first bytes */

static bool ours;

static bool blank_head(int fd)
{
	static uint8_t head[HEAD];

	if (pread(fd, head, sizeof(head), 0) != sizeof(head))
		return false;
	for (size_t i = 0; i < sizeof(head); i++) {
		if (head[i])
			return false;
	}
	return true;
}

int ramdisk_open(char *why, size_t size)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		snprintf(why, size, "%s: %s", DEVICE, strerror(errno));
		return -1;
	}
	if (!blank_head(fd)) {
		snprintf(why, size, "%s is not empty", DEVICE);
		close(fd);
		return -1;
	}
	ours = true;
	return fd;
}

static bool runs(char *const argv[])
{
	extern char **environ;
	posix_spawn_file_actions_t silent;
	int status = -1;
	pid_t pid;

	if (posix_spawn_file_actions_init(&silent) ||
	    posix_spawn_file_actions_addopen(&silent, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) ||
	    posix_spawn_file_actions_adddup2(&silent, STDOUT_FILENO, STDERR_FILENO))
		broken("posix_spawn_file_actions for %s", argv[0]);
	if (!posix_spawnp(&pid, argv[0], &silent, NULL, argv, environ))
		waitpid(pid, &status, 0);
	posix_spawn_file_actions_destroy(&silent);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static bool make_ext2(void)
{
	char *mke2fs[] = { "mke2fs", "-F", "-b", BLOCK_BYTES, DEVICE, BLOCKS, NULL };
	char *busybox[] = { "busybox", "mke2fs", "-F", "-b", BLOCK_BYTES, DEVICE, "16384", NULL };

	return runs(mke2fs) || runs(busybox);
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
	if (make_ext2())
		fd = open_unnamed(why, size);
	else {
		snprintf(why, size, "no mke2fs, nor a busybox with one, that makes an ext2 on %s",
			 DEVICE);
		fd = -1;
	}
	if (fd < 0)
		ramdisk_close();
	return fd;
}

/* The file system goes away shortly after its last file: until then the disk is busy. */
void ramdisk_close(void)
{
	static const uint8_t zeros[HEAD];
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
	if (pwrite(fd, zeros, sizeof(zeros), 0) != sizeof(zeros) || fsync(fd))
		broken("write of zeros to %s: %s", DEVICE, strerror(errno));
	close(fd);
}
