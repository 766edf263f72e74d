// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>

#include "waiter.h"

pid_t waiter_fork(int *release)
{
	int fds[2];
	pid_t child;
	char byte;

	if (pipe(fds))
		return -1;
	child = fork();
	if (!child) {
		close(fds[1]);
		(void)!read(fds[0], &byte, 1);
		_exit(0);
	}
	close(fds[0]);
	*release = fds[1];
	return child;
}
