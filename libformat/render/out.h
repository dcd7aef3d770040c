/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the output: lines made of clean text, JSON objects. */
#ifndef RENDER_OUT_H
#define RENDER_OUT_H

#include <bcfmt/render.h>

#include <jansson.h>

enum out_style { OUT_PLAIN, OUT_NOTE, OUT_WARN, OUT_BAD, OUT_GOOD, OUT_STRONG };

/*
 * A line of text in pieces. Pieces are cleaned, so that nothing from a disk reaches a terminal as
 * a control sequence. Nothing in JSON mode.
 */
void out_put(struct bcfmt_out *out, const char *fmt, ...) BCFMT_PRINTF(2, 3);
void out_put_styled(struct bcfmt_out *out, enum out_style style, const char *fmt, ...)
	BCFMT_PRINTF(3, 4);
void out_end_line(struct bcfmt_out *out);
bool out_is_quiet(const struct bcfmt_out *out);

/* Prints an object as one line and drops it. NULL is an allocation that failed: it is kept. */
void out_json(struct bcfmt_out *out, json_t *object);
/* Values for objects; NULL when memory is out, which out_json_set() takes. */
json_t *out_json_u64(uint64_t value);	 /* a string above INT64_MAX */
json_t *out_json_hex(uint64_t value);	 /* "0x" and 16 digits */
json_t *out_json_text(const char *text); /* made valid UTF-8 */
json_t *out_json_uuid(const uint8_t uuid[BCFMT_UUID_BYTES]);
/* Steals value. A failure is remembered in out. */
void out_json_set(struct bcfmt_out *out, json_t *object, const char *key, json_t *value);
void out_json_append(struct bcfmt_out *out, json_t *array, json_t *value);
/* An object with its kind; NULL is taken by all of the above. */
json_t *out_json_object(struct bcfmt_out *out, const char *kind);

/* Code, slug, severity: how every object names its problem. */
void out_json_problem(struct bcfmt_out *out, json_t *object, const struct bcfmt_problem *problem);
/* The objects of "repair" and "kernel". */
json_t *out_json_repair(struct bcfmt_out *out, const struct bcfmt_problem *problem);
json_t *out_json_kernel(struct bcfmt_out *out, enum bcfmt_problem_id id);
/* The rows of a problem lie together; *n may be 0. */
const struct bcfmt_kernel_effect *out_effects(enum bcfmt_problem_id id, size_t *n);

/* Kernel version major * 1000 + minor as "6.1". out holds 16 bytes. */
const char *out_version_text(unsigned int version, char text[16]);
/* The kernels [since, until) as words: "all kernels", "kernels before 5.2". */
const char *out_kernels_text(unsigned int since, unsigned int until, char text[64]);
/* What a kernel does, as words: "it hangs". */
const char *out_effect_text(enum bcfmt_effect effect);
/* What the repair needs, as words. */
const char *out_consent_text(enum bcfmt_consent consent);
enum out_style out_severity_style(enum bcfmt_severity severity);

/* "bucket 7 sector 896 block 9: ", what is known of it. text is returned. */
#define OUT_PLACE_BYTES 128u
const char *out_place_text(const struct bcfmt_where *where, char text[OUT_PLACE_BYTES]);

/* The rest of the line that says whether a kernel registers the set, and what belongs to it. */
void out_predictions_of_cache(struct bcfmt_out *out, const struct bcfmt_set *set,
			      const struct bcfmt_verdict *verdict);
/* A line on a backing device, where it is not simply joined with the cache. */
void out_predictions_of_backing(struct bcfmt_out *out, const struct bcfmt_verdict *verdict,
				const struct bcfmt_member *member);
void out_prediction_json(struct bcfmt_out *out, const struct bcfmt_prediction *prediction);

#endif
