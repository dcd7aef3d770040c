/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lint of the problem table. */
#include <bcfmt/problem.h>

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "check/suppress.h"
#include "check/template.h"

static const struct bcfmt_problem *table;
static size_t n_rows;

static void load(void)
{
	table = bcfmt_problem_table(&n_rows);
}

TestSuite(problem_table, .init = load);

Test(problem_table, numbers_rise_and_lie_in_their_ranges)
{
	cr_assert_gt(n_rows, 100);
	for (size_t i = 0; i < n_rows; i++) {
		cr_expect(table[i].id >= 100 && table[i].id < 1000, "%s: number %d", table[i].slug,
			  (int)table[i].id);
		if (i)
			cr_expect_lt(table[i - 1].id, table[i].id, "%s", table[i].slug);
	}
}

Test(problem_table, slugs_are_unique_and_kebab_case)
{
	for (size_t i = 0; i < n_rows; i++) {
		const char *slug = table[i].slug;

		cr_expect_eq(strspn(slug, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(slug),
			     "%s", slug);
		cr_expect(slug[0] && slug[0] != '-' && slug[strlen(slug) - 1] != '-', "%s", slug);
		for (size_t j = 0; j < i; j++)
			cr_expect_str_neq(slug, table[j].slug);
	}
}

Test(problem_table, templates_parse_with_few_and_unique_names)
{
	for (size_t i = 0; i < n_rows; i++) {
		const char *at = table[i].message;
		struct template_part part;
		char names[512] = " ";
		unsigned int n_names = 0;
		bcfmt_err err;

		while (!(err = template_next(&at, &part))) {
			char name[64];

			if (!part.name)
				continue;
			n_names++;
			snprintf(name, sizeof(name), " %.*s ", (int)part.name_bytes, part.name);
			cr_expect_null(strstr(names, name), "%s:%s twice", table[i].slug, name);
			cr_expect_lt(strlen(names) + strlen(name), sizeof(names));
			strcat(names, name + 1);
		}
		cr_expect_eq(err, BCFMT_END, "%s: stops at \"%s\"", table[i].slug, at);
		cr_expect_leq(n_names, BCFMT_FINDING_ARGS, "%s", table[i].slug);
	}
}

Test(problem_table, bad_templates_are_refused)
{
	static const char *const bad[] = { "{name}", "{:u64}",	    "{name:u65}", "{name:u64",
					   "name}",  "{na{me:u64}", "{name:}",	  "{}" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *at = bad[i];
		struct template_part part;
		bcfmt_err err;

		while (!(err = template_next(&at, &part)))
			;
		cr_expect_eq(err, BCFMT_E_DAMAGED, "%s", bad[i]);
	}
}

Test(problem_table, messages_are_one_fact_in_lower_case)
{
	for (size_t i = 0; i < n_rows; i++) {
		const char *message = table[i].message;
		size_t n = strlen(message);

		cr_assert_gt(n, 5, "%s", table[i].slug);
		/* One begins as the kernel's own line, by which people will look for it. */
		cr_expect(islower((unsigned char)message[0]) || message[0] == '{' ||
				  !strncmp(message, "Key skipped backwards: ", 23),
			  "%s: %s", table[i].slug, message);
		cr_expect_null(strchr(".,:;! ", message[n - 1]), "%s: %s", table[i].slug, message);
		cr_expect_null(strchr(message, '!'), "%s: %s", table[i].slug, message);
		cr_expect_null(strstr(message, "  "), "%s: %s", table[i].slug, message);
		cr_expect_null(strstr(message, "invalid data"), "%s", table[i].slug);
	}
}

static unsigned int count_sentences(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++)
		n += *text == '.' && (!text[1] || text[1] == ' ');
	return n;
}

Test(problem_table, meanings_are_sentences)
{
	for (size_t i = 0; i < n_rows; i++) {
		const char *meaning = table[i].meaning;
		const char *slug = table[i].slug;
		size_t n = strlen(meaning);

		cr_assert_gt(n, 80, "%s", slug);
		cr_expect(isupper((unsigned char)meaning[0]) || !strncmp(meaning, "make-", 5), "%s",
			  slug);
		cr_expect_eq(meaning[n - 1], '.', "%s", slug);
		cr_expect_geq(count_sentences(meaning), 2, "%s", slug);
		cr_expect_leq(count_sentences(meaning), 6, "%s", slug);
		cr_expect_null(strchr(meaning, '!'), "%s", slug);
		cr_expect_null(strstr(meaning, "  "), "%s: two blanks", slug);
		cr_expect_null(strstr(meaning, table[i].message), "%s", slug);
		for (const char *at = meaning; (at = strstr(at, ". ")); at += 2)
			cr_expect_not(islower((unsigned char)at[2]) &&
					      strncmp(at + 2, "bcache-", 7) &&
					      strncmp(at + 2, "make-", 5),
				      "%s: \"%s\"", slug, at);
		for (size_t j = 0; j < i; j++)
			cr_expect_str_neq(meaning, table[j].meaning, "%s", slug);
	}
}

