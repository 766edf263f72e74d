// SPDX-License-Identifier: GPL-2.0-only
/*
 * The probe module and what /proc tells of page frames, for a scenario that is linked with
 * --wrap=open,ioctl,fopen,pagemap_read: a pin is what process_vm_readv() can read, and
 * process_vm_writev() write where that is asked for. The environment tells FAKE_ZONEINFO, and the
 * page frame of any place (FAKE_PLACE) and behind any pin (FAKE_PIN).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guprace_probe.h"
#include "pagemap.h"

int __real_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
FILE *__real_fopen(const char *path, const char *mode);
int __wrap_open(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
FILE *__wrap_fopen(const char *path, const char *mode);
void __wrap_pagemap_read(const void *addr, uint64_t *entries, unsigned int pages);

static struct guprace_probe_pin held;

static uint64_t told(const char *name)
{
	return strtoull(getenv(name), NULL, 0);
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = va_arg(ap, int);
	va_end(ap);
	return __real_open(strcmp(path, "/dev/" GUPRACE_PROBE_DEVICE) ? path : "/dev/null", flags, mode);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
	if (strcmp(path, "/proc/zoneinfo"))
		return __real_fopen(path, mode);
	return fmemopen(getenv("FAKE_ZONEINFO"), strlen(getenv("FAKE_ZONEINFO")), "r");
}

void __wrap_pagemap_read(const void *addr, uint64_t *entries, unsigned int pages)
{
	(void)addr;
	for (unsigned int i = 0; i < pages; i++)
		entries[i] = PAGEMAP_PRESENT | told("FAKE_PLACE");
}

static struct iovec page_of(unsigned int pin, size_t size)
{
	size_t at = pin % held.nr_pages * getpagesize();

	return (struct iovec){ (void *)(uintptr_t)(held.addr + at), size };
}

static int fake_pin(const struct guprace_probe_pin *pin)
{
	char byte;

	held = *pin;
	for (unsigned int i = 0; i < pin->nr_pages; i++) {
		struct iovec local = { &byte, 1 }, remote = page_of(i, 1);

		if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 1 ||
		    (pin->flags & GUPRACE_PIN_WRITE &&
		     process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 1)) {
			held.nr_pages = i;
			break;
		}
	}
	if (held.nr_pages)
		return held.nr_pages * held.times;
	errno = EFAULT;
	return -1;
}

static int fake_unpin(void)
{
	int dropped = held.nr_pages * held.times;

	held.nr_pages = 0;
	return dropped;
}

static int fake_io(const struct guprace_probe_io *io, bool write)
{
	for (unsigned int i = 0; i < io->count; i++) {
		struct iovec local = { (void *)(uintptr_t)(io->buf + i * io->len), io->len };
		struct iovec remote = page_of(io->first + i, io->len);

		if (write)
			(void)!process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
		else
			(void)!process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	}
	return 0;
}

static int fake_pfn(const struct guprace_probe_pfn *asked)
{
	for (unsigned int i = 0; i < asked->count; i++)
		((uint64_t *)(uintptr_t)asked->buf)[i] = told("FAKE_PIN");
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	void *arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case GUPRACE_PROBE_INFO:
		*(struct guprace_probe_info *)arg = (struct guprace_probe_info){
			.abi = GUPRACE_PROBE_ABI,
			.pin_flags = ~0u,
		};
		return 0;
	case GUPRACE_PROBE_PIN:
		return fake_pin(arg);
	case GUPRACE_PROBE_UNPIN:
		return fake_unpin();
	case GUPRACE_PROBE_READ:
		return fake_io(arg, false);
	case GUPRACE_PROBE_WRITE:
		return fake_io(arg, true);
	case GUPRACE_PROBE_PFN:
		return fake_pfn(arg);
	default:
		return __real_ioctl(fd, request, arg);
	}
}
