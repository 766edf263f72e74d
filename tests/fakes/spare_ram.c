// SPDX-License-Identifier: GPL-2.0-only
/* What lib/spare.c finds on the machine below SPARE_ROOT. */
#include <inttypes.h>
#include <stdio.h>

#include "spare.h"

int main(void)
{
	struct spare spare;

	if (spare_ram(&spare))
		printf("%" PRIx64 "-%" PRIx64 "\n", spare.start, spare.end);
	else
		puts("none");
	return 0;
}
