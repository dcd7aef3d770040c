/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of a plan: what is written where, in the order that a cut at any point can bear. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "make/make_impl.h"

#define SUPER_END_BYTES (BCFMT_SUPER_OFFSET_BYTES + BCFMT_SUPER_BYTES)

struct range {
	uint64_t begin_bytes;
	uint64_t end_bytes;
};

static struct bcfmt_make_step *add(struct make *mk, enum bcfmt_make_action action, size_t target,
				   struct range range, const char *purpose)
{
	struct bcfmt_make_step *step;

	if (mk->err)
		return NULL;
	step = vec_push(&mk->steps, sizeof(*step));
	if (!step) {
		mk->err = BCFMT_E_NOMEM;
		return NULL;
	}
	*step = (struct bcfmt_make_step){
		.action = action,
		.target = target,
		.offset_bytes = range.begin_bytes,
		.len_bytes = range.end_bytes - range.begin_bytes,
		.purpose = purpose,
	};
	return step;
}

static void add_flush(struct make *mk, size_t target)
{
	(void)add(mk, BCFMT_MAKE_FLUSH, target, (struct range){ 0 }, "flush");
}

/* A write of bytes that the caller fills; NULL when memory is out. */
static uint8_t *add_write(struct make *mk, size_t target, struct range range, const char *purpose)
{
	struct bcfmt_make_step *step = add(mk, BCFMT_MAKE_WRITE, target, range, purpose);

	if (!step)
		return NULL;
	step->bytes = calloc(1, step->len_bytes);
	if (!step->bytes)
		mk->err = BCFMT_E_NOMEM;
	return step->bytes;
}

static struct range journal_range(const struct make *mk, const struct bcfmt_make_target *target)
{
	uint64_t begin_bytes = target->super.first_bucket * mk->bucket_bytes;

	return (struct range){ begin_bytes,
			       begin_bytes + target->journal_buckets * mk->bucket_bytes };
}

static bool is_within(struct range inner, struct range outer)
{
	return inner.begin_bytes >= outer.begin_bytes && inner.end_bytes <= outer.end_bytes;
}

/* Zeros the part of a magic that lies in buf. */
static void zero_magic(const struct bcfmt_signature *signature, struct range range, uint8_t *buf)
{
	uint64_t begin = max_u64(signature->offset_bytes, range.begin_bytes);
	uint64_t end = min_u64(signature->offset_bytes + signature->magic_bytes, range.end_bytes);

	if (begin < end)
		memset(buf + (begin - range.begin_bytes), 0, end - begin);
}

/*
 * Erases the magic and nothing else of its sectors: else there would be two things to recognise
 * on the device, and udev would take it for neither. The sectors may hold another magic as well.
 */
static void add_signature(struct make *mk, size_t target, const struct bcfmt_signature *signature)
{
	const struct bcfmt_make_device *device = mk->devices[target];
	struct range range;
	uint8_t *buf;

	if (mk->err || !signature->magic_bytes)
		return;
	range.begin_bytes = signature->offset_bytes - signature->offset_bytes % BCFMT_SECTOR_BYTES;
	range.end_bytes =
		div_round_up(signature->offset_bytes + signature->magic_bytes, BCFMT_SECTOR_BYTES) *
		BCFMT_SECTOR_BYTES;
	if (is_within(range, (struct range){ 0, SUPER_END_BYTES }) ||
	    is_within(range, journal_range(mk, &mk->plan->targets[target])) ||
	    range.end_bytes > bcfmt_dev_bytes(device->dev))
		return;
	buf = add_write(mk, target, range, "signature");
	if (!buf)
		return;
	mk->err = bcfmt_dev_read(device->dev, range.begin_bytes, buf,
				 range.end_bytes - range.begin_bytes);
	for (size_t i = 0; i < device->n_signatures; i++)
		zero_magic(&device->signatures[i], range, buf);
	if (range.begin_bytes < SUPER_END_BYTES)
		memset(buf, 0, SUPER_END_BYTES - range.begin_bytes);
}

void make_steps(struct make *mk, size_t i)
{
	const struct range head = { 0, SUPER_END_BYTES };
	const struct range super = { BCFMT_SUPER_OFFSET_BYTES, SUPER_END_BYTES };
	const struct bcfmt_make_target *target = &mk->plan->targets[i];
	const struct bcfmt_make_device *device = mk->devices[i];
	uint8_t *block;
	size_t n;

	(void)add(mk, BCFMT_MAKE_ZERO, i, head, "start of the device");
	add_flush(mk, i);
	n = mk->steps.n;
	if (!target->is_backing && target->is_block_device && mk->params->is_discard &&
	    mk->params->may_discard)
		(void)add(mk, BCFMT_MAKE_DISCARD, i,
			  (struct range){ SUPER_END_BYTES, bcfmt_dev_bytes(target->dev) },
			  "old data");
	for (size_t j = 0; mk->params->may_overwrite && j < device->n_signatures; j++)
		add_signature(mk, i, &device->signatures[j]);
	if (!target->is_backing)
		(void)add(mk, BCFMT_MAKE_ZERO, i, journal_range(mk, target), "journal");
	if (mk->steps.n > n)
		add_flush(mk, i);
	block = add_write(mk, i, super, "superblock");
	if (block)
		make_super(mk, i, block);
	add_flush(mk, i);
}
