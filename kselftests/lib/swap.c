// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "check.h"
#include "mkfs.h"
#include "swap.h"

#define DEVICE		"/dev/ram0"
#define SWAP_BYTES	(16u << 20)
#define PAGE_SIZE_MAX	(64u << 10)

/* What swapon(2) wants to find in the first page (include/linux/swap.h); the rest of it is zero. */
struct swap_header {
	uint8_t boot[1024];
	uint32_t version;
	uint32_t last_page;
};

static const char magic[] = "SWAPSPACE2";	/* ends the page, without the zero */

static bool ours;

static bool swap_is_on(void)
{
	char line[256];
	unsigned int lines = 0;
	FILE *swaps = fopen("/proc/swaps", "r");

	while (swaps && fgets(line, sizeof(line), swaps))
		lines++;
	if (swaps)
		fclose(swaps);
	return lines > 1;
}

static union {
	struct swap_header header;
	uint8_t bytes[PAGE_SIZE_MAX];
} first, found;

/* Whatever is on the device but the header of a program of ours that was killed may be somebody's data. */
static bool is_free(int fd, ssize_t page)
{
	return mkfs_blank(fd) ||
	       (pread(fd, found.bytes, page, 0) == page && !memcmp(found.bytes, first.bytes, page));
}

static int write_header(int fd)
{
	ssize_t page = getpagesize();

	first.header.version = 1;
	first.header.last_page = SWAP_BYTES / page - 1;
	memcpy(first.bytes + page - (sizeof(magic) - 1), magic, sizeof(magic) - 1);
	if (!is_free(fd, page))
		return -EBUSY;
	if (pwrite(fd, first.bytes, page, 0) != page || fsync(fd))
		return -errno;
	return 0;
}

/* The header, and what came into the first slots. */
static int wipe(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = mkfs_wipe(fd);
	close(fd);
	return err;
}

/* However the program ends: swap that is left on is nobody's, and the next program's to keep. */
static void take_off(void)
{
	int err = ours ? 0 : -1;

	/* A signal that waits for the end ends it before it is done. */
	while (ours && (err = swapoff(DEVICE)) && errno == EINTR)
		;
	if (!err)
		(void)wipe();
	ours = false;
}

bool swap_begin(char *why, size_t size)
{
	static bool registered;
	int fd, err;

	if (swap_is_on())
		return true;
	fd = open(DEVICE, O_RDWR | O_EXCL | O_CLOEXEC);
	if (fd < 0) {
		snprintf(why, size, "no swap is on, and none can be made: %s: %s", DEVICE,
			 strerror(errno));
		return false;
	}
	err = write_header(fd);
	close(fd);
	if (!err && swapon(DEVICE, 0)) {
		err = -errno;
		(void)wipe();
	}
	if (err)
		snprintf(why, size, "no swap is on, and none can be made of %s: %s", DEVICE,
			 err == -EBUSY ? "it is not empty" : strerror(-err));
	ours = !err;
	if (ours && !registered)
		broken_cleanup(take_off);
	registered = registered || ours;
	return ours;
}

bool swap_is_ours(void)
{
	return ours;
}

void swap_end(void)
{
	int err;

	if (!ours)
		return;
	if (swapoff(DEVICE))
		broken("swapoff of %s: %s", DEVICE, strerror(errno));
	ours = false;
	err = wipe();
	if (err)
		broken("write of zeros to %s: %s", DEVICE, strerror(-err));
}
