/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bucket map: what every bucket of a cache is used for, as a picture and in words. */
#ifndef BCFMT_MAP_H
#define BCFMT_MAP_H

#include <bcfmt/base.h>
#include <bcfmt/render.h>
#include <bcfmt/set.h>

BCFMT_BEGIN_DECLS

/* What a bucket is for, or what is wrong with it; where several share a place the last counts. */
enum bcfmt_map_use {
	BCFMT_MAP_FREE,
	BCFMT_MAP_CLEAN, /* live data, all of it on the backing device too */
	BCFMT_MAP_DIRTY, /* live data, some of it only here */
	BCFMT_MAP_NODE,
	BCFMT_MAP_UUIDS,
	BCFMT_MAP_PRIOS,
	BCFMT_MAP_JOURNAL,
	BCFMT_MAP_SUPER, /* below first_bucket */
	/*
	 * Of data: nothing proves that it is the newest, it shares sectors with other data, or dirty
	 * data is gone whose place it took. Of a leaf: nothing proves that it holds all it should.
	 */
	BCFMT_MAP_DOUBTFUL,
	/*
	 * Of metadata: it cannot be read, breaks a rule of the format, is out of order, or data or a
	 * second structure lies in it.
	 */
	BCFMT_MAP_DAMAGED,
	BCFMT_MAP_USES,
};
/* "free", "clean data", "btree nodes", ...; static. */
BCFMT_API const char *bcfmt_map_use_name(enum bcfmt_map_use use);

struct bcfmt_map_total {
	uint64_t buckets;
	uint64_t bytes; /* of data what is live, of all else whole buckets */
};

/* A map lives by itself: the set may go. Freed with bcfmt_map_free(). */
struct bcfmt_map;

/*
 * Reads the tree of the set, which may have been walked before, and takes down what each bucket is
 * for. Damage never fails it. E_DAMAGED: no cache of which the sizes are known. E_NOMEM,
 * E_CANCELLED, E_SYSTEM (temporary files). Memory: a byte a bucket while it works, at most 1 MiB
 * afterwards.
 */
BCFMT_API bcfmt_err bcfmt_map_make(struct bcfmt_set *set, struct bcfmt_map **out);
BCFMT_API void bcfmt_map_free(struct bcfmt_map *map); /* NULL is fine */

/*
 * BCFMT_MAP_USES entries. The first ones add up to all buckets of the set; DOUBTFUL and DAMAGED
 * say how many of these are marked, each bucket once.
 */
BCFMT_API const struct bcfmt_map_total *bcfmt_map_totals(const struct bcfmt_map *map);
/* Nodes are missing: a bucket that is called free may hold something. */
BCFMT_API bool bcfmt_map_is_partial(const struct bcfmt_map *map);

/* Structures that could not be read when the map was made; they are DAMAGED. */
BCFMT_API uint64_t bcfmt_map_unreadable(const struct bcfmt_map *map);

/*
 * Places along the curve: one a bucket, or BCFMT_MAP_PLACES_MAX of them with several buckets each,
 * in order and as even as can be. A place shows what matters most of its buckets.
 */
#define BCFMT_MAP_PLACES_MAX (1u << 20)
BCFMT_API uint32_t bcfmt_map_places(const struct bcfmt_map *map);
BCFMT_API uint64_t bcfmt_map_place_bucket(const struct bcfmt_map *map, uint32_t place); /* first */
/* What a place shows; is_marked tells DOUBTFUL or DAMAGED, base what it is for all the same. */
struct bcfmt_map_place {
	enum bcfmt_map_use shows;
	enum bcfmt_map_use base;
};
BCFMT_API struct bcfmt_map_place bcfmt_map_place(const struct bcfmt_map *map, uint32_t place);

/*
 * Where the picture has a place: the square of *side_pixels at *x, *y. The curve is Hilbert's and
 * begins at the top left.
 */
BCFMT_API void bcfmt_map_square(const struct bcfmt_map *map, uint32_t place, uint32_t *x,
				uint32_t *y, uint32_t *side_pixels);
/* 0xRRGGBB. Any two can be told apart with every kind of colour blindness. */
BCFMT_API uint32_t bcfmt_map_color(enum bcfmt_map_use use);

/* Takes the next bytes of the picture; what it returns ends the work and is returned. */
typedef bcfmt_err (*bcfmt_map_write_fn)(void *arg, const void *bytes, size_t len_bytes);
/* The map as a PNG with a title and a legend, the same bytes for the same map. E_NOMEM. */
BCFMT_API bcfmt_err bcfmt_map_png(const struct bcfmt_map *map, bcfmt_map_write_fn write, void *arg);
/*
 * Text: totals, then lines of columns characters, a letter a place. JSON: an object of totals; with
 * is_long one for every run of places that show the same.
 */
BCFMT_API void bcfmt_render_map(struct bcfmt_out *out, const struct bcfmt_map *map,
				unsigned int columns, bool is_long);

BCFMT_END_DECLS

#endif
