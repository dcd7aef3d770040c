/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds what a line of dmesg means. */
#include <bcfmt/problem.h>

#include <ctype.h>
#include <string.h>

/* Longer lines are cut; no kernel prints as much. */
#define LINE_BYTES   2048u
/* A part of a pattern, pasted alone, must have so many characters to count. */
#define FRAGMENT_MIN 8u
#define CACHING	     ", disabling caching"

static const struct bcfmt_kernel_line lines[] = {
#define KERNEL_LINE(pattern, problem, meaning) { pattern, meaning, BCFMT_P_##problem },
#include <bcfmt/kernel_lines.def>
#undef KERNEL_LINE
};

#define N_LINES (sizeof(lines) / sizeof(lines[0]))

const struct bcfmt_kernel_line *bcfmt_kernel_line_table(size_t *n)
{
	*n = N_LINES;
	return lines;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* A copy with every run of blanks as one space and none at the ends. */
static void squeeze(const char *from, char *out, size_t out_bytes)
{
	size_t n = 0;

	for (; *from && n + 1 < out_bytes; from++) {
		if (!is_blank(*from))
			out[n++] = *from;
		else if (n && out[n - 1] != ' ')
			out[n++] = ' ';
	}
	while (n && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

/*
 * The first place in text, at or after at, where the words stand; NULL for none. Whole words only:
 * what begins with a letter or a digit does not match within a longer word, nor does what ends
 * with one unless a value may follow.
 */
static const char *find_words(const char *text, const char *at, const char *words, size_t n,
			      bool has_value_after)
{
	for (; (at = strstr(at, words)); at++) {
		if (is_word(words[0]) && at > text && is_word(at[-1]))
			continue;
		if (!has_value_after && is_word(words[n - 1]) && is_word(at[n]))
			continue;
		return at;
	}
	return NULL;
}

/*
 * Whether a paste may end like this where the pattern goes on with words: the begin of a value, the
 * value, or the value and some of the words. A value that is cut off has no blanks, and it is the
 * begin of a path, of any, where the words follow it at once.
 */
static bool ends_within(const char *rest, const char *words)
{
	for (; *rest && *rest != ' '; rest++)
		if (!strncmp(words, rest, strlen(rest)))
			return true;
	return !strncmp(words, rest, strlen(rest)) && (*rest || !is_word(words[0]));
}

/*
 * How many fixed characters the pattern has in common with the text; 0 when it does not match.
 * Between fixed words %s stands for anything, so taking the first place of each is enough. A text
 * that may be cut was perhaps not pasted to its end: all of it but a value was understood then.
 */
static size_t match(const char *text, const char *pattern, bool may_be_cut)
{
	char words[LINE_BYTES];
	const char *at = text;
	size_t fixed = 0;

	squeeze(pattern, words, sizeof(words));
	for (char *word = words, *next; word; word = next) {
		const char *found;
		size_t n;

		next = strstr(word, "%s");
		if (next) {
			*next = '\0';
			next += 2;
		}
		n = strlen(word);
		if (!n)
			continue;
		found = find_words(text, at, word, n, next != NULL);
		if (!found && may_be_cut && fixed >= FRAGMENT_MIN && ends_within(at, word))
			return fixed;
		if (!found)
			return 0;
		at = found + n;
		fixed += n;
	}
	return fixed;
}

static const struct bcfmt_kernel_line *find_best(const char *text, bool may_be_cut)
{
	const struct bcfmt_kernel_line *best = NULL;
	size_t best_fixed = 0;

	for (size_t i = 0; i < N_LINES; i++) {
		size_t fixed = match(text, lines[i].pattern, may_be_cut);

		if (fixed > best_fixed) {
			best = &lines[i];
			best_fixed = fixed;
		}
	}
	return best;
}

/*
 * What a cache set stopped for is wrapped in one sentence for all reasons: "error on UUID: REASON,
 * disabling caching". The reason is what counts, however short it is beside the wrapping. NULL
 * when the line has none.
 */
static const char *find_reason(char *text)
{
	char *end = strstr(text, CACHING);
	char *begin = strstr(text, "error on ");

	if (!end || !begin || begin > end)
		return NULL;
	begin = strstr(begin, ": ");
	if (!begin || begin >= end)
		return NULL;
	*end = '\0';
	return begin + 2;
}

/* What stands behind "bcache: bch_function() ", where that is there. */
static const char *without_function(const char *text)
{
	const char *call = strstr(text, "() ");

	return call ? call + 3 : text;
}

/* The shortest pattern of which the text is a part: somebody asks for the words alone. */
static const struct bcfmt_kernel_line *find_fragment(const char *text)
{
	const struct bcfmt_kernel_line *best = NULL;

	if (strlen(text) < FRAGMENT_MIN || strchr(text, '%'))
		return NULL;
	for (size_t i = 0; i < N_LINES; i++) {
		const char *at = strcasestr(lines[i].pattern, text);

		if (!at || (at > lines[i].pattern && is_word(at[-1])) || is_word(at[strlen(text)]))
			continue;
		if (!best || strlen(lines[i].pattern) < strlen(best->pattern))
			best = &lines[i];
	}
	return best;
}

const struct bcfmt_kernel_line *bcfmt_kernel_line_find(const char *dmesg_line)
{
	const struct bcfmt_kernel_line *found;
	const char *reason;
	char whole[LINE_BYTES];
	char inner[LINE_BYTES];

	if (!dmesg_line)
		return NULL;
	squeeze(dmesg_line, whole, sizeof(whole));
	memcpy(inner, whole, strlen(whole) + 1);
	reason = find_reason(inner);
	if (reason) {
		found = find_best(reason, false);
		if (found)
			return found;
	}
	found = find_best(whole, false);
	if (!found)
		found = find_best(whole, true);
	if (!found)
		found = find_fragment(without_function(whole));
	return found;
}
