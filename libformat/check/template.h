/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Message templates: literal text with {name:type} in it. */
#ifndef CHECK_TEMPLATE_H
#define CHECK_TEMPLATE_H

#include <bcfmt/problem.h>

/* A run of literal text and the placeholder behind it. Points into the template. */
struct template_part {
	const char *text;
	size_t text_bytes;
	const char *name; /* not terminated; NULL when the template ends with the text */
	size_t name_bytes;
	enum bcfmt_arg_type type;
};

/*
 * Takes the next part from *at and moves *at behind it. BCFMT_END at the end of the template,
 * BCFMT_E_DAMAGED when a brace stands alone, a name is empty or a type is unknown.
 */
bcfmt_err template_next(const char **at, struct template_part *out);

/* "u64", "hex", "text" */
const char *template_type_name(enum bcfmt_arg_type type);

/*
 * Copies text that came from a disk: control characters, marks that turn the direction of writing
 * and what is no UTF-8 are left out, a character that no longer fits is not begun. Always
 * terminated; out_bytes must not be 0, out may be from. Returns the length.
 */
size_t template_clean_text(const char *from, char *out, size_t out_bytes);

#endif
