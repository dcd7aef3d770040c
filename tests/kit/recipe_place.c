/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chooses the buckets that a recipe leaves open, and the gen and prio of every bucket. */
#include "recipe_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

struct placer {
	struct recipe_build *build;
	uint8_t *is_taken;
	uint64_t next;
};

static void take(struct placer *placer, uint64_t bucket)
{
	if (bucket < placer->build->geo.nbuckets)
		placer->is_taken[bucket] = 1;
}

/* Buckets are handed out upwards from the end of the journal, as a fresh cache does. */
static uint64_t choose(struct placer *placer, unsigned int line, const char *what)
{
	while (placer->next < placer->build->geo.nbuckets && placer->is_taken[placer->next])
		placer->next++;
	if (placer->next == placer->build->geo.nbuckets) {
		recipe_build_fail(placer->build, line, what, "no bucket is left for it");
		return 0;
	}
	placer->is_taken[placer->next] = 1;
	return placer->next++;
}

/* The bucket that a key points to; false when it has no real pointer. */
static bool key_bucket(const struct recipe_build *build, const struct recipe_key *key,
		       uint64_t *bucket)
{
	if (key->n_words != 3 || key->child >= 0 || !bcfmt_ptr_is_available(key->word[2]))
		return false;
	*bucket = bcfmt_ptr_bucket(&build->geo, key->word[2]);
	return *bucket < build->geo.nbuckets;
}

static void take_what_is_named(struct placer *placer)
{
	const struct recipe *recipe = placer->build->recipe;

	for (size_t i = 0; i < recipe->nodes.n; i++)
		take(placer, placer->build->nodes[i].bucket);
	for (size_t i = 0; i < recipe->prios.n; i++)
		for (uint32_t k = 0; k < placer->build->prios[i].n_buckets; k++)
			take(placer, placer->build->prios[i].bucket[k]);
	take(placer, recipe->uuids_bucket);
	for (size_t i = 0; i < recipe->keys.n; i++) {
		uint64_t bucket;

		if (key_bucket(placer->build, VEC_AT(&recipe->keys, struct recipe_key, i), &bucket))
			take(placer, bucket);
	}
	for (size_t i = 0; i < recipe->gens.n; i++)
		take(placer, VEC_AT(&recipe->gens, struct recipe_gen, i)->bucket);
}

static void raise_gen(struct recipe_build *build, uint64_t bucket, unsigned int gen, uint16_t prio)
{
	build->gens[bucket] = (uint8_t)max_u64(build->gens[bucket], gen);
	build->prio_values[bucket] = (uint16_t)max_u64(build->prio_values[bucket], prio);
}

static void fill_gens(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;

	for (size_t i = 0; i < recipe->nodes.n; i++)
		raise_gen(build, build->nodes[i].bucket, build->nodes[i].gen, BCFMT_PRIO_BTREE);
	for (size_t i = 0; i < recipe->prios.n; i++)
		for (uint32_t k = 0; k < build->prios[i].n_buckets; k++)
			raise_gen(build, build->prios[i].bucket[k], 1, BCFMT_PRIO_BTREE);
	raise_gen(build, build->uuids_bucket, recipe->uuids_gen, BCFMT_PRIO_BTREE);
	for (size_t i = 0; i < recipe->keys.n; i++) {
		const struct recipe_key *key = VEC_AT(&recipe->keys, struct recipe_key, i);
		uint64_t bucket;

		if (key_bucket(build, key, &bucket))
			raise_gen(build, bucket, bcfmt_ptr_gen(key->word[2]), BCFMT_PRIO_INITIAL);
	}
	for (size_t i = 0; i < recipe->gens.n; i++) {
		const struct recipe_gen *gen = VEC_AT(&recipe->gens, struct recipe_gen, i);

		if (gen->gen != RECIPE_AUTO)
			build->gens[gen->bucket] = (uint8_t)gen->gen;
		if (gen->prio != RECIPE_AUTO)
			build->prio_values[gen->bucket] = (uint16_t)gen->prio;
	}
}

static bool allocate(struct recipe_build *build, struct placer *placer)
{
	const struct recipe *recipe = build->recipe;

	placer->is_taken = calloc(build->geo.nbuckets, 1);
	build->gens = calloc(build->geo.nbuckets, 1);
	build->prio_values = calloc(build->geo.nbuckets, sizeof(*build->prio_values));
	build->nodes = calloc(recipe->nodes.n + 1, sizeof(*build->nodes));
	build->prios = calloc(recipe->prios.n + 1, sizeof(*build->prios));
	if (!placer->is_taken || !build->gens || !build->prio_values || !build->nodes ||
	    !build->prios) {
		recipe_build_fail(build, 0, "buckets", "out of memory");
		return false;
	}
	if (recipe->nodes.n)
		memcpy(build->nodes, recipe->nodes.items, recipe->nodes.n * sizeof(*build->nodes));
	if (recipe->prios.n)
		memcpy(build->prios, recipe->prios.items, recipe->prios.n * sizeof(*build->prios));
	return true;
}

bool recipe_place(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;
	struct placer placer = { .build = build };
	uint64_t chain = bcfmt_geometry_prio_buckets(&build->geo);

	placer.next = (uint64_t)build->geo.first_bucket + build->geo.journal_buckets;
	build->uuids_bucket = recipe->uuids_bucket;
	if (!allocate(build, &placer)) {
		free(placer.is_taken);
		return false;
	}
	take_what_is_named(&placer);
	for (size_t i = 0; i < recipe->prios.n && !build->has_failed; i++) {
		struct recipe_prio *prio = &build->prios[i];

		if (chain > RECIPE_CHAIN_MAX)
			recipe_build_fail(build, prio->line, "prio",
					  "chain of more than 16 buckets");
		while (!build->has_failed && prio->n_buckets < chain)
			prio->bucket[prio->n_buckets++] = choose(&placer, prio->line, "prio");
	}
	if (build->uuids_bucket == RECIPE_AUTO)
		build->uuids_bucket = choose(&placer, 0, "uuid table");
	for (size_t i = 0; i < recipe->nodes.n; i++)
		if (build->nodes[i].bucket == RECIPE_AUTO)
			build->nodes[i].bucket =
				choose(&placer, build->nodes[i].line, build->nodes[i].name);
	free(placer.is_taken);
	if (!build->has_failed)
		fill_gens(build);
	return !build->has_failed;
}
