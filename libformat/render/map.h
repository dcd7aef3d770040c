/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What picture and text of the bucket map have in common. */
#ifndef RENDER_MAP_H
#define RENDER_MAP_H

#include <bcfmt/map.h>

#define MAP_LINE_BYTES 320u

/* "set UUID" and the sizes of the cache. */
void map_title(const struct bcfmt_map *map, char out[MAP_LINE_BYTES]);
void map_sizes(const struct bcfmt_map *map, char out[MAP_LINE_BYTES]);
/* What is told of a use: its name, buckets, bytes. */
void map_use_line(const struct bcfmt_map *map, enum bcfmt_map_use use, char out[MAP_LINE_BYTES]);
/* The most buckets that one of n parts of the map has. */
uint64_t map_buckets_each(const struct bcfmt_map *map, uint64_t n_parts);
/* How to read a map whose unit ("square", "letter") stands for so many buckets. */
void map_unit_line(const struct bcfmt_map *map, const char *unit, uint64_t buckets,
		   char out[MAP_LINE_BYTES]);
/* Goes on with where a unit has several. */
extern const char *const map_order;
/* What makes all of it unsure, or NULL; i from 0 on. */
const char *map_warning(const struct bcfmt_map *map, unsigned int i);

#endif
