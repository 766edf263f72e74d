// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "mkfs.h"

#define HEAD	(128u << 10)	/* a btrfs begins in its second half */
#define ALIGN	4096		/* of what O_DIRECT is given */

bool mkfs_blank(int fd)
{
	static _Alignas(ALIGN) uint8_t head[HEAD];

	if (pread(fd, head, sizeof(head), 0) != sizeof(head))
		return false;
	for (size_t i = 0; i < sizeof(head); i++) {
		if (head[i])
			return false;
	}
	return true;
}

int mkfs_wipe(int fd)
{
	static _Alignas(ALIGN) uint8_t zeros[HEAD];
	ssize_t done = pwrite(fd, zeros, sizeof(zeros), 0);

	if (done >= 0 && done != sizeof(zeros))
		return -EIO;
	return done < 0 || fsync(fd) ? -errno : 0;
}

void mkfs_blank_again(int fd, const char *device)
{
	int err = mkfs_wipe(fd);

	if (err)
		broken("write of zeros to %s: %s", device, strerror(-err));
}

static bool runs(const char *const argv[])
{
	extern char **environ;
	posix_spawn_file_actions_t silent;
	int status = -1;
	pid_t pid;

	if (posix_spawn_file_actions_init(&silent) ||
	    posix_spawn_file_actions_addopen(&silent, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) ||
	    posix_spawn_file_actions_adddup2(&silent, STDOUT_FILENO, STDERR_FILENO))
		broken("posix_spawn_file_actions for %s", argv[0]);
	if (!posix_spawnp(&pid, argv[0], &silent, NULL, (char *const *)argv, environ))
		waitpid(pid, &status, 0);
	posix_spawn_file_actions_destroy(&silent);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

bool mkfs_ext2(const char *device, uint64_t bytes, char *why, size_t size)
{
	char block[24], blocks[24], kib[24];
	const char *mke2fs[] = { "mke2fs", "-F", "-b", block, device, blocks, NULL };
	const char *busybox[] = { "busybox", "mke2fs", "-F", "-b", block, device, kib, NULL };

	snprintf(block, sizeof(block), "%d", getpagesize());
	snprintf(blocks, sizeof(blocks), "%" PRIu64, bytes / getpagesize());
	snprintf(kib, sizeof(kib), "%" PRIu64, bytes >> 10);
	if (runs(mke2fs) || runs(busybox))
		return true;
	snprintf(why, size, "no mke2fs, nor a busybox with one, that makes an ext2 on %s", device);
	return false;
}
