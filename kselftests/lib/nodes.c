// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "nodes.h"

#define QUESTIONS	100u

void nodes_pages(struct nodes *n, const struct agree *a)
{
	n->pages = a->pages;
	for (unsigned int i = 0; i < a->pages; i++)
		n->page[i] = a->addr + i * a->page;
}

void nodes_turn(struct nodes *n, int node)
{
	for (unsigned int i = 0; i < n->pages; i++)
		n->node[i] = node;
}

/* Somebody else may have it on its way, or out, just now. */
int nodes_ask_first(struct nodes *n)
{
	int status = -ENODEV;

	for (unsigned int i = 0; i < QUESTIONS && status < 0; i++) {
		(void)*(volatile uint8_t *)n->page[0];
		if (syscall(SYS_move_pages, 0, 1ul, n->page, NULL, &status, MPOL_MF_MOVE))
			return -errno;
	}
	if (status < 0)
		broken("move_pages, asked where the target is: status %d", status);
	return status;
}

int nodes_of_first(struct nodes *n)
{
	int node = nodes_ask_first(n);

	if (node < 0)
		broken("move_pages, asked where the target is: %s", strerror(-node));
	return node;
}

static bool together(const struct nodes *n, int node)
{
	int is[VEHICLE_PINS_MAX];

	if (syscall(SYS_move_pages, 0, n->pages, n->page, NULL, is, MPOL_MF_MOVE))
		broken("move_pages, asked where the pages are: %s", strerror(errno));
	for (unsigned int i = 0; i < n->pages; i++) {
		if (is[i] != node)
			return false;
	}
	return true;
}

int nodes_turn_away(struct nodes *n)
{
	int home = nodes_of_first(n);

	if (!together(n, home)) {
		nodes_turn(n, home);
		(void)nodes_move(n, MPOL_MF_MOVE);
	}
	nodes_turn(n, !home);
	return !home;
}
