/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A crew of threads that works through a list of nodes. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dev/ahead.h"
#include "set/tree_impl.h"

/* Nodes taken at once: few enough to share the end of a list, enough to keep reads in a row. */
#define BATCH 8u
/* So few nodes are not worth threads of their own that read them. */
#define RING_NODES_MIN 16u
#define RING_LOOKS 8u
#define READ_AHEAD_BYTES (16u << 20)
#define READ_AHEAD_MIN 8u
#define READ_AHEAD_MAX 256u

struct crew {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *dev;
	const struct bcfmt_node_ref *refs;
	size_t depth; /* of nodes to ask for ahead */
	struct ahead *ring; /* NULL: every worker reads its nodes itself */
	const char *pass;
	const uint32_t *order;
	size_t n;
	crew_fn work;
	void *arg;
	size_t next;   /* atomic */
	size_t ahead;  /* atomic; so many were asked for */
	size_t done;   /* atomic */
	int first_err; /* atomic, a bcfmt_err */
};

void worker_clear(struct worker *worker)
{
	node_reader_clear(&worker->reader);
	leaf_scratch_clear(&worker->leaf);
	leaf_scratch_clear(&worker->journal);
	vec_free(&worker->replay);
	vec_free(&worker->looks);
	vec_free(&worker->ranges);
	vec_free(&worker->words);
	vec_free(&worker->doubts);
	leaf_age_clear(&worker->age);
}

