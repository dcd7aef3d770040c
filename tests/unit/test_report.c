/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The report: what is kept, counted, refused and left out. */
#include <bcfmt/ctx.h>
#include <bcfmt/problem.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/template.h"

static struct bcfmt_ctx *ctx;
static struct bcfmt_report *report;

static void open_report(void)
{
	cr_assert_eq(bcfmt_ctx_new(NULL, &ctx), BCFMT_OK);
	cr_assert_eq(bcfmt_report_new(ctx, &report), BCFMT_OK);
}

static void close_report(void)
{
	bcfmt_report_free(report);
	bcfmt_ctx_free(ctx);
}

TestSuite(report, .init = open_report, .fini = close_report);

#define N_ARGS(...) (sizeof((struct bcfmt_arg[]){ __VA_ARGS__ }) / sizeof(struct bcfmt_arg))
#define ADD(id, where, ...)                                                \
	bcfmt_report_add(report, BCFMT_P_##id, where, N_ARGS(__VA_ARGS__), \
			 (const struct bcfmt_arg[]){ __VA_ARGS__ })

static struct bcfmt_where at_node(const char *device, uint64_t bucket, uint64_t block)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;

	where.device = device;
	where.structure = "node";
	where.sector = bucket * 128;
	where.bucket = bucket;
	where.block = block;
	return where;
}

static struct bcfmt_where at_super(const char *device)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;

	where.device = device;
	where.structure = "super";
	where.sector = 8;
	return where;
}

/* ---- counting, keeping, order --------------------------------------------------------------- */

/* Finding i of a fixed pool: three problems, two devices, many places, equal ones among them. */
static bcfmt_err add_from_pool(struct bcfmt_report *to, unsigned int i)
{
	struct bcfmt_where where = at_node(i % 2 ? "sda" : "sdb", i / 3 % 500, i % 7);
	struct bcfmt_arg level = BCFMT_U64("level", i % 2);
	char text[32];

	where.key = i % 11 ? i % 5 : BCFMT_NO_NUMBER;
	snprintf(text, sizeof(text), "key %u", i % 97);
	if (i % 3 == 0) {
		const struct bcfmt_arg args[] = { level, BCFMT_HEX("stored", i % 4),
						  BCFMT_HEX("computed", 5), BCFMT_U64("keys", 6) };

		return bcfmt_report_add(to, BCFMT_P_NODE_BAD_CSUM, &where, 4, args);
	}
	if (i % 3 == 1) {
		const struct bcfmt_arg args[] = { BCFMT_TEXT("text", text),
						  BCFMT_TEXT("status", "stale") };

		return bcfmt_report_add(to, BCFMT_P_EXTENT_INVALID, &where, 2, args);
	}
	return bcfmt_report_add(to, BCFMT_P_NODE_EMPTY_SET, &where, 1, &level);
}

#define POOL 6000u

/* All that can be read from a report, as one text. Freed by the caller. */
static char *dump(const struct bcfmt_report *from)
{
	char *text = NULL;
	size_t text_bytes = 0;
	FILE *out = open_memstream(&text, &text_bytes);

	cr_assert_not_null(out);
	for (size_t i = 0; i < bcfmt_report_count(from); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(from, i);
		const struct bcfmt_where *where = &finding->where;
		char message[512];

		bcfmt_finding_message(finding, message, sizeof(message));
		fprintf(out, "%s %s %llu %llu %llu %llu %s\n", finding->problem->slug,
			where->device, (unsigned long long)where->sector,
			(unsigned long long)where->bucket, (unsigned long long)where->block,
			(unsigned long long)where->key, message);
	}
	for (int i = BCFMT_SEV_NOTE; i <= BCFMT_SEV_FATAL; i++)
		fprintf(out, "%llu\n",
			(unsigned long long)bcfmt_report_severity_total(from,
									(enum bcfmt_severity)i));
	fprintf(out, "%llu\n", (unsigned long long)bcfmt_report_suppressed(from));
	fclose(out);
	return text;
}

