/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes an image file. One chunk is filled while threads pack those before it; blocks go out in
 * the order in which they were filled, so the file does not depend on the number of threads.
 */
#include "image/writer_impl.h"

#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>

#include "base/checked.h"
#include "ondisk/image.h"

#define HEADER_BYTES sizeof(struct image_block_disk)

/* ---- blocks ------------------------------------------------------------------------------- */

static bcfmt_err put(struct image_writer *writer, const void *bytes, size_t len_bytes)
{
	bcfmt_err err = len_bytes ? writer->write(writer->arg, bytes, len_bytes) : BCFMT_OK;

	if (!err)
		writer->offset_bytes += len_bytes;
	return err;
}

static bcfmt_err put_zeros(struct image_writer *writer, size_t align_bytes, size_t behind_bytes)
{
	static const uint8_t zeros[DISK_IMAGE_FILE_ALIGN];
	uint64_t end = writer->offset_bytes + behind_bytes;

	return put(writer, zeros, (size_t)(div_round_up(end, align_bytes) * align_bytes - end));
}

static void seal(struct image_writer *writer, struct image_block_disk *header, const void *stored,
		 uint32_t stored_bytes)
{
	memcpy(header->magic, DISK_IMAGE_MAGIC, sizeof(header->magic));
	le64_set(&header->stored_csum, bcfmt_crc64(stored, stored_bytes));
	le32_set(&header->stored_bytes, stored_bytes);
	le32_set(&header->id, writer->id);
	le64_set(&header->csum, bcfmt_crc64((const uint8_t *)header + 16, sizeof(*header) - 16));
}

static bcfmt_err put_block(struct image_writer *writer, struct image_block_disk *header,
			   const void *stored, uint32_t stored_bytes)
{
	bcfmt_err err;

	seal(writer, header, stored, stored_bytes);
	err = put(writer, header, sizeof(*header));
	if (!err)
		err = put(writer, stored, stored_bytes);
	return err ? err : put_zeros(writer, DISK_IMAGE_ALIGN, 0);
}

/* A block that the index tells of. */
static bcfmt_err put_numbered(struct image_writer *writer, struct image_block_disk *header,
			      const void *stored, uint32_t stored_bytes)
{
	uint32_t number = (uint32_t)writer->index.n;
	struct image_index_disk *entry;

	if (number >= DISK_IMAGE_NUMBERED_MAX)
		return bcfmt_fail(writer->ctx, BCFMT_E_UNSUPPORTED,
				  "more metadata than an image can hold");
	entry = vec_push(&writer->index, sizeof(*entry));
	if (!entry)
		return BCFMT_E_NOMEM;
	le32_set(&header->number, number);
	le64_set(&entry->file_offset, writer->offset_bytes);
	le64_set(&entry->stored_csum, bcfmt_crc64(stored, stored_bytes));
	entry->first_byte = header->first_byte;
	entry->end_byte = header->end_byte;
	le32_set(&entry->stored_bytes, stored_bytes);
	entry->content_bytes = header->content_bytes;
	le32_set(&entry->number, number);
	entry->member = header->member;
	entry->kind = (uint8_t)le32_get(&header->kind);
	entry->method = header->method;
	return put_block(writer, header, stored, stored_bytes);
}

static bcfmt_err put_head(struct image_writer *writer)
{
	struct image_block_disk header = { 0 };

	le32_set(&header.kind, DISK_IMAGE_HEAD);
	le32_set(&header.number, (uint32_t)writer->index.n);
	return put_block(writer, &header, writer->head, writer->head_bytes);
}

