/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text and JSON of structures and findings. */
#ifndef BCFMT_RENDER_H
#define BCFMT_RENDER_H

#include <bcfmt/base.h>
#include <bcfmt/check.h>
#include <bcfmt/history.h>
#include <bcfmt/make.h>
#include <bcfmt/node.h>
#include <bcfmt/problem.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

BCFMT_BEGIN_DECLS

/*
 * Where output goes. Writers never print elsewhere; the first failed write is kept and told by
 * bcfmt_out_close().
 */
struct bcfmt_out;

enum bcfmt_out_flags {
	BCFMT_OUT_JSON = 1u << 0,  /* JSON Lines; else text */
	BCFMT_OUT_COLOR = 1u << 1, /* text may be coloured */
	BCFMT_OUT_QUIET = 1u << 2, /* text without notes: only problems and the verdict */
	BCFMT_OUT_ALL = (1u << 3) - 1,
};

/* stream is a FILE *, borrowed. program goes into the header object. */
BCFMT_API bcfmt_err bcfmt_out_new(struct bcfmt_ctx *ctx, void *stream, unsigned int flags,
				  struct bcfmt_out **out);
/* Flushes and frees; E_IO when any write failed. NULL is fine. */
BCFMT_API bcfmt_err bcfmt_out_close(struct bcfmt_out *out);
BCFMT_API bool bcfmt_out_is_json(const struct bcfmt_out *out);
/*
 * The first failure so far, which bcfmt_out_close() will return: E_IO, E_NOMEM. After one, text is
 * cut; in JSON objects are missing, but those that are there are whole.
 */
BCFMT_API bcfmt_err bcfmt_out_error(const struct bcfmt_out *out);
/* A line of text; nothing in JSON mode. */
BCFMT_API void bcfmt_out_line(struct bcfmt_out *out, const char *fmt, ...) BCFMT_PRINTF(2, 3);

/*
 * Builds one row that is a text line or a JSON object: begin, fields, end. In text mode a field
 * is printed as label and value by the row's own form; in JSON as key and value.
 */
BCFMT_API void bcfmt_row_begin(struct bcfmt_out *out, const char *kind); /* JSON "kind" */
BCFMT_API void bcfmt_row_u64(struct bcfmt_out *out, const char *key, uint64_t value);
BCFMT_API void bcfmt_row_hex(struct bcfmt_out *out, const char *key, uint64_t value); /* string */
BCFMT_API void bcfmt_row_bool(struct bcfmt_out *out, const char *key, bool value);
BCFMT_API void bcfmt_row_text(struct bcfmt_out *out, const char *key, const char *value);
BCFMT_API void bcfmt_row_uuid(struct bcfmt_out *out, const char *key,
			      const uint8_t uuid[BCFMT_UUID_BYTES]);
/* Fields of a pointer word: dev, cache_sector, bucket, gen; or placeholder. */
BCFMT_API void bcfmt_row_ptr(struct bcfmt_out *out, const struct bcfmt_geometry *geo,
			     uint64_t ptr);
/* Fields of a key: inode, start_sector, end_sector, sectors, dirty, and of its first pointer. */
BCFMT_API void bcfmt_row_key(struct bcfmt_out *out, const struct bcfmt_geometry *geo,
			     const struct bcfmt_key *key);
/* Ends the row: JSON prints the object; text prints "kind key=value key=value". */
BCFMT_API void bcfmt_row_end(struct bcfmt_out *out);

/* First and last object of every --json output; nothing in text mode. */
BCFMT_API void bcfmt_render_header(struct bcfmt_out *out, const char *program,
				   const char *command, const struct bcfmt_set *set);
BCFMT_API void bcfmt_render_summary(struct bcfmt_out *out, const struct bcfmt_report *report,
				    int exit_code);

/* The lines of bcache-super-show, or an object with all fields. */
BCFMT_API void bcfmt_render_super(struct bcfmt_out *out, const char *device,
				  const struct bcfmt_super *super);
/* One finding: "sdb: BC0505 node-bad-csum: bucket 7 sector 896 block 9: message". */
BCFMT_API void bcfmt_render_finding(struct bcfmt_out *out, const struct bcfmt_finding *finding,
				    bool verbose);
/* All findings of a report, grouped, with "and N more". verbose adds kernel and repair lines. */
BCFMT_API void bcfmt_render_report(struct bcfmt_out *out, const struct bcfmt_report *report,
				   bool verbose);
BCFMT_API void bcfmt_render_verdict(struct bcfmt_out *out, const struct bcfmt_set *set,
				    const struct bcfmt_verdict *verdict);
/* --explain: a problem with its kernel effects, or a kernel line. */
BCFMT_API void bcfmt_render_explain(struct bcfmt_out *out, const struct bcfmt_problem *problem);
BCFMT_API void bcfmt_render_explain_line(struct bcfmt_out *out,
					 const struct bcfmt_kernel_line *line);
/* A node in the form of the kernel's bch_dump_bset(), "Key skipped backwards" included (4.10). */
BCFMT_API void bcfmt_render_node_dump(struct bcfmt_out *out, const struct bcfmt_set *set,
				      const struct bcfmt_node_view *view);
#define BCFMT_PLACE_TEXT_BYTES 96u
/* What became of the place that a key points to: "valid: bucket 7 has this gen". Returns out. */
BCFMT_API const char *bcfmt_place_text(const struct bcfmt_set *set, const struct bcfmt_key *key,
				       unsigned int stale, char out[BCFMT_PLACE_TEXT_BYTES]);
/* A key of the past: where it was met, itself, when it was written, what became of its place. */
BCFMT_API void bcfmt_render_past(struct bcfmt_out *out, const struct bcfmt_set *set,
				 const struct bcfmt_past *past);

/*
 * Formatting. The summary is, a device after the other, the lines that make-bcache of bcache-tools
 * prints, or super objects.
 */
BCFMT_API void bcfmt_render_make_summary(struct bcfmt_out *out,
					 const struct bcfmt_make_plan *plan);
/* What is written where: a line or object a step. */
BCFMT_API void bcfmt_render_make_steps(struct bcfmt_out *out, const struct bcfmt_make_plan *plan);
/* One object; nothing in text mode, where issues go to the messages of the program. */
BCFMT_API void bcfmt_render_make_issue(struct bcfmt_out *out,
				       const struct bcfmt_make_issue *issue);
/* What to do next; nothing in JSON mode. */
BCFMT_API void bcfmt_render_make_next(struct bcfmt_out *out, const struct bcfmt_make_plan *plan);
/* "1.5 GiB"; exact bytes below 1 KiB. out holds 32 bytes. */
BCFMT_API const char *bcfmt_bytes_text(uint64_t bytes, char out[32]);

BCFMT_END_DECLS

#endif