/* stride must have no factor in common with POOL. */
static char *dump_in_order(unsigned int first, unsigned int stride)
{
	struct bcfmt_report *other;
	char *text;

	cr_assert_eq(bcfmt_report_new(ctx, &other), BCFMT_OK);
	for (unsigned int i = 0, at = first; i < POOL; i++, at = (at + stride) % POOL)
		cr_assert_eq(add_from_pool(other, at), BCFMT_OK);
	bcfmt_report_finish(other);
	text = dump(other);
	bcfmt_report_free(other);
	return text;
}

Test(report, the_result_does_not_depend_on_the_order_of_adding)
{
	static const unsigned int strides[] = { POOL - 1, 7, 1001, 4999, 37 };
	char *expected = dump_in_order(0, 1);

	cr_assert_gt(strlen(expected), 1000);
	for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
		char *text = dump_in_order((unsigned int)i * 17, strides[i]);

		cr_expect_str_eq(text, expected, "stride %u", strides[i]);
		free(text);
	}
	free(expected);
}

#define THREADS 8u

static void *add_a_share(void *arg)
{
	unsigned int share = *(const unsigned int *)arg;

	for (unsigned int i = share; i < POOL; i += THREADS)
		if (add_from_pool(report, POOL - 1 - i))
			return arg;
	return NULL;
}

