/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded before a program: counts its calls to the allocator and the kernel, and makes the one
 * that FAULTS_SHARED names fail. Counts from main() on, so what the loader does is left alone.
 */
/* Both spellings of a function are defined below, under their own names. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "faults/faults.h"

#define EXPORT __attribute__((visibility("default")))

static struct faults_shared *shared;
static bool is_armed;

/* The function of that name behind this library: the C library's, or that of a sanitizer. */
#define NEXT(name)                     \
	static __typeof__(&name) next; \
	next = next ? next : (__typeof__(&name))dlsym(RTLD_NEXT, #name)

enum verdict { GO_ON, FAIL, SHORT };

/* Counts a call; FAIL with errno set. */
static enum verdict count(enum faults_call call)
{
	uint64_t number;

	if (!__atomic_load_n(&is_armed, __ATOMIC_ACQUIRE))
		return GO_ON;
	number = __atomic_add_fetch(&shared->count[call], 1, __ATOMIC_RELAXED);
	if (call != shared->call || !shared->number || number < shared->number)
		return GO_ON;
	if (number > shared->number && shared->action != FAULTS_FAIL_ON)
		return GO_ON;
	__atomic_add_fetch(&shared->n_done, 1, __ATOMIC_RELAXED);
	if (shared->action == FAULTS_SIGNAL) {
		kill(getpid(), (int)shared->error);
		return GO_ON;
	}
	if (shared->action == FAULTS_SHORT)
		return SHORT;
	errno = (int)shared->error;
	return FAIL;
}

/* ---- crashes ---- */

#define FRAMES_MAX 64

/* Libraries that do not look whether they got memory: the extents of libext2fs 1.47 do not. */
static const char *const careless[] = { "libext2fs.so" };
/* And what they leave then. */
EXPORT const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
	return "print_suppressions=0";
}
EXPORT const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:ext2fs_create_inode_cache\n";
}

/* What lies between a crash and who is to blame for it. */
static const char *const between[] = { "faults.so", "libc.so", "libasan.so", "libubsan.so" };

static bool is_one_of(const char *path, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strstr(path, names[i]))
			return true;
	return false;
}

static struct sigaction old_segv, old_bus;

/* Notes whose crash it is, and lets it happen. */
static void on_crash(int signal)
{
	void *frames[FRAMES_MAX];
	int n = backtrace(frames, FRAMES_MAX);

	for (int i = 0; i < n; i++) {
		Dl_info place = { 0 };

		if (dladdr(frames[i], &place) && place.dli_fname &&
		    is_one_of(place.dli_fname, between, sizeof(between) / sizeof(*between)))
			continue;
		shared->is_crash_of_library =
			place.dli_fname &&
			is_one_of(place.dli_fname, careless, sizeof(careless) / sizeof(*careless));
		break;
	}
	sigaction(signal, signal == SIGSEGV ? &old_segv : &old_bus, NULL);
}

static void watch_crashes(void)
{
	struct sigaction action = { .sa_handler = on_crash };
	void *frame;

	/* Its first call loads a library. */
	backtrace(&frame, 1);
	sigaction(SIGSEGV, &action, &old_segv);
	sigaction(SIGBUS, &action, &old_bus);
}

/* ---- where it begins and ends ---- */

static int (*real_main)(int, char **, char **);