static bcfmt_err make_head(struct image_writer *writer, const struct image_writer_head *from)
{
	struct image_head_disk *head;
	struct image_member_disk *member;

	if (!from->n_members || from->n_members > DISK_IMAGE_MEMBERS_MAX)
		return bcfmt_fail(writer->ctx, BCFMT_E_ARG, "an image holds 1 to %u devices",
				  DISK_IMAGE_MEMBERS_MAX);
	writer->head_bytes = (uint32_t)(sizeof(*head) + from->n_members * sizeof(*member));
	writer->head = calloc(1, writer->head_bytes);
	if (!writer->head)
		return BCFMT_E_NOMEM;
	head = (struct image_head_disk *)writer->head;
	le32_set(&head->version, DISK_IMAGE_VERSION);
	le32_set(&head->flags, from->is_scrubbed ? DISK_IMAGE_FLAG_SCRUBBED : 0);
	le32_set(&head->n_members, (uint32_t)from->n_members);
	le32_set(&head->member_bytes, sizeof(*member));
	le64_set(&head->stamp, from->stamp);
	member = (struct image_member_disk *)(head + 1);
	for (size_t i = 0; i < from->n_members; i++, member++) {
		const struct image_writer_member *m = &from->members[i];

		le64_set(&member->bytes, m->bytes);
		le32_set(&member->logical_block_bytes, m->logical_block_bytes);
		le16_set(&member->role, m->is_cache ? DISK_IMAGE_CACHE : DISK_IMAGE_BACKING);
		le16_set(&member->flags, m->was_in_use ? DISK_IMAGE_MEMBER_IN_USE : 0);
		memcpy(member->name, m->source,
		       min_u64(strlen(m->source), sizeof(member->name) - 1));
	}
	writer->id = (uint32_t)bcfmt_crc64(writer->head, writer->head_bytes);
	return BCFMT_OK;
}

/* ---- packing ------------------------------------------------------------------------------ */

static void pack(struct job *job, struct image_packer *packer)
{
	job->err = packer ? image_chunk_pack(packer, &job->chunk, job->stored, &job->stored_bytes,
					     &job->method)
			  : BCFMT_E_NOMEM;
}

static void *pack_jobs(void *arg)
{
	struct image_writer *writer = arg;
	struct image_packer *packer = image_packer_new();

	pthread_mutex_lock(&writer->lock);
	for (;;) {
		struct job *job = &writer->jobs[writer->next];

		if (job->state == JOB_READY) {
			job->state = JOB_TAKEN;
			writer->next = (writer->next + 1) % writer->n_jobs;
			pthread_mutex_unlock(&writer->lock);
			pack(job, packer);
			pthread_mutex_lock(&writer->lock);
			job->state = JOB_DONE;
			pthread_cond_broadcast(&writer->changed);
		} else if (writer->is_ending) {
			break;
		} else {
			pthread_cond_wait(&writer->changed, &writer->lock);
		}
	}
	pthread_mutex_unlock(&writer->lock);
	image_packer_free(packer);
	return NULL;
}

static bcfmt_err put_chunk(struct image_writer *writer, struct job *job)
{
	struct image_block_disk header = { 0 };

	if (job->err)
		return bcfmt_fail(writer->ctx, job->err, "no memory to pack a chunk");
	le32_set(&header.kind, DISK_IMAGE_CHUNK);
	le32_set(&header.content_bytes, job->chunk.content_bytes);
	le64_set(&header.first_byte, job->chunk.first_byte);
	le64_set(&header.end_byte, job->chunk.end_byte);
	le16_set(&header.member, job->member);
	header.method = job->method;
	return put_numbered(writer, &header, job->stored, job->stored_bytes);
}

/* The state of the oldest chunk; waits while it is packed, if asked to. */
static enum job_state oldest_state(struct image_writer *writer, bool is_waiting)
{
	const struct job *job = &writer->jobs[writer->oldest];
	enum job_state state;

	pthread_mutex_lock(&writer->lock);
	while (is_waiting && (job->state == JOB_READY || job->state == JOB_TAKEN))
		pthread_cond_wait(&writer->changed, &writer->lock);
	state = job->state;
	pthread_mutex_unlock(&writer->lock);
	return state;
}

