/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A read-only file system of the volumes of a set, by FUSE. Its root holds one file a volume, and
 * nothing of it ever changes, so the kernel may keep what it was told.
 */
#include "mount_fs.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/progress.h"
#include "mount_read.h"

#define FILE_MODE (S_IFREG | 0444)
#define ROOT_MODE (S_IFDIR | 0555)
/* File i of the set; 1 is the root. */
#define INO_FIRST 2u
#define KEEP_SECONDS 86400.0
#define BLOCK_BYTES 4096u
#define READ_AHEAD_KIB 512u

struct mount_fs {
	struct dump *d;
	const struct mount_files *files;
	struct fuse_session *session;
	struct read_pool pool;
	unsigned int major, minor; /* of what is mounted */
	bool has_read_ahead;	   /* atomic: it was tried */
};

static struct mount_fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* NULL for the root and for what is not there. */
static const struct mount_file *file_of(fuse_req_t req, fuse_ino_t ino)
{
	const struct mount_files *files = fs_of(req)->files;

	return ino >= INO_FIRST && ino - INO_FIRST < files->n ? &files->at[ino - INO_FIRST] : NULL;
}

static uint64_t file_bytes(const struct mount_file *file)
{
	return file->volume.sectors * BCFMT_SECTOR_BYTES;
}

static void fill_stat(const struct mount_fs *fs, fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){ .st_ino = ino, .st_uid = getuid(), .st_gid = getgid() };
	if (ino < INO_FIRST) {
		st->st_mode = ROOT_MODE;
		st->st_nlink = 2;
		for (size_t i = 0; i < fs->files->n; i++)
			if (fs->files->at[i].changed > st->st_mtime)
				st->st_mtime = fs->files->at[i].changed;
	} else {
		const struct mount_file *file = &fs->files->at[ino - INO_FIRST];

		st->st_mode = FILE_MODE;
		st->st_nlink = 1;
		st->st_size = (off_t)file_bytes(file);
		st->st_blocks = (blkcnt_t)file->volume.sectors;
		st->st_blksize = BLOCK_BYTES;
		st->st_mtime = file->changed;
	}
	st->st_atime = st->st_ctime = st->st_mtime;
}