Test(report, threads_give_the_same_result)
{
	char *expected = dump_in_order(0, 1);
	unsigned int shares[THREADS];
	pthread_t threads[THREADS];
	char *text;

	for (unsigned int i = 0; i < THREADS; i++) {
		shares[i] = i;
		cr_assert_eq(pthread_create(&threads[i], NULL, add_a_share, &shares[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		cr_expect_null(failed);
	}
	bcfmt_report_finish(report);
	text = dump(report);
	cr_expect_str_eq(text, expected);
	free(text);
	free(expected);
}

#define ROUNDS 50000u

static void *add_many(void *arg)
{
	pthread_barrier_wait(arg);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct bcfmt_where where = at_node("sda", i * 7919 % ROUNDS, 0);

		if (ADD(NODE_EMPTY_SET, &where, BCFMT_U64("level", i % 2)))
			return arg;
	}
	return NULL;
}

Test(report, no_finding_is_lost_between_threads)
{
	pthread_barrier_t barrier;
	pthread_t threads[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (unsigned int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, add_many, &barrier), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		cr_expect_null(failed);
	}
	pthread_barrier_destroy(&barrier);
	bcfmt_report_finish(report);
	cr_expect_eq(bcfmt_report_total(report, BCFMT_P_NODE_EMPTY_SET), THREADS * ROUNDS);
	cr_assert_eq(bcfmt_report_count(report), BCFMT_FINDINGS_KEPT);
	/* Every place was reported once by each thread. */
	for (size_t i = 0; i < BCFMT_FINDINGS_KEPT; i++)
		cr_expect_eq(bcfmt_report_at(report, i)->where.bucket, i / THREADS);
}

Test(report, the_first_findings_are_kept_and_all_are_counted)
{
	const uint64_t n = 100000;

	for (uint64_t i = n; i-- > 0;) {
		struct bcfmt_where where = at_node("sda", i, 0);

		cr_assert_eq(ADD(NODE_EMPTY_SET, &where, BCFMT_U64("level", 0)), BCFMT_OK);
	}
	bcfmt_report_finish(report);
	cr_assert_eq(bcfmt_report_count(report), BCFMT_FINDINGS_KEPT);
	cr_expect_eq(bcfmt_report_total(report, BCFMT_P_NODE_EMPTY_SET), n);
	cr_expect_eq(bcfmt_report_severity_total(report, BCFMT_SEV_ERROR), n);
	for (size_t i = 0; i < BCFMT_FINDINGS_KEPT; i++)
		cr_expect_eq(bcfmt_report_at(report, i)->where.bucket, i);
	cr_expect_null(bcfmt_report_at(report, BCFMT_FINDINGS_KEPT));
}

Test(report, findings_come_by_number_then_device_and_place)
{
	struct bcfmt_where far = at_node("sda", 9, 0), near = at_node("sda", 2, 4);
	struct bcfmt_where other = at_node("sdb", 1, 0), nowhere = BCFMT_WHERE_INIT;
	static const uint64_t buckets[] = { BCFMT_NO_NUMBER, 2, 9, 1, 2 };

	cr_assert_eq(ADD(ROOT_NO_CHILDREN, &near, BCFMT_U64("level", 1)), BCFMT_OK);
	cr_assert_eq(ADD(NODE_EMPTY_SET, &other, BCFMT_U64("level", 0)), BCFMT_OK);
	cr_assert_eq(ADD(NODE_EMPTY_SET, &far, BCFMT_U64("level", 0)), BCFMT_OK);
	cr_assert_eq(ADD(NODE_EMPTY_SET, &nowhere, BCFMT_U64("level", 0)), BCFMT_OK);
	cr_assert_eq(ADD(NODE_EMPTY_SET, &near, BCFMT_U64("level", 0)), BCFMT_OK);
	bcfmt_report_finish(report);
	cr_assert_eq(bcfmt_report_count(report), 5);
	for (size_t i = 0; i < 5; i++)
		cr_expect_eq(bcfmt_report_at(report, i)->where.bucket, buckets[i], "%zu", i);
	cr_expect_eq(bcfmt_report_at(report, 4)->problem->id, BCFMT_P_ROOT_NO_CHILDREN);
}

Test(report, an_empty_report_is_clean)
{
	bcfmt_report_finish(report);
	cr_expect_eq(bcfmt_report_count(report), 0);
	cr_expect_null(bcfmt_report_at(report, 0));
	cr_expect_eq(bcfmt_report_severity_total(report, BCFMT_SEV_FATAL), 0);
	cr_expect_eq(bcfmt_report_total(report, (enum bcfmt_problem_id)9999), 0);
	bcfmt_report_free(NULL);
}

Test(report, a_pass_can_be_forgotten)
{
	struct bcfmt_where where = at_node("sda", 5, 0);

	cr_assert_eq(ADD(NODE_EMPTY_SET, &where, BCFMT_U64("level", 0)), BCFMT_OK);
	cr_assert_eq(ADD(JOURNAL_EMPTY, NULL, BCFMT_U64("buckets", 8)), BCFMT_OK);
	bcfmt_report_forget(report, 500, 600);
	cr_expect_eq(bcfmt_report_total(report, BCFMT_P_NODE_EMPTY_SET), 0);
	cr_assert_eq(ADD(NODE_EMPTY_SET, &where, BCFMT_U64("level", 1)), BCFMT_OK);
	bcfmt_report_finish(report);
	cr_expect_eq(bcfmt_report_count(report), 2);
	cr_expect_eq(bcfmt_report_total(report, BCFMT_P_NODE_EMPTY_SET), 1);
	bcfmt_report_forget(report, BCFMT_P_JOURNAL_EMPTY, BCFMT_P_JOURNAL_EMPTY + 1);
	cr_assert_eq(bcfmt_report_count(report), 1);
	cr_expect_eq(bcfmt_report_at(report, 0)->args[0].u64, 1);
}

/* ---- the typed template ---------------------------------------------------------------------- */

static void expect_refused(bcfmt_err err, const char *word)
{
	cr_expect_eq(err, BCFMT_E_ARG, "%s", word);
	cr_expect_not_null(strstr(bcfmt_ctx_fault(ctx), word), "\"%s\"", bcfmt_ctx_fault(ctx));
	bcfmt_ctx_fault_clear(ctx);
}

Test(report, wrong_arguments_are_refused)
{
	struct bcfmt_arg gap = BCFMT_U64("first", 1);

	expect_refused(bcfmt_report_add(report, BCFMT_P_NODE_EMPTY_SET, NULL, 0, NULL), "level");
	expect_refused(ADD(NODE_EMPTY_SET, NULL, BCFMT_U64("levels", 0)), "level");
	expect_refused(ADD(NODE_EMPTY_SET, NULL, BCFMT_U64("leve", 0)), "level");
	expect_refused(ADD(NODE_EMPTY_SET, NULL, BCFMT_HEX("level", 0)), "u64");
	expect_refused(ADD(NODE_EMPTY_SET, NULL, BCFMT_TEXT("level", "0")), "u64");
	expect_refused(ADD(NODE_EMPTY_SET, NULL, BCFMT_U64("level", 0), BCFMT_U64("more", 0)),
		       "2 arguments");
	expect_refused(ADD(NODE_EMPTY_SET, NULL, BCFMT_U64("level", 0), BCFMT_U64("level", 0)),
		       "2 arguments");
	expect_refused(ADD(EXTENT_INVALID, NULL, BCFMT_TEXT("text", NULL),
			   BCFMT_TEXT("status", "")),
		       "text");
	expect_refused(ADD(SUPER_BAD_MAGIC, NULL, gap), "1 arguments");
	expect_refused(ADD(JOURNAL_GAP, NULL, gap, gap, gap, gap), "last");
	expect_refused(bcfmt_report_add(report, (enum bcfmt_problem_id)9999, NULL, 0, NULL),
		       "9999");
	expect_refused(bcfmt_report_add(report, BCFMT_P_NONE, NULL, 0, NULL), "number 0");
	bcfmt_report_finish(report);
	cr_expect_eq(bcfmt_report_count(report), 0);
	cr_expect_eq(bcfmt_report_total(report, BCFMT_P_NODE_EMPTY_SET), 0);
	expect_refused(ADD(NODE_EMPTY_SET, NULL, BCFMT_U64("level", 0)), "after the end");
}

static const char *message_of(size_t i)
{
	static char message[512];

	bcfmt_finding_message(bcfmt_report_at(report, i), message, sizeof(message));
	return message;
}

Test(report, messages_are_filled_in_whatever_the_order)
{
	cr_assert_eq(ADD(PRIO_BAD_CSUM, NULL, BCFMT_HEX("computed", UINT64_MAX),
			 BCFMT_U64("index", 18446744073709551615ull), BCFMT_HEX("stored", 0x1f)),
		     BCFMT_OK);
	cr_assert_eq(ADD(NODE_SHORT_KEY, NULL, BCFMT_TEXT("own", "0:9"), BCFMT_U64("level", 0),
			 BCFMT_TEXT("text", "0:16")),
		     BCFMT_OK);
	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_SUPER_BAD_MAGIC, NULL, 0, NULL), BCFMT_OK);
	bcfmt_report_finish(report);
	cr_expect_str_eq(message_of(0), "no bcache magic at sector 8");
	cr_expect_str_eq(message_of(1),
			 "prio set 18446744073709551615 has checksum 0x000000000000001f, contents "
			 "give 0xffffffffffffffff");
	cr_expect_str_eq(message_of(2), "level 0 node holds 0:16 beyond its own key 0:9");
}

