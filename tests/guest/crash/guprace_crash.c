// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that is wrong on purpose, for record_consoles.py: `insmod guprace_crash.ko what=use_after_free`.
 *
 * Each `what` breaks one rule, and the kernel's own instrument must say so. It is no part of guprace: nothing that
 * races loads it. Loading always fails (ECANCELED), so that the next `what` can follow.
 */
#include <linux/kcsan-checks.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/delay.h>

#define RACE_SECONDS 8

static char *what = "";
module_param(what, charp, 0);

static long shared;
static long __rcu *guarded;

/* KASAN: a read of freed memory, and a write beyond an object. */

static noinline long crash_read_freed(const long *object)
{
	return READ_ONCE(object[1]);
}

static void use_after_free(void)
{
	long *object = kmalloc(64, GFP_KERNEL);

	if (!object)
		return;
	kfree(object);
	pr_info("guprace_crash: read %ld\n", crash_read_freed(object));
}

static noinline void crash_write_beyond(char *object, size_t size)
{
	WRITE_ONCE(object[size], 1);
}

static void out_of_bounds(void)
{
	char *object = kmalloc(40, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(object);
	if (!object)
		return;
	crash_write_beyond(object, 40);
	kfree(object);
}

static void double_free(void)
{
	char *object = kmalloc(64, GFP_KERNEL);

	kfree(object);
	OPTIMIZER_HIDE_VAR(object);
	kfree(object);
}

/* KCSAN: two threads, one plain access at least. */

static noinline void crash_write_plain(void)
{
	shared++;
}

static noinline long crash_read_plain(void)
{
	return shared;
}

static noinline long crash_read_marked(void)
{
	return READ_ONCE(shared);
}

static noinline void crash_write_marked(void)
{
	WRITE_ONCE(shared, READ_ONCE(shared) + 1);
}

static noinline void crash_assert_writer(void)
{
	ASSERT_EXCLUSIVE_WRITER(shared);
}

static noinline void crash_assert_access(void)
{
	ASSERT_EXCLUSIVE_ACCESS(shared);
}

static noinline void crash_assert_bits(void)
{
	ASSERT_EXCLUSIVE_BITS(shared, 0xf);
}

/* What KCSAN does not see: only the value that changed tells. */
static noinline __no_kcsan void crash_write_unseen(void)
{
	*(volatile long *)&shared += 1;
}

struct race {
	const char *name;
	void (*one)(void);
	void (*other)(void);
};

static noinline void crash_reader(void)
{
	/* Nobody wants it; a read that is known to be for nothing is not made. */
	volatile long value = crash_read_plain();

	(void)value;
}

static noinline void crash_marked_reader(void)
{
	crash_read_marked();
}

static const struct race races[] = {
	{ "race_read_write", crash_reader, crash_write_plain },
	{ "race_write_write", crash_write_plain, crash_write_plain },
	{ "race_marked_read", crash_marked_reader, crash_write_plain },
	{ "race_marked_write", crash_reader, crash_write_marked },
	{ "race_assert_writer", crash_assert_writer, crash_write_marked },
	{ "race_assert_access", crash_assert_access, crash_marked_reader },
	{ "race_assert_bits", crash_assert_bits, crash_write_marked },
	{ "race_unknown_origin", crash_reader, crash_write_unseen },
};

static int crash_thread(void *side)
{
	void (*act)(void) = side;

	while (!kthread_should_stop()) {
		for (int i = 0; i < 1000; i++)
			act();
		cond_resched();
	}
	return 0;
}

static void race(const struct race *how)
{
	struct task_struct *one = kthread_run(crash_thread, how->one, "crash/one");
	struct task_struct *other = kthread_run(crash_thread, how->other, "crash/other");

	ssleep(RACE_SECONDS);
	if (!IS_ERR(one))
		kthread_stop(one);
	if (!IS_ERR(other))
		kthread_stop(other);
}

/* Lockdep, RCU, atomic sections. */

static void circular_locks(void)
{
	static DEFINE_MUTEX(inner);
	static DEFINE_MUTEX(outer);

	mutex_lock(&outer);
	mutex_lock(&inner);
	mutex_unlock(&inner);
	mutex_unlock(&outer);
	mutex_lock(&inner);
	mutex_lock(&outer);
	mutex_unlock(&outer);
	mutex_unlock(&inner);
}

static void recursive_locks(void)
{
	static struct mutex pair[2];

	for (int i = 0; i < 2; i++)
		mutex_init(&pair[i]);
	mutex_lock(&pair[0]);
	mutex_lock(&pair[1]);
	mutex_unlock(&pair[1]);
	mutex_unlock(&pair[0]);
}

static noinline void crash_sleep(void)
{
	might_sleep();
}

static void atomic_sleep(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	crash_sleep();
	spin_unlock(&lock);
}

static void atomic_schedule(void)
{
	preempt_disable();
	schedule_timeout_uninterruptible(1);
	preempt_enable();
}

static noinline long *crash_dereference(void)
{
	return rcu_dereference(guarded);
}

static void rcu_usage(void)
{
	pr_info("guprace_crash: %d\n", !crash_dereference());
}

/* Pages. */

static void page_dump(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	dump_page(page, "somebody asked");
	__free_page(page);
}

static void bad_page_state(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	page->mapping = (void *)&shared;
	__free_page(page);
}

static const struct {
	const char *name;
	void (*act)(void);
} acts[] = {
	{ "use_after_free", use_after_free },
	{ "out_of_bounds", out_of_bounds },
	{ "double_free", double_free },
	{ "circular_locks", circular_locks },
	{ "recursive_locks", recursive_locks },
	{ "atomic_sleep", atomic_sleep },
	{ "atomic_schedule", atomic_schedule },
	{ "rcu_usage", rcu_usage },
	{ "page_dump", page_dump },
	{ "bad_page_state", bad_page_state },
};

static int __init crash_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
		if (!strcmp(what, acts[i].name))
			acts[i].act();
	for (size_t i = 0; i < ARRAY_SIZE(races); i++)
		if (!strcmp(what, races[i].name))
			race(&races[i]);
	return -ECANCELED;
}
module_init(crash_init);

MODULE_DESCRIPTION("Wrong on purpose");
MODULE_LICENSE("GPL");
