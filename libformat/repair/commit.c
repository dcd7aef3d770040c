/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the overlays to devices: the list of writes, what they overwrite, the writes, copies. */
#include <stdlib.h>

#include "base/checked.h"
#include "repair/repair_impl.h"

#define PIECE_BYTES (1u << 20)

static const char *purpose_of(unsigned int phase)
{
	static const char *const names[BCFMT_REPAIR_PHASES] = { "journal entry that makes room",
								"new buckets", "prio sets",
								"journal entry", "superblock" };

	return names[phase];
}

bcfmt_err bcfmt_repair_writes(const struct bcfmt_repair_run *repair, bcfmt_repair_write_fn told,
			      void *arg)
{
	for (unsigned int phase = 0; phase < BCFMT_REPAIR_PHASES; phase++) {
		for (size_t i = 0; i < repair->n_members; i++) {
			const struct repair_member *member = &repair->members[i];
			uint64_t begin, end = 0;
			bcfmt_err err;

			while ((err = bcfmt_dev_overlay_next(member->phase[phase], end, &begin,
							     &end)) == BCFMT_OK) {
				struct bcfmt_repair_write write = { member->dev, begin, end - begin,
								    phase, purpose_of(phase) };

				err = told(arg, &write);
				if (err)
					return err;
			}
			if (err != BCFMT_END)
				return err;
		}
	}
	return BCFMT_OK;
}

struct save {
	const struct bcfmt_repair_run *repair;
	struct bcfmt_undo *undo;
	uint8_t *buf;
};

static struct bcfmt_dev *overlay_of(const struct bcfmt_repair_run *repair,
				    const struct bcfmt_repair_write *write)
{
	for (size_t i = 0; i < repair->n_members; i++)
		if (repair->members[i].dev == write->dev)
			return repair->members[i].phase[write->phase];
	return NULL;
}

static bcfmt_err save_range(void *arg, const struct bcfmt_repair_write *write)
{
	struct save *save = arg;
	struct bcfmt_dev *overlay = overlay_of(save->repair, write);
	uint64_t end = write->offset_bytes + write->len_bytes, at = write->offset_bytes;
	unsigned int index;
	bcfmt_err err = bcfmt_undo_add_device(save->undo, write->dev, &index);

	while (!err && at < end) {
		uint64_t len = min_u64(end - at, PIECE_BYTES);

		if (bcfmt_ctx_is_cancelled(save->repair->ctx))
			return BCFMT_E_CANCELLED;
		err = bcfmt_dev_read(overlay, at, save->buf, len);
		if (!err)
			err = bcfmt_undo_save(save->undo, index, at, save->buf, len);
		at += len;
	}
	return err;
}

bcfmt_err bcfmt_repair_save(const struct bcfmt_repair_run *repair, struct bcfmt_undo *undo)
{
	struct save save = { .repair = repair, .undo = undo, .buf = malloc(PIECE_BYTES) };
	unsigned int index;
	bcfmt_err err = BCFMT_OK;

	if (!save.buf)
		return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "out of memory to save");
	/* Those that nothing is written to as well: they are given again when it is put back. */
	for (size_t i = 0; !err && i < repair->n_members; i++)
		err = bcfmt_undo_add_device(undo, repair->members[i].dev, &index);
	if (!err)
		err = bcfmt_repair_writes(repair, save_range, &save);
	free(save.buf);
	return err ? err : bcfmt_undo_sync(undo);
}

static bcfmt_err check_writable(void *arg, const struct bcfmt_repair_write *write)
{
	const struct bcfmt_repair_run *repair = arg;

	if (bcfmt_dev_is_writable(write->dev))
		return BCFMT_OK;
	return bcfmt_fail(repair->ctx, BCFMT_E_ARG, "%s: opened for reading only",
			  bcfmt_dev_name(write->dev));
}

bcfmt_err bcfmt_repair_commit(struct bcfmt_repair_run *repair)
{
	bcfmt_err err = BCFMT_OK;

	if (repair->result != BCFMT_REHEARSAL_READY)
		return bcfmt_fail(repair->ctx, BCFMT_E_ARG, "there is nothing to commit");
	err = bcfmt_repair_writes(repair, check_writable, repair);
	for (unsigned int phase = 0; !err && phase < BCFMT_REPAIR_PHASES; phase++)
		for (size_t i = 0; !err && i < repair->n_members; i++)
			err = bcfmt_dev_overlay_commit(repair->members[i].phase[phase],
						       repair->members[i].dev);
	return err;
}

bcfmt_err bcfmt_repair_copy(struct bcfmt_repair_run *repair, size_t i, struct bcfmt_dev *to,
			    struct bcfmt_bad_read *bad)
{
	bcfmt_err err;

	*bad = (struct bcfmt_bad_read){ 0 };
	if (i >= repair->n_members || repair->result == BCFMT_REHEARSAL_REJECTED ||
	    repair->result == BCFMT_REHEARSAL_MORE)
		return bcfmt_fail(repair->ctx, BCFMT_E_ARG, "there is nothing to copy");
	err = bcfmt_dev_copy(repair->members[i].dev, to, bad);
	if (repair->result != BCFMT_REHEARSAL_READY)
		return err;
	for (unsigned int phase = 0; !err && phase < BCFMT_REPAIR_PHASES; phase++)
		err = bcfmt_dev_overlay_commit(repair->members[i].phase[phase], to);
	return err;
}