/* Every row of the table takes the arguments of its template and no others. */
Test(report, every_problem_can_be_reported)
{
	static char all_names[256][BCFMT_FINDING_ARGS][32]; /* names are not copied */
	size_t n;
	const struct bcfmt_problem *table = bcfmt_problem_table(&n);

	cr_assert_leq(n, 256);
	for (size_t i = 0; i < n; i++) {
		struct bcfmt_arg args[BCFMT_FINDING_ARGS + 1];
		char(*names)[32] = all_names[i];
		const char *at = table[i].message;
		struct template_part part;
		size_t n_args = 0;

		while (template_next(&at, &part) == BCFMT_OK) {
			if (!part.name)
				continue;
			snprintf(names[n_args], sizeof(names[0]), "%.*s", (int)part.name_bytes,
				 part.name);
			args[n_args] = (struct bcfmt_arg){ names[n_args], part.type, i, "word" };
			n_args++;
		}
		cr_expect_eq(bcfmt_report_add(report, table[i].id, NULL, n_args, args), BCFMT_OK,
			     "%s", table[i].slug);
		args[n_args] = BCFMT_U64("surplus", 1);
		cr_expect_eq(bcfmt_report_add(report, table[i].id, NULL, n_args + 1, args),
			     BCFMT_E_ARG, "%s", table[i].slug);
		if (n_args)
			cr_expect_eq(bcfmt_report_add(report, table[i].id, NULL, n_args - 1, args),
				     BCFMT_E_ARG, "%s", table[i].slug);
		cr_expect_eq(bcfmt_report_total(report, table[i].id), 1, "%s", table[i].slug);
	}
	bcfmt_report_finish(report);
	for (size_t i = 0; i < bcfmt_report_count(report); i++)
		cr_expect_null(strpbrk(message_of(i), "{}"), "%s", message_of(i));
}

