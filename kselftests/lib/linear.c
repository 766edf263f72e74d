// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "linear.h"

struct linear linear_now(const struct linear *published)
{
	return (struct linear){
		.mapping = linear_observe(&published->mapping),
		.stamped = linear_observe(&published->stamped),
		.unmapping = linear_observe(&published->unmapping),
		.unmapped = linear_observe(&published->unmapped),
	};
}

void linear_judge(struct race *race, unsigned int index, const struct stamp *s,
		  const struct linear *before, const struct linear *after)
{
	if (!stamp_valid(s)) {
		if (after->mapping == before->stamped)
			race_hit(race, "bad_stamp",
				 "expected generation %" PRIu64 " stamped, observed words %#" PRIx64
				 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64, before->stamped,
				 s->mapping, s->index, s->generation, s->check);
	} else if (s->mapping != LINEAR_TARGET || s->index != index) {
		race_hit(race, "foreign_stamp",
			 "expected mapping %d index %u generation in (%" PRIu64 ", %" PRIu64
			 "], observed mapping %" PRIu64 " index %" PRIu64 " generation %" PRIu64,
			 LINEAR_TARGET, index, before->unmapped, after->mapping, s->mapping,
			 s->index, s->generation);
	} else if (s->generation <= before->unmapped || s->generation > after->mapping) {
		race_hit(race, "wrong_generation",
			 "expected mapping %d generation in (%" PRIu64 ", %" PRIu64
			 "], observed generation %" PRIu64, LINEAR_TARGET, before->unmapped,
			 after->mapping, s->generation);
	}
}

void linear_judge_refusal(struct race *race, int err, bool holes, const struct linear *before,
			  const struct linear *after)
{
	unsigned int is = race->vehicle.ops->is;
	bool throughout = !holes || (before->stamped > before->unmapped &&
				     after->unmapping < before->stamped);

	/* The fast walk alone gives up; a transfer that failed half way is an I/O error. */
	if ((err == -EAGAIN && (is & VEHICLE_FAST)) || (err == -EIO && !(is & VEHICLE_HOLDS)))
		return;
	if (err != -EFAULT)
		broken("%s pin of the target: %s", race->vehicle.name, strerror(-err));
	if (throughout)
		race_hit(race, "refused",
			 "expected a pin of generation %" PRIu64 ", mapped throughout, observed %s",
			 before->stamped, strerror(-err));
}