/* Who reads the meaning has to learn which option repairs it. */
Test(problem_table, meanings_name_the_option_that_repairs)
{
	for (size_t i = 0; i < n_rows; i++) {
		const char *meaning = table[i].meaning;

		if (table[i].repair == BCFMT_REPAIR_NONE)
			cr_expect(!strstr(meaning, "bcache-fsck -y") &&
					  !strstr(meaning, "bcache-fsck -p"),
				  "%s", table[i].slug);
		else if (table[i].repair == BCFMT_REPAIR_ADOPT)
			cr_expect_not_null(strstr(meaning, "--adopt INODE=UUID"), "%s",
					   table[i].slug);
		else if (table[i].consent == BCFMT_CONSENT_AUTO)
			cr_expect_not_null(strstr(meaning, "bcache-fsck -p"), "%s", table[i].slug);
		else
			cr_expect_not_null(strstr(meaning, "bcache-fsck -y"), "%s", table[i].slug);
	}
}

Test(problem_table, nothing_that_can_lose_data_is_automatic)
{
	for (size_t i = 0; i < n_rows; i++) {
		const struct bcfmt_problem *row = &table[i];

		if (row->severity >= BCFMT_SEV_DATA_LOSS)
			cr_expect_neq(row->consent, BCFMT_CONSENT_AUTO, "%s", row->slug);
		if (row->repair == BCFMT_REPAIR_NONE)
			cr_expect_eq(row->consent, BCFMT_CONSENT_NEVER, "%s", row->slug);
		if (row->repair == BCFMT_REPAIR_ADOPT)
			cr_expect_eq(row->consent, BCFMT_CONSENT_NEVER, "%s", row->slug);
		/* No problem, so nobody is asked. */
		if (row->severity == BCFMT_SEV_NOTE)
			cr_expect_neq(row->consent, BCFMT_CONSENT_ASK, "%s", row->slug);
	}
}

Test(problem_table, kernel_rows_name_a_function_and_a_range)
{
	size_t n;
	const struct bcfmt_kernel_effect *effects = bcfmt_kernel_effect_table(&n);

	cr_assert_gt(n, 100);
	for (size_t i = 0; i < n; i++) {
		const struct bcfmt_problem *problem = bcfmt_problem_find(effects[i].id);

		cr_assert_not_null(problem);
		cr_expect_gt(strlen(effects[i].function), 3, "%s", problem->slug);
		cr_expect_eq(strspn(effects[i].function, "abcdefghijklmnopqrstuvwxyz_"),
			     strlen(effects[i].function), "%s", problem->slug);
		cr_expect(!effects[i].until || effects[i].since < effects[i].until, "%s",
			  problem->slug);
		cr_expect(effects[i].since < 100000 && effects[i].until < 100000);
		if (effects[i].effect == BCFMT_EFFECT_WARNS)
			cr_expect_neq(*effects[i].line, '\0', "%s warns of nothing", problem->slug);
		if (i)
			cr_expect_leq(effects[i - 1].id, effects[i].id, "%s", problem->slug);
	}
}

/*
 * What a kernel of one version does: rows that overlap must not contradict each other. Where it
 * depends on the place at which the kernel meets the damage, the function tells which.
 */
Test(problem_table, kernel_rows_that_overlap_agree)
{
	size_t n;
	const struct bcfmt_kernel_effect *effects = bcfmt_kernel_effect_table(&n);

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct bcfmt_kernel_effect *a = &effects[i], *b = &effects[j];
			bool overlaps = a->id == b->id && (!a->until || b->since < a->until) &&
					(!b->until || a->since < b->until);

			/* Less than 128 buckets are refused by all, up to 512 crash some. */
			if (overlaps && a->id != BCFMT_P_SUPER_FEW_BUCKETS)
				cr_expect(strcmp(a->function, b->function) ||
						  (a->effect == b->effect &&
						   strcmp(a->line, b->line)),
					  "BC%04d", (int)a->id);
		}
	}
}

Test(problem_table, every_kernel_line_is_explained)
{
	size_t n;
	const struct bcfmt_kernel_effect *effects = bcfmt_kernel_effect_table(&n);

	for (size_t i = 0; i < n; i++) {
		char line[512];

		if (!*effects[i].line)
			continue;
		snprintf(line, sizeof(line), "bcache: %s() %s%s", effects[i].function,
			 effects[i].effect == BCFMT_EFFECT_REFUSES_DEVICE ? "error : " : "",
			 effects[i].line);
		cr_expect_not_null(bcfmt_kernel_line_find(line), "%s", line);
	}
}