Test(report, text_from_disks_is_cleaned)
{
	/*
	 * Escape sequences, a bell, DEL, C1, broken and overlong UTF-8, surrogates, a mark that
	 * turns the direction; what is left is printable.
	 */
	static const char dirty[] = "a\x1b[2Jb\a\x7f\n\xc2\x9b"
				    "c\xff\xc3\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x80\xae"
				    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z\xe2\x82";
	struct bcfmt_arg args[] = { BCFMT_TEXT("text", dirty), BCFMT_TEXT("status", "\x01\xfe") };

	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_EXTENT_INVALID, NULL, 2, args), BCFMT_OK);
	bcfmt_report_finish(report);
	cr_expect_str_eq(message_of(0), "impossible extent a[2Jbc\xc3\xa4\xe2\x82\xac"
					"\xf0\x9f\x98\x80z: ");
	cr_expect_str_eq(bcfmt_report_at(report, 0)->args[1].text, "");
}

Test(report, text_is_copied_and_cut)
{
	char text[1024];
	char status[8] = "status";
	struct bcfmt_arg args[] = { BCFMT_TEXT("text", text), BCFMT_TEXT("status", status) };
	const struct bcfmt_finding *finding;

	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa4", 3);
	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_EXTENT_INVALID, NULL, 2, args), BCFMT_OK);
	strcpy(text, "short");
	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_EXTENT_INVALID, NULL, 2, args), BCFMT_OK);
	memset(text, 'x', sizeof(text));
	memset(status, 'x', sizeof(status));
	bcfmt_report_finish(report);
	cr_assert_eq(bcfmt_report_count(report), 2);
	cr_expect_str_eq(message_of(0), "impossible extent short: status");
	finding = bcfmt_report_at(report, 1);
	cr_expect_eq(strlen(finding->args[0].text), BCFMT_FINDING_TEXT_BYTES - 2);
	cr_expect(finding->args[1].text >= finding->text &&
		  finding->args[1].text < finding->text + sizeof(finding->text));
	cr_expect_str_eq(finding->args[1].text, "");
}

Test(report, messages_are_cut_between_characters)
{
	struct bcfmt_arg args[] = { BCFMT_TEXT("text", "\xe2\x82\xac\xe2\x82\xac"),
				    BCFMT_TEXT("status", "s") };
	const struct bcfmt_finding *finding;
	char whole[64];
	char out[64];

	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_EXTENT_INVALID, NULL, 2, args), BCFMT_OK);
	bcfmt_report_finish(report);
	finding = bcfmt_report_at(report, 0);
	cr_expect_eq(bcfmt_finding_message(finding, whole, sizeof(whole)), strlen(whole));
	cr_expect_eq(bcfmt_finding_message(finding, out, 0), 0);
	for (size_t n = 1; n < sizeof(out); n++) {
		size_t length;

		memset(out, 'x', sizeof(out));
		length = bcfmt_finding_message(finding, out, n);
		cr_expect_lt(length, n);
		cr_expect_eq(length, strlen(out));
		cr_expect_eq(strncmp(out, whole, length), 0);
		cr_expect_neq((unsigned char)whole[length] >> 6, 2, "half a character at %zu", n);
		cr_expect_eq(out[n], 'x');
	}
}

/* ---- suppression ----------------------------------------------------------------------------- */

static void expect_totals(enum bcfmt_problem_id id, uint64_t total)
{
	cr_expect_eq(bcfmt_report_total(report, id), total, "%s: %llu, must be %llu",
		     bcfmt_problem_find(id)->slug,
		     (unsigned long long)bcfmt_report_total(report, id), (unsigned long long)total);
}

static void add_csum(const char *device, uint64_t bucket, uint64_t block)
{
	struct bcfmt_where where = at_node(device, bucket, block);

	cr_assert_eq(ADD(NODE_BAD_CSUM, &where, BCFMT_U64("level", 0), BCFMT_HEX("stored", 1),
			 BCFMT_U64("keys", 2), BCFMT_HEX("computed", 3)),
		     BCFMT_OK);
}