static void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct mount_fs *fs = fs_of(req);
	struct fuse_entry_param entry = { .attr_timeout = KEEP_SECONDS,
					  .entry_timeout = KEEP_SECONDS };

	for (size_t i = 0; parent == FUSE_ROOT_ID && i < fs->files->n && !entry.ino; i++)
		if (!strcmp(fs->files->at[i].name, name))
			entry.ino = INO_FIRST + i;
	/* Number 0 says that there is no such name, and may be kept like all else. */
	if (entry.ino)
		fill_stat(fs, entry.ino, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct stat st;

	(void)info;
	if (ino != FUSE_ROOT_ID && !file_of(req, ino)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(fs_of(req), ino, &st);
	fuse_reply_attr(req, &st, KEEP_SECONDS);
}

static void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		       struct fuse_file_info *info)
{
	const struct mount_fs *fs = fs_of(req);
	size_t used = 0, last = fs->files->n + 2;
	char *buf;

	(void)info;
	if (ino != FUSE_ROOT_ID) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	buf = malloc(size ? size : 1);
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (size_t i = offset > 0 ? (size_t)offset : 0; i < last; i++) {
		const char *name = i == 0 ? "." : i == 1 ? ".." : fs->files->at[i - 2].name;
		struct stat st;
		size_t need;

		fill_stat(fs, i < 2 ? FUSE_ROOT_ID : INO_FIRST + (i - 2), &st);
		need = fuse_add_direntry(req, buf + used, size - used, name, &st, (off_t)i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

/*
 * Most kernels read FUSE ahead by 128 KiB, which costs a change of processes each. Who may not set
 * it does without. Not before the kernel has begun: it would set it back.
 */
static void widen_read_ahead(struct mount_fs *fs)
{
	char path[64];
	FILE *file;

	if (__atomic_exchange_n(&fs->has_read_ahead, true, __ATOMIC_RELAXED) ||
	    (!fs->major && !fs->minor))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", fs->major, fs->minor);
	file = fopen(path, "we");
	if (!file)
		return;
	fprintf(file, "%u\n", READ_AHEAD_KIB);
	fclose(file);
}

static void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	if (!file_of(req, ino)) {
		fuse_reply_err(req, ino == FUSE_ROOT_ID ? EISDIR : ENOENT);
		return;
	}
	if ((info->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	widen_read_ahead(fs_of(req));
	info->keep_cache = 1;
	fuse_reply_open(req, info);
}

/* ---- reading ---- */

static void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *info)
{
	const struct mount_file *file = file_of(req, ino);
	uint64_t from = (uint64_t)offset;

	(void)info;
	if (!file || offset < 0)
		fuse_reply_err(req, file ? EINVAL : ENOENT);
	else if (!size || from >= file_bytes(file))
		fuse_reply_buf(req, NULL, 0);
	else
		mount_read(&fs_of(req)->pool, req, file, from,
			   size < file_bytes(file) - from ? size
							  : (size_t)(file_bytes(file) - from));
}

/* Where data begins, or a hole, at or after the offset. */
static bcfmt_err seek(const struct mount_file *file, uint64_t offset, bool for_hole, uint64_t *out)
{
	uint64_t at = offset / BCFMT_SECTOR_BYTES, begin, end;
	bcfmt_err err = bcfmt_volume_next_data(file->reader, at, &begin, &end);

	/* Runs can follow each other without a hole between them. */
	while (!err && for_hole && begin == at) {
		at = end;
		err = bcfmt_volume_next_data(file->reader, at, &begin, &end);
	}
	*out = (for_hole ? at : begin) * BCFMT_SECTOR_BYTES;
	if (*out < offset)
		*out = offset;
	return for_hole && err == BCFMT_END ? BCFMT_OK : err;
}

static void fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
		     struct fuse_file_info *info)
{
	const struct mount_file *file = file_of(req, ino);
	uint64_t found = 0;
	bcfmt_err err;

	(void)info;
	if (!file || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (offset < 0 || (uint64_t)offset >= file_bytes(file)) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	err = seek(file, (uint64_t)offset, whence == SEEK_HOLE, &found);
	if (err)
		fuse_reply_err(req, err == BCFMT_END ? ENXIO : mount_errno(err));
	else
		fuse_reply_lseek(req, (off_t)found);
}

static void fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct mount_fs *fs = fs_of(req);
	struct statvfs st = {
		.f_bsize = BLOCK_BYTES,
		.f_frsize = BCFMT_SECTOR_BYTES,
		.f_files = fs->files->n + 1,
		.f_namemax = NAME_MAX,
	};

	(void)ino;
	for (size_t i = 0; i < fs->files->n; i++)
		st.f_blocks += fs->files->at[i].volume.sectors;
	fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ---- */

enum attribute { ATTR_INODE, ATTR_UUID, ATTR_LOST, ATTR_DOUBTFUL, ATTR_COUNT };
static const char *const attributes[ATTR_COUNT] = {
	[ATTR_INODE] = "user.bcache.inode",
	[ATTR_UUID] = "user.bcache.uuid",
	[ATTR_LOST] = "user.bcache.lost",
	[ATTR_DOUBTFUL] = "user.bcache.doubtful",
};
#define ATTR_TEXT_BYTES 64u

/* The value of an attribute, in text where it has to be made; NULL when the file has it not. */
static const char *attribute_value(const struct mount_file *file, enum attribute attribute,
				   char text[ATTR_TEXT_BYTES])
{
	switch (attribute) {
	case ATTR_INODE:
		snprintf(text, ATTR_TEXT_BYTES, "%" PRIu32, file->volume.inode);
		return text;
	case ATTR_UUID:
		if (!file->volume.entry)
			return NULL;
		bcfmt_uuid_text(file->volume.entry->uuid, text);
		return text;
	case ATTR_LOST:
		return file->lost;
	case ATTR_DOUBTFUL:
		return file->doubtful;
	case ATTR_COUNT:
		break;
	}
	return NULL;
}

/* size 0 asks how long the answer is. */
static void reply_attribute(fuse_req_t req, const char *value, size_t len, size_t size)
{
	if (!size)
		fuse_reply_xattr(req, len);
	else if (len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

static void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	const struct mount_file *file = file_of(req, ino);
	const char *value = NULL;
	char text[ATTR_TEXT_BYTES];

	for (unsigned int i = 0; file && i < ATTR_COUNT && !value; i++)
		if (!strcmp(attributes[i], name))
			value = attribute_value(file, (enum attribute)i, text);
	if (value)
		reply_attribute(req, value, strlen(value), size);
	else
		fuse_reply_err(req, ENODATA);
}

static void fs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	const struct mount_file *file = file_of(req, ino);
	char list[ATTR_COUNT * ATTR_TEXT_BYTES], text[ATTR_TEXT_BYTES];
	size_t len = 0;

	for (unsigned int i = 0; file && i < ATTR_COUNT; i++) {
		size_t name_len = strlen(attributes[i]) + 1;

		if (!attribute_value(file, (enum attribute)i, text))
			continue;
		memcpy(list + len, attributes[i], name_len);
		len += name_len;
	}
	reply_attribute(req, list, len, size);
}

static void fs_init(void *arg, struct fuse_conn_info *conn)
{
	(void)arg;
	conn->want |= conn->capable & FUSE_CAP_SPLICE_WRITE;
}

static const struct fuse_lowlevel_ops operations = {
	.init = fs_init,
	.lookup = fs_lookup,
	.getattr = fs_getattr,
	.readdir = fs_readdir,
	.open = fs_open,
	.read = fs_read,
	.lseek = fs_lseek,
	.statfs = fs_statfs,
	.getxattr = fs_getxattr,
	.listxattr = fs_listxattr,
};

/* ---- the session ---- */

/* Lines come in parts, and from any thread. */
static void on_log(enum fuse_log_level level, const char *fmt, va_list args)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char line[512];
	size_t len;
	char *end;

	if (level > FUSE_LOG_WARNING)
		return;
	pthread_mutex_lock(&lock);
	len = strlen(line);
	vsnprintf(line + len, sizeof(line) - len, fmt, args);
	end = strchr(line, '\n');
	if (end || strlen(line) + 1 == sizeof(line)) {
		line[end ? (size_t)(end - line) : sizeof(line) - 1] = '\0';
		cli_error(NULL, "%s", strncmp(line, "fuse: ", 6) ? line : line + 6);
		line[0] = '\0';
	}
	pthread_mutex_unlock(&lock);
}

/* "ro" comes last: it wins over what the user gave. */
static int make_args(const struct mount_fs *fs, const char *const *options, size_t n_options,
		     struct fuse_args *args)
{
	char *text = NULL, *name = NULL;
	int failed = asprintf(&name, "fsname=%s", dump_cache_name(fs->d)) < 0;

	if (failed)
		return failed;
	failed = fuse_opt_add_opt(&text, "subtype=bcache-dump") ||
		 fuse_opt_add_opt_escaped(&text, name);
	free(name);
	for (size_t i = 0; i < n_options && !failed; i++)
		failed = fuse_opt_add_opt(&text, options[i]);
	failed = failed || fuse_opt_add_opt(&text, "ro") ||
		 fuse_opt_add_arg(args, cli_program_name()) || fuse_opt_add_arg(args, "-o") ||
		 fuse_opt_add_arg(args, text);
	free(text);
	return failed;
}

/* Without asking ourselves, who do not answer yet. */
static void find_device(struct mount_fs *fs, const char *folder)
{
	struct statx st;

	if (statx(AT_FDCWD, folder, AT_STATX_DONT_SYNC, 0, &st))
		return;
	fs->major = st.stx_dev_major;
	fs->minor = st.stx_dev_minor;
}

/*
 * libfuse cancels its threads in the end. The C library then loads libgcc_s, and aborts the process
 * where there is no memory for it: so it is loaded beforehand, as backtrace() does too.
 */
static bool can_cancel_threads(void)
{
	void *frame;

	return backtrace(&frame, 1) == 1;
}

/* An enum dump_exit. */
static int mount_session(struct mount_fs *fs, const char *folder)
{
	errno = 0;
	if (!fuse_session_mount(fs->session, folder))
		return DUMP_DONE;
	cli_error(folder, errno == ENOMEM ? "out of memory" : "cannot mount here");
	return DUMP_FAILED;
}

int mount_fs_open(struct dump *d, const char *folder, const char *const *options, size_t n_options,
		  const struct mount_files *files, struct mount_fs **out)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct mount_fs *fs = calloc(1, sizeof(*fs));
	int code = DUMP_FAILED;

	*out = NULL;
	if (!fs || mount_read_init(&fs->pool)) {
		free(fs);
		cli_error(NULL, "out of memory");
		return DUMP_FAILED;
	}
	fs->d = d;
	fs->files = files;
	fuse_set_log_func(on_log);
	if (make_args(fs, options, n_options, &args)) {
		cli_error(NULL, "out of memory");
	} else {
		errno = 0;
		fs->session = fuse_session_new(&args, &operations, sizeof(operations), fs);
		/* It has said which option it does not know. */
		if (!fs->session && errno != ENOMEM)
			code = DUMP_USAGE;
		else if (!fs->session || !can_cancel_threads())
			cli_error(NULL, "out of memory");
		else
			code = mount_session(fs, folder);
	}
	fuse_opt_free_args(&args);
	if (code) {
		mount_fs_free(fs);
		return code;
	}
	find_device(fs, folder);
	*out = fs;
	return code;
}

static int loop(struct mount_fs *fs)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int result;

	if (!config) {
		cli_error(NULL, "out of memory");
		return -1;
	}
	if (fs->d->opt.threads)
		fuse_loop_cfg_set_max_threads(config, fs->d->opt.threads);
	errno = 0;
	result = fuse_session_loop_mt(fs->session, config);
	/* libfuse has said what it was for. */
	if (result == -ENOMEM || (result < 0 && errno == ENOMEM))
		cli_error(NULL, "out of memory");
	fuse_loop_cfg_destroy(config);
	return result;
}

int mount_fs_serve(struct mount_fs *fs)
{
	int result = -1;

	/* libfuse takes over only those signals that nobody handles. */
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	if (fuse_set_signal_handlers(fs->session)) {
		cli_error(NULL, "cannot handle signals");
	} else {
		/* One that came before. */
		result = *cli_cancelled() ? 0 : loop(fs);
		fuse_remove_signal_handlers(fs->session);
	}
	mount_fs_unmount(fs);
	return result < 0 ? DUMP_FAILED : DUMP_DONE;
}

void mount_fs_unmount(struct mount_fs *fs)
{
	fuse_session_unmount(fs->session);
}

void mount_fs_free(struct mount_fs *fs)
{
	if (!fs)
		return;
	if (fs->session)
		fuse_session_destroy(fs->session);
	mount_read_clear(&fs->pool);
	free(fs);
}
