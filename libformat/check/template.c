/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads message templates and fills them in. */
#include "check/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	enum bcfmt_arg_type type;
} types[] = {
	{ "u64", BCFMT_ARG_U64 },   { "sector", BCFMT_ARG_U64 }, { "sectors", BCFMT_ARG_U64 },
	{ "bytes", BCFMT_ARG_U64 }, { "bucket", BCFMT_ARG_U64 }, { "seq", BCFMT_ARG_U64 },
	{ "gen", BCFMT_ARG_U64 },   { "hex", BCFMT_ARG_HEX },	 { "text", BCFMT_ARG_TEXT },
};

static bool find_type(const char *name, size_t name_bytes, enum bcfmt_arg_type *out)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strlen(types[i].name) == name_bytes &&
		    !memcmp(types[i].name, name, name_bytes)) {
			*out = types[i].type;
			return true;
		}
	}
	return false;
}

const char *template_type_name(enum bcfmt_arg_type type)
{
	return type == BCFMT_ARG_TEXT ? "text" : type == BCFMT_ARG_HEX ? "hex" : "u64";
}

bcfmt_err template_next(const char **at, struct template_part *out)
{
	const char *text = *at;
	const char *colon;
	const char *end;

	*out = (struct template_part){ .text = text, .text_bytes = strcspn(text, "{}") };
	if (!*text)
		return BCFMT_END;
	text += out->text_bytes;
	if (!*text) {
		*at = text;
		return BCFMT_OK;
	}
	if (*text != '{')
		return BCFMT_E_DAMAGED;
	out->name = text + 1;
	end = out->name + strcspn(out->name, "{}");
	colon = memchr(out->name, ':', (size_t)(end - out->name));
	if (*end != '}' || !colon || colon == out->name)
		return BCFMT_E_DAMAGED;
	out->name_bytes = (size_t)(colon - out->name);
	if (!find_type(colon + 1, (size_t)(end - colon - 1), &out->type))
		return BCFMT_E_DAMAGED;
	*at = end + 1;
	return BCFMT_OK;
}

/* Bytes of the UTF-8 character at text and its code point; 0 when there is none. */
static size_t decode_utf8(const unsigned char *text, uint32_t *code)
{
	static const uint32_t first_code[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n;

	if (text[0] < 0x80) {
		*code = text[0];
		return 1;
	}
	n = text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : text[0] >> 3 == 30 ? 4 : 0;
	if (!n)
		return 0;
	*code = text[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (text[i] >> 6 != 2) /* the end of the text fails here too */
			return 0;
		*code = *code << 6 | (text[i] & 0x3f);
	}
	if (*code < first_code[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

/* Would change more on a terminal than the place where it stands. */
static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x200e || code == 0x200f ||
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
	       code == 0xfeff;
}

size_t template_clean_text(const char *from, char *out, size_t out_bytes)
{
	const unsigned char *text = (const unsigned char *)from;
	size_t used = 0;
	uint32_t code = 0;

	while (*text) {
		size_t n = decode_utf8(text, &code);

		if (!n) {
			text++;
			continue;
		}
		if (!is_control(code)) {
			if (used + n >= out_bytes)
				break;
			memmove(out + used, text, n); /* from may be out */
			used += n;
		}
		text += n;
	}
	out[used] = '\0';
	return used;
}

static const struct bcfmt_arg *find_arg(const struct bcfmt_finding *finding,
					const struct template_part *part)
{
	for (uint32_t i = 0; i < finding->n_args && i < BCFMT_FINDING_ARGS; i++) {
		const char *name = finding->args[i].name;

		if (strlen(name) == part->name_bytes && !memcmp(name, part->name, part->name_bytes))
			return &finding->args[i];
	}
	return NULL;
}

static void put(char *out, size_t out_bytes, size_t *used, const char *text, size_t text_bytes)
{
	size_t room = out_bytes - 1 - *used;

	if (text_bytes > room)
		text_bytes = room;
	memcpy(out + *used, text, text_bytes);
	*used += text_bytes;
}

static void put_arg(char *out, size_t out_bytes, size_t *used, const struct bcfmt_arg *arg)
{
	char text[BCFMT_FINDING_TEXT_BYTES];

	if (arg->type == BCFMT_ARG_HEX)
		snprintf(text, sizeof(text), "0x%016" PRIx64, arg->u64);
	else if (arg->type == BCFMT_ARG_U64)
		snprintf(text, sizeof(text), "%" PRIu64, arg->u64);
	else
		template_clean_text(arg->text ? arg->text : "", text, sizeof(text));
	put(out, out_bytes, used, text, strlen(text));
}

size_t bcfmt_finding_message(const struct bcfmt_finding *finding, char *out, size_t out_bytes)
{
	const char *at = finding->problem->message;
	struct template_part part;
	size_t used = 0;

	if (!out_bytes)
		return 0;
	while (template_next(&at, &part) == BCFMT_OK) {
		const struct bcfmt_arg *arg;

		put(out, out_bytes, &used, part.text, part.text_bytes);
		if (!part.name)
			continue;
		arg = find_arg(finding, &part);
		if (arg)
			put_arg(out, out_bytes, &used, arg);
		else
			put(out, out_bytes, &used, "?", 1);
	}
	out[used] = '\0';
	/* A character that was cut in two goes altogether. */
	return template_clean_text(out, out, out_bytes);
}
