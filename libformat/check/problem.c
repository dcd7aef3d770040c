/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The problem table and what its columns are called. */
#include <bcfmt/problem.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct bcfmt_problem problems[] = {
#define PROBLEM(name, number, slug, severity, repair, consent, message, meaning) \
	{ BCFMT_P_##name,                                                        \
	  slug,                                                                  \
	  BCFMT_SEV_##severity,                                                  \
	  BCFMT_REPAIR_##repair,                                                 \
	  BCFMT_CONSENT_##consent,                                               \
	  message,                                                               \
	  meaning },
#define KERNEL(name, since, until, effect, function, line)
#include <bcfmt/problems.def>
#undef PROBLEM
#undef KERNEL
};

static const struct bcfmt_kernel_effect effects[] = {
#define PROBLEM(name, number, slug, severity, repair, consent, message, meaning)
#define KERNEL(name, since, until, effect, function, line) \
	{ BCFMT_P_##name, since, until, BCFMT_EFFECT_##effect, function, line },
#include <bcfmt/problems.def>
#undef PROBLEM
#undef KERNEL
};

#define N_PROBLEMS (sizeof(problems) / sizeof(problems[0]))
#define N_EFFECTS  (sizeof(effects) / sizeof(effects[0]))

const struct bcfmt_problem *bcfmt_problem_table(size_t *n)
{
	*n = N_PROBLEMS;
	return problems;
}

const struct bcfmt_kernel_effect *bcfmt_kernel_effect_table(size_t *n)
{
	*n = N_EFFECTS;
	return effects;
}

static int compare_id(const void *key, const void *row)
{
	unsigned int id = *(const unsigned int *)key;
	unsigned int other = ((const struct bcfmt_problem *)row)->id;

	return (id > other) - (id < other);
}

const struct bcfmt_problem *bcfmt_problem_find(enum bcfmt_problem_id id)
{
	unsigned int number = id;

	return bsearch(&number, problems, N_PROBLEMS, sizeof(problems[0]), compare_id);
}

/* "BC0105", "bc105", "105"; 0 when it is no such number. */
static unsigned int parse_number(const char *name)
{
	unsigned int number = 0;
	size_t digits;

	if (!strncasecmp(name, "bc", 2))
		name += 2;
	digits = strspn(name, "0123456789");
	if (!digits || digits > 6 || name[digits])
		return 0;
	while (*name)
		number = number * 10 + (unsigned int)(*name++ - '0');
	return number;
}

const struct bcfmt_problem *bcfmt_problem_by_name(const char *name)
{
	unsigned int number;

	if (!name)
		return NULL;
	number = parse_number(name);
	if (number)
		return bcfmt_problem_find((enum bcfmt_problem_id)number);
	for (size_t i = 0; i < N_PROBLEMS; i++)
		if (!strcasecmp(name, problems[i].slug))
			return &problems[i];
	return NULL;
}

const char *bcfmt_severity_name(enum bcfmt_severity severity)
{
	static const char *const names[] = {
		[BCFMT_SEV_NOTE] = "note",   [BCFMT_SEV_WASTE] = "waste",
		[BCFMT_SEV_ERROR] = "error", [BCFMT_SEV_DATA_LOSS] = "data-loss",
		[BCFMT_SEV_FATAL] = "fatal",
	};

	return (size_t)severity < sizeof(names) / sizeof(names[0]) ? names[severity] : "unknown";
}

const char *bcfmt_repair_name(enum bcfmt_repair repair)
{
	static const char *const names[] = {
		[BCFMT_REPAIR_NONE] = "none",
		[BCFMT_REPAIR_REWRITE_SUPER] = "rewrite-super",
		[BCFMT_REPAIR_REPLAY_JOURNAL] = "replay-journal",
		[BCFMT_REPAIR_CHOOSE_HISTORY] = "choose-history",
		[BCFMT_REPAIR_REBUILD_PRIOS] = "rebuild-prios",
		[BCFMT_REPAIR_REBUILD_UUIDS] = "rebuild-uuids",
		[BCFMT_REPAIR_REWRITE_NODE] = "rewrite-node",
		[BCFMT_REPAIR_REBUILD_TREE] = "rebuild-tree",
		[BCFMT_REPAIR_DROP_KEY] = "drop-key",
		[BCFMT_REPAIR_ADOPT] = "adopt",
		[BCFMT_REPAIR_SET_BACKING_STATE] = "set-backing-state",
		[BCFMT_REPAIR_FREE_BUCKETS] = "free-buckets",
	};

	return (size_t)repair < sizeof(names) / sizeof(names[0]) ? names[repair] : "unknown";
}

const char *bcfmt_consent_name(enum bcfmt_consent consent)
{
	static const char *const names[] = {
		[BCFMT_CONSENT_AUTO] = "auto",
		[BCFMT_CONSENT_ASK] = "ask",
		[BCFMT_CONSENT_NEVER] = "never",
	};

	return (size_t)consent < sizeof(names) / sizeof(names[0]) ? names[consent] : "unknown";
}

const char *bcfmt_effect_name(enum bcfmt_effect effect)
{
	static const char *const names[] = {
		[BCFMT_EFFECT_NONE] = "none",
		[BCFMT_EFFECT_WARNS] = "warns",
		[BCFMT_EFFECT_REFUSES_DEVICE] = "refuses-device",
		[BCFMT_EFFECT_STOPS_SET] = "stops-set",
		[BCFMT_EFFECT_NOT_ATTACHED] = "not-attached",
		[BCFMT_EFFECT_SERVES_WRONG] = "serves-wrong",
		[BCFMT_EFFECT_LOSES_WRITES] = "loses-writes",
		[BCFMT_EFFECT_OOPS] = "oops",
		[BCFMT_EFFECT_HANGS] = "hangs",
	};

	return (size_t)effect < sizeof(names) / sizeof(names[0]) ? names[effect] : "unknown";
}
