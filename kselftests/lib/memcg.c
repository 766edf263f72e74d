// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "ktap.h"
#include "memcg.h"
#include "setting.h"

#define MOUNT_POINT	"/tmp/guprace.XXXXXX"

static struct {
	char root[sizeof(MOUNT_POINT)];	/* empty: not mounted */
	char home[512];			/* the group this process was in, from there: "/..." */
	char group[64];			/* its new one, "/..."; empty: none */
	bool enabled;			/* we have given the memory controller to groups */
} memcg;

/* The path is of the hierarchy: "/guprace-1/cgroup.procs". */
static int write_to(const char *group, const char *file, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s/%s", memcg.root, group, file);
	return write_file(path, text);
}

/* Of v2: "0::/path". */
static bool find_home(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[sizeof(memcg.home)];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "0::%511[^\n]", memcg.home) == 1;
	if (f)
		fclose(f);
	return found;
}

/* The list of what the root gives to its groups, "cpu memory pids". */
static bool memory_is_given(void)
{
	char path[64], line[256];

	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", memcg.root);
	return setting_read(path, line, sizeof(line)) && strstr(line, "memory");
}

static bool mount_groups(char *why, size_t size)
{
	char dir[] = MOUNT_POINT;

	if (!mkdtemp(dir)) {
		snprintf(why, size, "mkdtemp of %s: %s", dir, strerror(errno));
		return false;
	}
	if (mount("none", dir, "cgroup2", 0, NULL)) {
		snprintf(why, size, "no memory cgroup: mount of a cgroup2: %s", strerror(errno));
		rmdir(dir);
		return false;
	}
	memcpy(memcg.root, dir, sizeof(dir));
	return true;
}

static bool make_group(char *why, size_t size)
{
	char path[128];
	int err;

	memcg.enabled = !memory_is_given();
	err = memcg.enabled ? write_to("", "cgroup.subtree_control", "+memory") : 0;
	if (err) {
		memcg.enabled = false;
		snprintf(why, size, "no memory cgroup: cgroup v2 has no memory controller here: %s",
			 strerror(-err));
		return false;
	}
	snprintf(memcg.group, sizeof(memcg.group), "/guprace-%d", getpid());
	snprintf(path, sizeof(path), "%s%s", memcg.root, memcg.group);
	if (mkdir(path, 0700)) {
		snprintf(why, size, "no memory cgroup: mkdir of %s: %s", memcg.group,
			 strerror(errno));
		memcg.group[0] = '\0';
		return false;
	}
	return true;
}

static bool enter_group(char *why, size_t size)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s%s/memory.reclaim", memcg.root, memcg.group);
	if (access(path, W_OK)) {
		snprintf(why, size, "no memory.reclaim (new in v5.19) in a cgroup: %s",
			 strerror(errno));
		return false;
	}
	err = find_home() ? write_to(memcg.group, "cgroup.procs", "0") : -ENOENT;
	if (err)
		snprintf(why, size, "this process stays out of %s: %s", memcg.group,
			 strerror(-err));
	return !err;
}

bool memcg_begin(char *why, size_t size)
{
	static bool registered;

	if (!registered)
		broken_cleanup(memcg_end);
	registered = true;
	if (mount_groups(why, size) && make_group(why, size) && enter_group(why, size))
		return true;
	memcg_end();
	return false;
}

/* -EAGAIN: less than that, which whoever looks at his pages sees. */
void memcg_reclaim(size_t bytes)
{
	char text[32];
	int err;

	snprintf(text, sizeof(text), "%zu", bytes);
	err = write_to(memcg.group, "memory.reclaim", text);
	if (err && err != -EAGAIN)
		broken("write of %s to memory.reclaim of %s: %s", text, memcg.group,
		       strerror(-err));
}

/* On the way out, too: what cannot be undone is told, and no more. */
static void leave_group(void)
{
	char path[128];

	if (memcg.home[0])
		(void)write_to(memcg.home, "cgroup.procs", "0");
	snprintf(path, sizeof(path), "%s%s", memcg.root, memcg.group);
	if (rmdir(path))
		ktap_diag("the cgroup %s stays: %s", memcg.group, strerror(errno));
}

void memcg_end(void)
{
	if (!memcg.root[0])
		return;
	if (memcg.group[0])
		leave_group();
	if (memcg.enabled)
		(void)write_to("", "cgroup.subtree_control", "-memory");
	if (umount2(memcg.root, MNT_DETACH))
		ktap_diag("%s stays mounted: %s", memcg.root, strerror(errno));
	rmdir(memcg.root);
	memset(&memcg, 0, sizeof(memcg));
}
