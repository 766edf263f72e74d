// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "guprace_probe.h"
#include "mkfs.h"
#include "pmem.h"
#include "spare.h"

#define ALIGN		(2ull << 20)
#define MOST		(64ull << 20)	/* of what is spare */
#define LEAST		(32ull << 20)
#define DISKS		"/sys/devices/platform/" GUPRACE_PROBE_PMEM_PARENT \
			"/ndbus*/region*/namespace*/block/*"
#define COME_MS		10000u
#define GO_MS		10000u
#define UNPLUG_MS	3000u

/* In an ext4's superblock, at this place of the disk: which features it has that all must know. */
#define SUPER_INCOMPAT	(1024 + 0x60)
#define INCOMPAT_EXTENTS	0x40u

static pid_t keeper;		/* has the file of the probe that the device goes with */
static int leash = -1;		/* our end of its pipe */
static char device[64];
static char dir[32];
static bool mounted;
static int hold = -1;		/* the file of the probe that has its pages stay */
static struct guprace_probe_hold held;

static long add_device(const struct spare *range, int *fd)
{
	struct guprace_probe_pmem req = { range->start, range->end - range->start };

	*fd = open("/dev/" GUPRACE_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	return *fd < 0 || ioctl(*fd, GUPRACE_PROBE_PMEM, &req) ? errno : 0;
}

/*
 * A process of its own: the last close waits for all references on the device's pages, and whoever
 * waits for one that was lost can never be killed.
 */
static void keep(const struct spare *range, int said, int end)
{
	int fd;
	long err = add_device(range, &fd);
	char byte;

	(void)!write(said, &err, sizeof(err));
	if (!err)
		(void)!read(end, &byte, 1);
	_exit(0);
}

static long start_keeper(const struct spare *range)
{
	int said[2], end[2];
	long err = EPIPE;

	if (pipe2(said, O_CLOEXEC) || pipe2(end, O_CLOEXEC))
		broken("pipe2: %s", strerror(errno));
	fflush(stdout);
	keeper = fork();
	if (keeper < 0)
		broken("fork: %s", strerror(errno));
	if (!keeper) {
		/* Ctrl-C is for its parent, who unmounts before the device goes. */
		setpgid(0, 0);
		close(end[1]);
		keep(range, said[1], end[0]);
	}
	close(said[1]);
	close(end[0]);
	leash = end[1];
	(void)!read(said[0], &err, sizeof(err));
	close(said[0]);
	return err;
}

static bool find_device(void)
{
	glob_t found;
	bool is = !glob(DISKS, 0, NULL, &found) && found.gl_pathc;

	if (is)
		snprintf(device, sizeof(device), "/dev/%.32s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return is;
}

/* It is there shortly before it can be opened. */
static int open_device(void)
{
	for (unsigned int ms = 0; ms < COME_MS; ms += 10) {
		int fd = find_device() ? open(device, O_RDWR | O_CLOEXEC) : -1;

		if (fd >= 0)
			return fd;
		usleep(10000);
	}
	broken("no block device at " DISKS " after %u s", COME_MS / 1000);
}

static void let_go(void)
{
	if (leash >= 0)
		close(leash);
	leash = -1;
}

static bool gone_within(unsigned int most_ms)
{
	let_go();
	for (unsigned int ms = 0; ms < most_ms; ms += 10) {
		if (waitpid(keeper, NULL, WNOHANG) == keeper) {
			keeper = 0;
			return true;
		}
		usleep(10000);
	}
	return false;
}

/* Like a new one's: without a journal, and blocks that are freed are free at once. */
static bool make_ext4(char *why, size_t size)
{
	int fd = open_device();
	uint64_t bytes = lseek(fd, 0, SEEK_END);
	uint32_t features;
	bool made;

	/* What was in this memory before the kernel began is nobody's. */
	mkfs_blank_again(fd, device);
	made = mkfs_ext2(device, bytes, why, size);
	if (made) {
		/* With extents: fallocate() needs them. */
		if (pread(fd, &features, sizeof(features), SUPER_INCOMPAT) != sizeof(features))
			broken("read of %s: %s", device, strerror(errno));
		features |= htole32(INCOMPAT_EXTENTS);
		if (pwrite(fd, &features, sizeof(features), SUPER_INCOMPAT) != sizeof(features) ||
		    fsync(fd))
			broken("write to %s: %s", device, strerror(errno));
	}
	close(fd);
	return made;
}

static void unmount(void)
{
	if (mounted && umount2(dir, MNT_DETACH))
		fprintf(stderr, "umount of %s: %s\n", dir, strerror(errno));
	if (mounted)
		rmdir(dir);
	mounted = false;
}

static bool mount_dax(char *why, size_t size)
{
	static bool registered;

	strcpy(dir, "/tmp/guprace.XXXXXX");
	if (!mkdtemp(dir))
		broken("mkdtemp of %s: %s", dir, strerror(errno));
	if (mount(device, dir, "ext4", 0, "dax")) {
		snprintf(why, size, "mount of an ext4 with dax on %s: %s", device, strerror(errno));
		rmdir(dir);
		return false;
	}
	mounted = true;
	if (!registered)
		broken_cleanup(unmount);
	registered = true;
	return true;
}

bool pmem_open(char *why, size_t size)
{
	struct spare range;
	long err;

	if (keeper) {
		snprintf(why, size, "the device of the subtest before is still there");
		return false;
	}
	if (!spare_ram(&range)) {
		snprintf(why, size, "no RAM that the kernel was told to leave alone: boot with mem=");
		return false;
	}
	range.end &= -ALIGN;
	range.start = (range.start + ALIGN - 1) & -ALIGN;
	if (range.end < range.start + LEAST) {
		snprintf(why, size, "mem= leaves less than %llu MiB", LEAST >> 20);
		return false;
	}
	if (range.end - range.start > MOST)
		range.start = range.end - MOST;
	err = start_keeper(&range);
	if (err) {
		waitpid(keeper, NULL, 0);
		keeper = 0;
		let_go();
		snprintf(why, size, "the probe module cannot make persistent memory here: %s",
			 strerror(err));
		return false;
	}
	if (make_ext4(why, size) && mount_dax(why, size))
		return true;
	if (!gone_within(GO_MS))
		broken("%s, and the device does not go away", why);
	return false;
}

int pmem_file(char *why, size_t size)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		snprintf(why, size, "open(O_TMPFILE) in an ext4: %s", strerror(errno));
	return fd;
}

bool pmem_hold(uint64_t pfn, char *why, size_t size)
{
	held.pfn = pfn;
	hold = open("/dev/" GUPRACE_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	if (hold >= 0 && !ioctl(hold, GUPRACE_PROBE_HOLD, &held))
		return true;
	snprintf(why, size, "the probe module cannot hold a device's pages here: %s", strerror(errno));
	if (hold >= 0)
		close(hold);
	hold = -1;
	return false;
}

bool pmem_unplug(void)
{
	let_go();
	for (unsigned int ms = 0; ms < UNPLUG_MS; ms += 10) {
		if (ioctl(hold, GUPRACE_PROBE_HOLD, &held) && errno == ENXIO)
			return true;
		usleep(10000);
	}
	return false;
}

bool pmem_close(void)
{
	if (hold >= 0)
		close(hold);
	hold = -1;
	/* Whoever looks at the files of a process may have one open for a moment. */
	for (unsigned int tries = 0; umount(dir); tries++) {
		if (errno != EBUSY || tries == 100)
			broken("umount of %s: %s", dir, strerror(errno));
		usleep(10000);
	}
	mounted = false;
	rmdir(dir);
	return !keeper || gone_within(GO_MS);
}