/* Writes chunks that are packed, in order: all there are, or until there is one to be filled. */
static bcfmt_err drain(struct image_writer *writer, bool is_all)
{
	bcfmt_err err = BCFMT_OK;

	while (!err &&
	       oldest_state(writer, is_all || writer->oldest == writer->filling) == JOB_DONE) {
		struct job *job = &writer->jobs[writer->oldest];

		err = put_chunk(writer, job);
		job->chunk.n_extents = 0;
		job->chunk.content_bytes = 0;
		pthread_mutex_lock(&writer->lock);
		job->state = JOB_FREE;
		pthread_mutex_unlock(&writer->lock);
		writer->oldest = (writer->oldest + 1) % writer->n_jobs;
	}
	return err;
}

bcfmt_err writer_flush(struct image_writer *writer)
{
	struct job *job = &writer->jobs[writer->filling];

	if (!job->chunk.n_extents)
		return BCFMT_OK;
	if (bcfmt_ctx_is_cancelled(writer->ctx))
		return BCFMT_E_CANCELLED;
	job->member = writer->member;
	if (!writer->n_threads)
		pack(job, writer->packer);
	pthread_mutex_lock(&writer->lock);
	job->state = writer->n_threads ? JOB_READY : JOB_DONE;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
	writer->filling = (writer->filling + 1) % writer->n_jobs;
	return drain(writer, false);
}

bcfmt_err image_writer_begin(struct image_writer *writer, uint16_t member)
{
	bcfmt_err err;

	writer_cover_close(writer);
	err = writer_flush(writer);
	writer->member = member;
	writer->position = 0;
	return err;
}

static bcfmt_err put_holes(struct image_writer *writer, const struct image_hole_disk *holes,
			   size_t n)
{
	struct image_block_disk header = { 0 };
	const struct image_hole_disk *last = holes + n - 1;

	le32_set(&header.kind, DISK_IMAGE_HOLES);
	le64_set(&header.first_byte, le64_get(&holes->first_sector) * BCFMT_SECTOR_BYTES);
	le64_set(&header.end_byte,
		 (le64_get(&last->first_sector) + le64_get(&last->sectors)) * BCFMT_SECTOR_BYTES);
	le16_set(&header.member, writer->member);
	return put_numbered(writer, &header, holes, (uint32_t)(n * sizeof(*holes)));
}

bcfmt_err image_writer_holes(struct image_writer *writer, const struct range_map *bad)
{
	struct image_hole_disk *holes = NULL;
	struct range range = { 0 };
	size_t n = 0;
	bcfmt_err err;

	writer_cover_close(writer);
	err = writer_flush(writer);
	if (!err)
		err = drain(writer, true);
	if (!err)
		holes = calloc(DISK_IMAGE_HOLES_MAX, sizeof(*holes));
	if (!err && !holes)
		err = bcfmt_fail(writer->ctx, BCFMT_E_NOMEM, "no memory for the holes");
	while (!err && range_map_at(bad, range.end, &range)) {
		uint64_t first = range.start / BCFMT_SECTOR_BYTES;
		uint64_t end = range.end / BCFMT_SECTOR_BYTES;

		if (n && le64_get(&holes[n - 1].first_sector) + le64_get(&holes[n - 1].sectors) ==
				 first) {
			le64_set(&holes[n - 1].sectors, end - le64_get(&holes[n - 1].first_sector));
			continue;
		}
		if (n == DISK_IMAGE_HOLES_MAX) {
			err = put_holes(writer, holes, n);
			n = 0;
		}
		le64_set(&holes[n].first_sector, first);
		le64_set(&holes[n++].sectors, end - first);
	}
	if (!err && n)
		err = put_holes(writer, holes, n);
	free(holes);
	return err;
}

/* ---- begin and end ------------------------------------------------------------------------ */