static void add_short(const char *device, uint64_t bucket)
{
	struct bcfmt_where where = at_node(device, bucket, BCFMT_NO_NUMBER);

	cr_assert_eq(ADD(NODE_SHORT_KEY, &where, BCFMT_U64("level", 0), BCFMT_TEXT("text", "a"),
			 BCFMT_TEXT("own", "b")),
		     BCFMT_OK);
}

Test(report, a_node_without_its_first_part_has_no_other_faults)
{
	struct bcfmt_where where = at_node("sda", 1, 3);

	add_short("sda", 1);
	add_short("sda", 2);
	add_short("sda", 3);
	add_short("sdb", 1);
	add_csum("sda", 1, 0);
	add_csum("sda", 2, 9);
	cr_assert_eq(ADD(NODE_DISORDER, &where, BCFMT_U64("level", 0), BCFMT_U64("places", 1),
			 BCFMT_U64("keys", 2)),
		     BCFMT_OK);
	bcfmt_report_finish(report);
	/* Gone in the node without block 0; not where only an append is lost, not elsewhere. */
	expect_totals(BCFMT_P_NODE_SHORT_KEY, 3);
	expect_totals(BCFMT_P_NODE_DISORDER, 0);
	expect_totals(BCFMT_P_NODE_BAD_CSUM, 2);
	cr_expect_eq(bcfmt_report_suppressed(report), 2);
	cr_expect_eq(bcfmt_report_count(report), 5);
	cr_expect_eq(bcfmt_report_severity_total(report, BCFMT_SEV_DATA_LOSS), 2);
	for (size_t i = 0; i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);

		cr_expect(finding->problem->id != BCFMT_P_NODE_SHORT_KEY ||
			  finding->where.bucket != 1 || !strcmp(finding->where.device, "sdb"));
	}
}

Test(report, the_insert_bug_is_named_beside_the_disorder)
{
	struct bcfmt_where where = at_node("sda", 1, 0);

	cr_assert_eq(ADD(NODE_DISORDER, &where, BCFMT_U64("level", 0), BCFMT_U64("places", 1),
			 BCFMT_U64("keys", 2)),
		     BCFMT_OK);
	cr_assert_eq(ADD(NODE_INSERT_BUG, &where, BCFMT_U64("places", 1), BCFMT_U64("zero", 0),
			 BCFMT_U64("same", 0), BCFMT_U64("placeholders", 1)),
		     BCFMT_OK);
	bcfmt_report_finish(report);
	cr_expect_eq(bcfmt_report_count(report), 2);
	cr_expect_eq(bcfmt_report_suppressed(report), 0);
}

Test(report, what_is_no_superblock_has_no_wrong_fields)
{
	struct bcfmt_where sda = at_super("sda"), sdb = at_super("sdb");

	for (int i = 0; i < 2; i++) {
		const struct bcfmt_where *where = i ? &sda : &sdb;

		cr_assert_eq(ADD(SUPER_BAD_CSUM, where, BCFMT_HEX("stored", 1),
				 BCFMT_HEX("computed", 2)),
			     BCFMT_OK);
		cr_assert_eq(ADD(SUPER_NOT_SYNC, where, BCFMT_U64("entries", 1),
				 BCFMT_U64("seq", 2)),
			     BCFMT_OK);
	}
	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_SUPER_BAD_MAGIC, &sda, 0, NULL), BCFMT_OK);
	bcfmt_report_finish(report);
	expect_totals(BCFMT_P_SUPER_BAD_MAGIC, 1);
	expect_totals(BCFMT_P_SUPER_BAD_CSUM, 1);
	cr_expect_str_eq(bcfmt_report_at(report, 1)->where.device, "sdb");
	/* That everything would be discarded is never left out. */
	expect_totals(BCFMT_P_SUPER_NOT_SYNC, 2);
}

static void add_unusable(const char *device)
{
	struct bcfmt_where where = at_super(device);

	cr_assert_eq(ADD(SUPER_UNUSABLE, &where, BCFMT_U64("block", 1), BCFMT_U64("bucket", 3),
			 BCFMT_U64("nbuckets", 4), BCFMT_U64("first", 5), BCFMT_U64("keys", 6)),
		     BCFMT_OK);
}

