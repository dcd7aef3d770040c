/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nodes that findings name, as a kernel would dump them. */
#include "bad_nodes.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lone_node.h"

struct search {
	struct bcfmt_set *set;
	uint64_t *buckets; /* ascending */
	size_t n_buckets;
	size_t n_dumped;
	struct bcfmt_node_ref refs[BAD_NODES_DUMPED]; /* sectors 0: not in the tree */
	pthread_mutex_t lock;
};

static int bucket_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Each bucket once, in order. */
static bcfmt_err list_buckets(struct search *search, const struct bcfmt_report *report)
{
	size_t n = 0;

	search->buckets = calloc(bcfmt_report_count(report) + 1, sizeof(*search->buckets));
	if (!search->buckets)
		return bcfmt_fail(search->set->ctx, BCFMT_E_NOMEM, "out of memory for findings");
	for (size_t i = 0; i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);

		if (finding->problem->severity >= BCFMT_SEV_ERROR && finding->where.structure &&
		    !strcmp(finding->where.structure, "node") &&
		    finding->where.bucket >= search->set->geo.first_bucket &&
		    finding->where.bucket < search->set->geo.nbuckets)
			search->buckets[n++] = finding->where.bucket;
	}
	qsort(search->buckets, n, sizeof(*search->buckets), bucket_cmp);
	for (size_t i = 0; i < n; i++)
		if (!i || search->buckets[i] != search->buckets[i - 1])
			search->buckets[search->n_buckets++] = search->buckets[i];
	search->n_dumped =
		search->n_buckets < BAD_NODES_DUMPED ? search->n_buckets : BAD_NODES_DUMPED;
	return BCFMT_OK;
}

static void note_ref(struct search *search, const struct bcfmt_node_ref *ref)
{
	uint64_t bucket = bcfmt_ptr_bucket(&search->set->geo, ref->ptr);
	const uint64_t *at;

	at = bsearch(&bucket, search->buckets, search->n_dumped, sizeof(bucket), bucket_cmp);
	if (at && ref->sectors)
		search->refs[at - search->buckets] = *ref;
}

static bcfmt_err see_interior(void *arg, const struct bcfmt_node_view *view)
{
	struct search *search = arg;

	pthread_mutex_lock(&search->lock);
	note_ref(search, view->ref);
	pthread_mutex_unlock(&search->lock);
	return BCFMT_OK;
}

static bcfmt_err find_refs(struct search *search)
{
	struct bcfmt_tree_visitor visitor = { .arg = search, .node = see_interior };
	struct bcfmt_tree *tree;
	bcfmt_err err;

	if (!search->set->has_newest || !search->n_dumped)
		return BCFMT_OK;
	err = bcfmt_tree_open(search->set, &visitor, &tree);
	if (err)
		return err;
	for (size_t i = 0; i < bcfmt_tree_leaves(tree); i++)
		note_ref(search, bcfmt_tree_leaf(tree, i));
	bcfmt_tree_free(tree);
	return BCFMT_OK;
}

/* The text of a node as one string, to be freed. */
static bcfmt_err dump_text(struct bcfmt_set *set, const struct bcfmt_node_view *view, char **text)
{
	size_t len_bytes = 0;
	FILE *stream = open_memstream(text, &len_bytes);
	struct bcfmt_out *out;
	bcfmt_err err;

	if (!stream)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "out of memory for a node");
	err = bcfmt_out_new(set->ctx, stream, 0, &out);
	if (!err) {
		bcfmt_render_node_dump(out, set, view);
		err = bcfmt_out_close(out);
	}
	/* Closing can lose the text for want of memory without a word. */
	if ((fclose(stream) || !*text) && !err)
		err = bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "out of memory for a node");
	return err;
}

static bcfmt_err dump_one(struct search *search, size_t i, struct lone_node *lone, FILE *stream,
			  struct bad_nodes *out)
{
	struct bcfmt_node_ref ref = search->refs[i];
	bool is_in_tree = ref.sectors, is_found = true;
	struct bcfmt_node_view view;
	char *text = NULL;
	bcfmt_err err = BCFMT_OK;

	if (!is_in_tree)
		err = lone_node_guess(lone, search->set, search->buckets[i], &ref, &is_found);
	if (!err && is_found)
		err = lone_node_read(lone, search->set, &ref, &view);
	if (!err && is_found) {
		out->unreadable += view.bad.sectors != 0;
		err = dump_text(search->set, &view, &text);
	}
	if (err) {
		free(text);
		return err;
	}
	/* A failed write is told when the stream is packed. */
	fprintf(stream, "%sbucket %" PRIu64 ", level %u%s\n%s", i ? "\n" : "", search->buckets[i],
		ref.level,
		!is_found    ? ": no node of this set"
		: is_in_tree ? ""
			     : ": no pointer of the tree leads to it",
		text ? text : "");
	if (!is_found || out->n_nodes == BCFMT_PAGE_NODES) {
		free(text);
		return BCFMT_OK;
	}
	out->nodes[out->n_nodes++] = (struct bcfmt_page_node){
		.bucket = search->buckets[i],
		.level = ref.level,
		.is_in_tree = is_in_tree,
		.text = text,
	};
	return BCFMT_OK;
}

bcfmt_err bad_nodes_dump(struct bcfmt_set *set, const struct bcfmt_report *report, FILE *stream,
			 struct bad_nodes *out)
{
	struct search search = { .set = set };
	struct lone_node lone = { 0 };
	bcfmt_err err;

	if (pthread_mutex_init(&search.lock, NULL))
		return bcfmt_fail(set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	err = list_buckets(&search, report);
	if (!err)
		err = find_refs(&search);
	out->all = search.n_buckets;
	for (size_t i = 0; !err && i < search.n_dumped; i++)
		err = dump_one(&search, i, &lone, stream, out);
	if (!err && search.n_buckets > search.n_dumped)
		fprintf(stream, "\nand %zu more nodes, which findings.json names\n",
			search.n_buckets - search.n_dumped);
	if (!err && !search.n_buckets)
		fputs("no node is damaged\n", stream);
	lone_node_clear(&lone);
	pthread_mutex_destroy(&search.lock);
	free(search.buckets);
	return err;
}

void bad_nodes_clear(struct bad_nodes *bad)
{
	for (size_t i = 0; i < bad->n_nodes; i++)
		free((void *)(uintptr_t)bad->nodes[i].text);
	*bad = (struct bad_nodes){ 0 };
}