static bcfmt_err make_jobs(struct image_writer *writer)
{
	unsigned int wanted = bcfmt_ctx_threads(writer->ctx);

	wanted = wanted < WRITER_THREADS_MAX ? wanted : WRITER_THREADS_MAX;
	writer->jobs = calloc(wanted + 2, sizeof(*writer->jobs));
	if (!writer->jobs)
		return BCFMT_E_NOMEM;
	writer->n_jobs = wanted + 2;
	for (size_t i = 0; i < writer->n_jobs; i++) {
		writer->jobs[i].stored = malloc(DISK_IMAGE_STORED_MAX);
		if (!writer->jobs[i].stored || image_chunk_init(&writer->jobs[i].chunk))
			return BCFMT_E_NOMEM;
	}
	/* A thread that cannot be had is no error: fewer, or the caller's own, do the work. */
	while (wanted > 1 && writer->n_threads < wanted &&
	       !pthread_create(&writer->threads[writer->n_threads], NULL, pack_jobs, writer))
		writer->n_threads++;
	if (!writer->n_threads)
		writer->packer = image_packer_new();
	return writer->n_threads || writer->packer ? BCFMT_OK : BCFMT_E_NOMEM;
}

bcfmt_err image_writer_new(struct bcfmt_ctx *ctx, const struct image_writer_head *head,
			   bcfmt_image_write_fn write, void *arg, struct image_writer **out)
{
	struct image_writer *writer = calloc(1, sizeof(*writer));
	bcfmt_err err;

	*out = NULL;
	if (!writer)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for an image");
	writer->ctx = ctx;
	writer->write = write;
	writer->arg = arg;
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->changed, NULL);
	err = make_head(writer, head);
	if (!err)
		err = make_jobs(writer);
	if (err == BCFMT_E_NOMEM)
		err = bcfmt_fail(ctx, err, "no memory for an image");
	if (!err)
		err = put_head(writer);
	*out = writer;
	return err;
}

bcfmt_err image_writer_finish(struct image_writer *writer)
{
	struct image_block_disk index = { 0 }, end = { 0 };
	uint64_t index_at;
	bcfmt_err err;

	writer_cover_close(writer);
	err = writer_flush(writer);
	if (!err)
		err = drain(writer, true);
	le64_set(&index.first_byte, writer->offset_bytes);
	if (!err)
		err = put_head(writer);
	index_at = writer->offset_bytes;
	le32_set(&index.kind, DISK_IMAGE_INDEX);
	le32_set(&index.number, (uint32_t)writer->index.n);
	if (!err)
		err = put_block(writer, &index, writer->index.items,
				(uint32_t)(writer->index.n * sizeof(struct image_index_disk)));
	if (!err)
		err = put_zeros(writer, DISK_IMAGE_FILE_ALIGN, HEADER_BYTES);
	le32_set(&end.kind, DISK_IMAGE_END);
	le32_set(&end.number, (uint32_t)writer->index.n);
	le64_set(&end.first_byte, index_at);
	le64_set(&end.end_byte, writer->offset_bytes + HEADER_BYTES);
	return err ? err : put_block(writer, &end, NULL, 0);
}

uint64_t image_writer_bytes(const struct image_writer *writer)
{
	return writer->offset_bytes;
}

uint64_t image_writer_content(const struct image_writer *writer)
{
	return writer->content_bytes;
}

void image_writer_free(struct image_writer *writer)
{
	if (!writer)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->is_ending = true;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
	for (unsigned int i = 0; i < writer->n_threads; i++)
		pthread_join(writer->threads[i], NULL);
	for (size_t i = 0; i < writer->n_jobs; i++) {
		image_chunk_clear(&writer->jobs[i].chunk);
		free(writer->jobs[i].stored);
	}
	pthread_cond_destroy(&writer->changed);
	pthread_mutex_destroy(&writer->lock);
	image_packer_free(writer->packer);
	vec_free(&writer->index);
	free(writer->jobs);
	free(writer->head);
	free(writer);
}
