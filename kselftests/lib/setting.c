// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "ktap.h"
#include "setting.h"

#define SETTINGS_MAX	8
#define PATH_LEN	96

/* What a file said before we changed it. */
static struct setting {
	char path[PATH_LEN];
	char value[64];
} settings[SETTINGS_MAX];
static unsigned int changed;

bool setting_read(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, line, size - 1);
	close(fd);
	if (got <= 0)
		return false;
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

void setting_restore(void)
{
	while (changed) {
		struct setting *s = &settings[changed - 1];
		int err = write_file(s->path, s->value);

		changed = s - settings;
		if (err)
			ktap_diag("%s is not %s again: %s", s->path, s->value, strerror(-err));
	}
}

/* "always [madvise] never" stands for madvise. */
static void keep_chosen(char *value)
{
	char *from = strchr(value, '['), *to = from ? strchr(from, ']') : NULL;

	if (!to)
		return;
	*to = '\0';
	memmove(value, from + 1, to - from);
}

bool setting_change(const char *path, const char *value)
{
	struct setting *s = &settings[changed];
	static bool registered;

	if (changed == SETTINGS_MAX)
		broken("more than %d settings changed at once", SETTINGS_MAX);
	if (!setting_read(path, s->value, sizeof(s->value)))
		return false;
	keep_chosen(s->value);
	if (!strcmp(s->value, value))
		return true;
	snprintf(s->path, sizeof(s->path), "%s", path);
	if (!registered)
		broken_cleanup(setting_restore);
	registered = true;
	changed++;
	if (!write_file(path, value))
		return true;
	changed = s - settings;
	return false;
}