static int counted_main(int argc, char **argv, char **env)
{
	const char *path = getenv("FAULTS_SHARED");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1, code;
	void *map = MAP_FAILED;

	if (fd >= 0) {
		map = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (map == MAP_FAILED)
		_exit(125);
	shared = map;
	watch_crashes();
	__atomic_store_n(&is_armed, true, __ATOMIC_RELEASE);
	code = real_main(argc, argv, env);
	__atomic_store_n(&is_armed, false, __ATOMIC_RELEASE);
	return code;
}

typedef int (*main_fn)(int, char **, char **);
EXPORT int __libc_start_main(main_fn run, int argc, char **argv, main_fn init, void (*fini)(void),
			     void (*rtld_fini)(void), void *stack_end);
int __libc_start_main(main_fn run, int argc, char **argv, main_fn init, void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end)
{
	NEXT(__libc_start_main);
	real_main = run;
	return next(counted_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/* ---- memory and threads ---- */

EXPORT void *malloc(size_t bytes)
{
	NEXT(malloc);
	return count(FAULTS_ALLOC) == FAIL ? NULL : next(bytes);
}

EXPORT void *calloc(size_t n, size_t bytes)
{
	NEXT(calloc);
	return count(FAULTS_ALLOC) == FAIL ? NULL : next(n, bytes);
}

EXPORT void *realloc(void *at, size_t bytes)
{
	NEXT(realloc);
	return count(FAULTS_ALLOC) == FAIL ? NULL : next(at, bytes);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	NEXT(pthread_create);
	return count(FAULTS_THREAD) == FAIL ? errno : next(thread, attr, run, arg);
}

/* ---- files ---- */

/* The mode is there, or never looked at. */
#define OPEN(name)                                                                \
	EXPORT int name(const char *path, int flags, ...)                         \
	{                                                                         \
		va_list args;                                                     \
		mode_t mode;                                                      \
		NEXT(name);                                                       \
		va_start(args, flags);                                            \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;  \
		va_end(args);                                                     \
		return count(FAULTS_OPEN) == FAIL ? -1 : next(path, flags, mode); \
	}
OPEN(open)
OPEN(open64)

#define MKOSTEMP(name)                                                      \
	EXPORT int name(char *path, int flags)                              \
	{                                                                   \
		NEXT(name);                                                 \
		return count(FAULTS_OPEN) == FAIL ? -1 : next(path, flags); \
	}
MKOSTEMP(mkostemp)
MKOSTEMP(mkostemp64)

EXPORT int memfd_create(const char *name, unsigned int flags)
{
	NEXT(memfd_create);
	return count(FAULTS_OPEN) == FAIL ? -1 : next(name, flags);
}

/* At least one byte: none would be the end of the file. */
static size_t less(size_t bytes)
{
	return bytes > 1 ? bytes / 2 : bytes;
}

/* FUSE gives requests whole, and only to who has room for any. */
static bool is_for_messages(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISCHR(st.st_mode);
}

EXPORT ssize_t read(int fd, void *buf, size_t bytes)
{
	enum verdict verdict = count(FAULTS_READ);

	NEXT(read);
	if (verdict == SHORT && !is_for_messages(fd))
		bytes = less(bytes);
	return verdict == FAIL ? -1 : next(fd, buf, bytes);
}

#define PREAD(name, type)                                                                   \
	EXPORT ssize_t name(int fd, void *buf, size_t bytes, type at)                       \
	{                                                                                   \
		enum verdict verdict = count(FAULTS_READ);                                  \
		NEXT(name);                                                                 \
		return verdict == FAIL                                                      \
			       ? -1                                                         \
			       : next(fd, buf, verdict == SHORT ? less(bytes) : bytes, at); \
	}
PREAD(pread, off_t)
PREAD(pread64, off64_t)

EXPORT ssize_t write(int fd, const void *buf, size_t bytes)
{
	enum verdict verdict = fd == STDERR_FILENO ? GO_ON : count(FAULTS_WRITE);

	NEXT(write);
	return verdict == FAIL ? -1 : next(fd, buf, verdict == SHORT ? less(bytes) : bytes);
}

#define PWRITE(name, type)                                                                  \
	EXPORT ssize_t name(int fd, const void *buf, size_t bytes, type at)                 \
	{                                                                                   \
		enum verdict verdict = count(FAULTS_WRITE);                                 \
		NEXT(name);                                                                 \
		return verdict == FAIL                                                      \
			       ? -1                                                         \
			       : next(fd, buf, verdict == SHORT ? less(bytes) : bytes, at); \
	}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

EXPORT int fsync(int fd)
{
	NEXT(fsync);
	return count(FAULTS_SYNC) == FAIL ? -1 : next(fd);
}

EXPORT int fdatasync(int fd)
{
	NEXT(fdatasync);
	return count(FAULTS_SYNC) == FAIL ? -1 : next(fd);
}

EXPORT int rename(const char *from, const char *to)
{
	NEXT(rename);
	return count(FAULTS_NAME) == FAIL ? -1 : next(from, to);
}

#define TRUNCATE(name, type)                                              \
	EXPORT int name(int fd, type bytes)                               \
	{                                                                 \
		NEXT(name);                                               \
		return count(FAULTS_NAME) == FAIL ? -1 : next(fd, bytes); \
	}
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(name, type)                                                       \
	EXPORT int name(int fd, int mode, type at, type bytes)                      \
	{                                                                           \
		NEXT(name);                                                         \
		return count(FAULTS_NAME) == FAIL ? -1 : next(fd, mode, at, bytes); \
	}
FALLOCATE(fallocate, off_t)
FALLOCATE(fallocate64, off64_t)

/* ---- what differs from run to run ---- */

/* What a repair writes is then the same in every run, so that it can be compared. */
static uint8_t next_byte(void)
{
	static uint32_t state = 1;

	state = state * 1664525u + 1013904223u;
	return (uint8_t)(state >> 24);
}

EXPORT ssize_t getrandom(void *buf, size_t bytes, unsigned int flags)
{
	uint8_t *to = buf;

	(void)flags;
	for (size_t i = 0; i < bytes; i++)
		to[i] = next_byte();
	return (ssize_t)bytes;
}

EXPORT void uuid_generate(unsigned char out[16]);
void uuid_generate(unsigned char out[16])
{
	getrandom(out, 16, 0);
}

EXPORT time_t time(time_t *out)
{
	const time_t now = 1700000000;

	if (out)
		*out = now;
	return now;
}