static void crew_fail(struct crew *crew, bcfmt_err err)
{
	int none = BCFMT_OK;

	__atomic_compare_exchange_n(&crew->first_err, &none, (int)err, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

size_t nodes_ahead(const struct bcfmt_geometry *geo)
{
	size_t n = READ_AHEAD_BYTES / BCFMT_SECTOR_BYTES / geo->node_sectors;

	return n < READ_AHEAD_MIN ? READ_AHEAD_MIN : n > READ_AHEAD_MAX ? READ_AHEAD_MAX : n;
}

void ref_read_ahead(struct bcfmt_dev *dev, const struct bcfmt_node_ref *ref)
{
	if (ref->sectors)
		dev_read_ahead(dev, bcfmt_ptr_sector(ref->ptr) * BCFMT_SECTOR_BYTES,
			       (uint64_t)ref->sectors * BCFMT_SECTOR_BYTES);
}

static void node_place(void *arg, size_t i, uint64_t *offset_bytes, size_t *len_bytes)
{
	const struct crew *crew = arg;
	const struct bcfmt_node_ref *ref = &crew->refs[crew->order[i]];

	*offset_bytes = bcfmt_ptr_sector(ref->ptr) * BCFMT_SECTOR_BYTES;
	*len_bytes = (size_t)ref->sectors * BCFMT_SECTOR_BYTES;
}

/* A look at some nodes, spread over all, tells whether most are to be fetched from the medium. */
static void crew_start_ring(struct crew *crew, const struct bcfmt_geometry *geo)
{
	unsigned int far = 0;

	for (size_t look = 0; crew->n >= RING_NODES_MIN && look < RING_LOOKS; look++) {
		uint64_t offset_bytes;
		size_t len_bytes;

		node_place(crew, (crew->n - 1) * look / (RING_LOOKS - 1), &offset_bytes,
			   &len_bytes);
		far += len_bytes && dev_is_far(crew->dev, offset_bytes, len_bytes);
	}
	if (far > RING_LOOKS / 2)
		crew->ring = ahead_start(crew->dev, (size_t)geo->node_sectors * BCFMT_SECTOR_BYTES,
					 crew->n, node_place, crew);
}

/* Works on the node at a place of the order. */
static bcfmt_err crew_work_one(struct crew *crew, struct worker *worker, size_t at)
{
	bcfmt_err err;

	if (crew->ring)
		worker->reader.ready = ahead_take(crew->ring, at);
	err = crew->work(crew->arg, worker, crew->order[at]);
	worker->reader.ready = NULL;
	if (crew->ring)
		ahead_give(crew->ring, at);
	return err;
}

/* Asks for the nodes up to some way behind end, each once. */
static void crew_read_ahead(struct crew *crew, size_t end)
{
	size_t until = end + crew->depth < crew->n ? end + crew->depth : crew->n;
	size_t from = __atomic_load_n(&crew->ahead, __ATOMIC_RELAXED);

	do {
		if (from >= until)
			return;
	} while (!__atomic_compare_exchange_n(&crew->ahead, &from, until, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	for (; from < until; from++)
		ref_read_ahead(crew->dev, &crew->refs[crew->order[from]]);
}

static void crew_work(struct crew *crew, bool is_caller)
{
	/* Of a ring no worker may hold more than what it works on. */
	size_t batch = crew->ring ? 1 : BATCH;
	struct worker worker;

	memset(&worker, 0, sizeof(worker));
	for (;;) {
		size_t begin = __atomic_fetch_add(&crew->next, batch, __ATOMIC_RELAXED);
		size_t end = begin + batch < crew->n ? begin + batch : crew->n;

		if (begin >= crew->n || __atomic_load_n(&crew->first_err, __ATOMIC_RELAXED))
			break;
		if (crew->refs && !crew->ring)
			crew_read_ahead(crew, end);
		for (size_t i = begin; i < end; i++) {
			bcfmt_err err = crew_work_one(crew, &worker, i);

			if (err) {
				crew_fail(crew, err);
				break;
			}
		}
		if (bcfmt_ctx_is_cancelled(crew->ctx))
			crew_fail(crew, BCFMT_E_CANCELLED);
		__atomic_fetch_add(&crew->done, end - begin, __ATOMIC_RELAXED);
		if (is_caller)
			bcfmt_ctx_progress(crew->ctx, crew->pass,
					   __atomic_load_n(&crew->done, __ATOMIC_RELAXED), crew->n);
	}
	worker_clear(&worker);
}

static void *crew_thread(void *arg)
{
	crew_work(arg, false);
	return NULL;
}

bcfmt_err crew_run(struct bcfmt_set *set, const char *pass, const struct bcfmt_node_ref *refs,
		   const uint32_t *order, size_t n, crew_fn work, void *arg)
{
	struct crew crew = { .ctx = set->ctx, .dev = set->cache.dev, .refs = refs,
			     .depth = refs ? nodes_ahead(&set->geo) : 0, .pass = pass, .order = order,
			     .n = n, .work = work, .arg = arg };
	pthread_t threads[64];
	unsigned int wanted = set->has_all_prios ? bcfmt_ctx_threads(set->ctx) : 1, n_threads = 0;

	if (wanted > sizeof(threads) / sizeof(threads[0]))
		wanted = sizeof(threads) / sizeof(threads[0]);
	if (refs)
		crew_start_ring(&crew, &set->geo);
	/* A thread that cannot be had is no error: the caller's own does all the work. */
	while (n_threads + 1 < wanted && (n_threads + 1) * BATCH < n &&
	       !pthread_create(&threads[n_threads], NULL, crew_thread, &crew))
		n_threads++;
	crew_work(&crew, true);
	for (unsigned int i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	ahead_stop(crew.ring);
	return (bcfmt_err)crew.first_err;
}

static int place_cmp(const void *a, const void *b, void *arg)
{
	const struct bcfmt_node_ref *refs = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	uint64_t x = refs[i].sectors ? bcfmt_ptr_sector(refs[i].ptr) : 0;
	uint64_t y = refs[j].sectors ? bcfmt_ptr_sector(refs[j].ptr) : 0;

	if (x != y)
		return x < y ? -1 : 1;
	return i < j ? -1 : i > j;
}

uint32_t *device_order(const struct bcfmt_node_ref *refs, size_t n)
{
	uint32_t *order = malloc((n ? n : 1) * sizeof(*order));

	if (!order)
		return NULL;
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	/* qsort_r() hands the context through; it is not written. */
	qsort_r(order, n, sizeof(*order), place_cmp, (void *)(uintptr_t)refs);
	return order;
}