Test(problem_table, rows_are_found_by_all_their_names)
{
	for (size_t i = 0; i < n_rows; i++) {
		char name[32];

		cr_expect_eq(bcfmt_problem_find(table[i].id), &table[i]);
		cr_expect_eq(bcfmt_problem_by_name(table[i].slug), &table[i]);
		snprintf(name, sizeof(name), "BC%04d", (int)table[i].id);
		cr_expect_eq(bcfmt_problem_by_name(name), &table[i], "%s", name);
		snprintf(name, sizeof(name), "bc%d", (int)table[i].id);
		cr_expect_eq(bcfmt_problem_by_name(name), &table[i], "%s", name);
		cr_expect_eq(bcfmt_problem_by_name(name + 2), &table[i], "%s", name + 2);
	}
}

Test(problem_table, other_names_find_nothing)
{
	static const char *const names[] = { "",	"BC",	  "BC0",	   "BC9999",
					     "BC0505x", "XC0505", "node bad",	   "99999999",
					     "-505",	" 505",	  "node-bad-csum-" };

	cr_expect_null(bcfmt_problem_by_name(NULL));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_expect_null(bcfmt_problem_by_name(names[i]), "\"%s\"", names[i]);
	cr_expect_null(bcfmt_problem_find(BCFMT_P_NONE));
	cr_expect_null(bcfmt_problem_find((enum bcfmt_problem_id)9999));
}

Test(problem_table, columns_have_names)
{
	cr_expect_str_eq(bcfmt_severity_name(BCFMT_SEV_DATA_LOSS), "data-loss");
	cr_expect_str_eq(bcfmt_repair_name(BCFMT_REPAIR_REWRITE_SUPER), "rewrite-super");
	cr_expect_str_eq(bcfmt_consent_name(BCFMT_CONSENT_ASK), "ask");
	cr_expect_str_eq(bcfmt_effect_name(BCFMT_EFFECT_STOPS_SET), "stops-set");
	for (int i = BCFMT_SEV_NOTE; i <= BCFMT_SEV_FATAL; i++)
		cr_expect_str_neq(bcfmt_severity_name((enum bcfmt_severity)i), "unknown");
	for (int i = BCFMT_REPAIR_NONE; i <= BCFMT_REPAIR_FREE_BUCKETS; i++)
		cr_expect_str_neq(bcfmt_repair_name((enum bcfmt_repair)i), "unknown");
	for (int i = BCFMT_CONSENT_AUTO; i <= BCFMT_CONSENT_NEVER; i++)
		cr_expect_str_neq(bcfmt_consent_name((enum bcfmt_consent)i), "unknown");
	for (int i = BCFMT_EFFECT_NONE; i <= BCFMT_EFFECT_HANGS; i++)
		cr_expect_str_neq(bcfmt_effect_name((enum bcfmt_effect)i), "unknown");
	cr_expect_str_eq(bcfmt_effect_name((enum bcfmt_effect)99), "unknown");
}

/* Whatever is hidden, a finding that counts as a problem stays. */
Test(problem_table, suppression_cannot_make_a_set_clean)
{
	size_t n;
	const struct suppress_rule *rules = suppress_table(&n);
	size_t n_weaker = 0;

	for (size_t i = 0; i < n; i++) {
		const struct bcfmt_problem *cause = bcfmt_problem_find(rules[i].cause);

		cr_assert_not_null(cause);
		cr_expect_geq(cause->severity, BCFMT_SEV_ERROR, "%s", cause->slug);
		cr_assert_not_null(bcfmt_problem_find(rules[i].first));
		cr_assert_not_null(bcfmt_problem_find(rules[i].last));
		cr_expect_leq(rules[i].first, rules[i].last);
		for (size_t row = 0; row < n_rows; row++) {
			const struct bcfmt_problem *hidden = &table[row];

			if (hidden->id < rules[i].first || hidden->id > rules[i].last ||
			    hidden->id == cause->id)
				continue;
			if (rules[i].may_be_weaker)
				n_weaker++;
			else
				cr_expect_leq(hidden->severity, cause->severity, "%s hides %s",
					      cause->slug, hidden->slug);
		}
		if (rules[i].may_be_weaker)
			cr_expect_eq(rules[i].first, BCFMT_P_SUPER_UNUSABLE);
	}
	cr_expect_gt(n_weaker, 0);
}

/* Depth of the longest chain of rules that begins at a problem; too deep means a circle. */
static unsigned int depth_of(enum bcfmt_problem_id id, unsigned int depth)
{
	size_t n;
	const struct suppress_rule *rules = suppress_table(&n);
	unsigned int deepest = depth;

	for (size_t i = 0; i < n && depth < 8; i++) {
		if (rules[i].cause != id)
			continue;
		for (size_t row = 0; row < n_rows; row++) {
			enum bcfmt_problem_id next = table[row].id;

			if (next >= rules[i].first && next <= rules[i].last && next != id) {
				unsigned int below = depth_of(next, depth + 1);

				deepest = below > deepest ? below : deepest;
			}
		}
	}
	return deepest;
}

Test(problem_table, suppression_has_no_circles)
{
	for (size_t row = 0; row < n_rows; row++)
		cr_expect_lt(depth_of(table[row].id, 0), 6, "%s", table[row].slug);
}