Test(report, unusable_geometry_stays_only_unexplained)
{
	struct bcfmt_where sda = at_super("sda"), sdb = at_super("sdb");

	add_unusable("sda");
	add_unusable("sdb");
	cr_assert_eq(ADD(SUPER_BUCKET_NOT_POW2, &sda, BCFMT_U64("bucket", 3)), BCFMT_OK);
	/* Says nothing of the geometry. */
	cr_assert_eq(ADD(SUPER_BAD_CSUM, &sdb, BCFMT_HEX("stored", 1), BCFMT_HEX("computed", 2)),
		     BCFMT_OK);
	bcfmt_report_finish(report);
	expect_totals(BCFMT_P_SUPER_UNUSABLE, 1);
	expect_totals(BCFMT_P_SUPER_BUCKET_NOT_POW2, 1);
	cr_expect_str_eq(bcfmt_report_at(report, 2)->where.device, "sdb");
	cr_expect_gt(bcfmt_report_severity_total(report, BCFMT_SEV_ERROR), 0);
}

Test(report, what_is_hidden_still_hides)
{
	struct bcfmt_where node = at_node("sda", 1, 0);

	/* The pointer leads into the journal: so the checksum, and so the order. */
	cr_assert_eq(ADD(NODE_IN_METADATA, &node, BCFMT_U64("level", 0),
			 BCFMT_TEXT("owner", "journal")),
		     BCFMT_OK);
	add_csum("sda", 1, 0);
	add_short("sda", 1);
	bcfmt_report_finish(report);
	cr_expect_eq(bcfmt_report_count(report), 1);
	expect_totals(BCFMT_P_NODE_IN_METADATA, 1);
	cr_expect_eq(bcfmt_report_suppressed(report), 2);
}

Test(report, a_cause_for_the_whole_set_hides_those_only_counted_too)
{
	for (uint64_t i = 0; i < 1000; i++) {
		struct bcfmt_where where = at_node("sda", i, 0);

		cr_assert_eq(ADD(EXTENT_OTHER_MEMBER, &where, BCFMT_TEXT("text", "a"),
				 BCFMT_U64("member", 1), BCFMT_U64("own", 0)),
			     BCFMT_OK);
	}
	cr_assert_eq(ADD(SET_SEVERAL_MEMBERS, NULL, BCFMT_U64("number", 0),
			 BCFMT_U64("members", 2)),
		     BCFMT_OK);
	bcfmt_report_finish(report);
	expect_totals(BCFMT_P_EXTENT_OTHER_MEMBER, 0);
	cr_expect_eq(bcfmt_report_suppressed(report), 1000);
	cr_expect_eq(bcfmt_report_count(report), 1);
}

Test(report, two_histories_hide_no_loss)
{
	cr_assert_eq(ADD(JOURNAL_TWO_HISTORIES, NULL, BCFMT_U64("taken", 9), BCFMT_U64("other", 5),
			 BCFMT_TEXT("evidence", "time stamps")),
		     BCFMT_OK);
	cr_assert_eq(ADD(JOURNAL_GAP, NULL, BCFMT_U64("first", 1), BCFMT_U64("last", 2),
			 BCFMT_U64("from", 1), BCFMT_U64("to", 9)),
		     BCFMT_OK);
	cr_assert_eq(ADD(EXTENT_TWICE, NULL, BCFMT_U64("sectors", 8), BCFMT_TEXT("first", "a"),
			 BCFMT_TEXT("second", "b")),
		     BCFMT_OK);
	bcfmt_report_finish(report);
	cr_expect_eq(bcfmt_report_count(report), 3);
}

Test(report, a_machine_of_the_other_kind_explains_an_empty_journal)
{
	cr_assert_eq(ADD(JOURNAL_EMPTY, NULL, BCFMT_U64("buckets", 8)), BCFMT_OK);
	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_SET_BIG_ENDIAN, NULL, 0, NULL), BCFMT_OK);
	bcfmt_report_finish(report);
	expect_totals(BCFMT_P_JOURNAL_EMPTY, 0);
	expect_totals(BCFMT_P_SET_BIG_ENDIAN, 1);
	cr_expect_eq(bcfmt_report_severity_total(report, BCFMT_SEV_FATAL), 1);
}
