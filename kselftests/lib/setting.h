/* SPDX-License-Identifier: GPL-2.0-only */
/* Settings of the kernel under /proc/sys and /sys: what was changed is put back. */
#ifndef GUPRACE_SETTING_H
#define GUPRACE_SETTING_H

#include <stdbool.h>
#include <stddef.h>

/* The first line of a file, without its end; false where there is none. */
bool setting_read(const char *path, char *line, size_t size);

/* Change a setting; false where it does not exist or this user may not. */
bool setting_change(const char *path, const char *value);

/* Put all back. Ours at the end of the program, too. */
void setting_restore(void);

#endif
