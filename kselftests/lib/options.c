// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "check.h"
#include "options.h"
#include "scenario.h"

#define EXIT_USAGE	2
#define SECONDS_MAX	86400

static void usage(FILE *to)
{
	fprintf(to,
		"%s: %s\n\n"
		"  --seconds N  time to race, shared by the subtests (default 10)\n"
		"  --seed S     decimal or 0x...; printed, and gives the same delays again\n"
		"  --only GLOB  run these subtests only\n"
		"  --no-stretch leave GUP-fast's window as short as it is (see lib/stretch.c)\n"
		"  --naive      no synchroniser, oracle, stretch: speed and back-offs to compare with\n"
		"  --first-hit  end with the first hit, or when the kernel taints itself\n"
		"  --list       print the names of the subtests\n"
		"  --help       print this\n\n"
		"KTAP on standard output. Exit status: 0 pass, 1 fail or bail out, 2 usage, 4 skip.\n"
		"example: %s --seconds 30 --seed 0x2a\n",
		scenario.name, scenario.summary, scenario.name);
}

void options_error(const char *option, const char *value)
{
	fprintf(stderr, "%s: bad value '%s' for %s\n\n", scenario.name, value, option);
	usage(stderr);
	exit(EXIT_USAGE);
}

static double parse_seconds(const char *text)
{
	char *end;
	double seconds;

	errno = 0;
	seconds = strtod(text, &end);
	if (errno || end == text || *end || !isfinite(seconds) || seconds <= 0 ||
	    seconds > SECONDS_MAX)
		options_error("--seconds", text);
	return seconds;
}

static uint64_t parse_seed(const char *text)
{
	char *end;
	uint64_t seed;

	errno = 0;
	seed = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-')
		options_error("--seed", text);
	return seed;
}

static uint64_t fresh_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		broken("getrandom of %zu bytes: %s", sizeof(seed), strerror(errno));
	return seed;
}

struct options options_parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'S' },
		{ "only", required_argument, NULL, 'o' },
		{ "no-stretch", no_argument, NULL, 'n' },
		{ "naive", no_argument, NULL, 'N' },
		{ "first-hit", no_argument, NULL, 'f' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	struct options options = { .seconds = 10, .seed = fresh_seed(), .stretch = true };
	int c;

	while ((c = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options.seconds = parse_seconds(optarg);
			break;
		case 'S':
			options.seed = parse_seed(optarg);
			break;
		case 'o':
			options.only = optarg;
			break;
		case 'n':
			options.stretch = false;
			break;
		case 'N':
			/* The stretch is the library's own, and a naive A never rests between two places. */
			options.naive = true;
			options.stretch = false;
			break;
		case 'f':
			options.first = true;
			break;
		case 'l':
			for (const struct subtest *t = scenario.subtests; t->name; t++)
				puts(t->name);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc)
		options_error("the scenario, which takes options only", argv[optind]);
	return options;
}
