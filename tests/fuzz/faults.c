/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands between the library and the allocator: fuzz targets are linked with --wrap for the
 * functions below, which leaves the allocator of a sanitizer where it is. jansson has its own way.
 */
#include "fuzz/faults.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *at, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
int __real_vasprintf(char **out, const char *fmt, va_list args);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);
int __wrap_vasprintf(char **out, const char *fmt, va_list args);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);

static _Atomic bool is_armed;
static _Atomic bool has_failed;
static _Atomic uint64_t count;
static uint16_t fail_number;

static bool is_due(void)
{
	uint64_t number, fail_at = fail_number & ~FAULTS_ONCE;

	if (!is_armed)
		return false;
	number = atomic_fetch_add(&count, 1) + 1;
	if (!fail_at || (fail_number & FAULTS_ONCE ? number != fail_at : number < fail_at))
		return false;
	has_failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t bytes)
{
	return is_due() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return is_due() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *at, size_t bytes)
{
	return is_due() ? NULL : __real_realloc(at, bytes);
}

char *__wrap_strdup(const char *text)
{
	return is_due() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return is_due() ? NULL : __real_strndup(text, len);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list args)
{
	return is_due() ? -1 : __real_vasprintf(out, fmt, args);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	return is_due() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

void faults_arm(uint16_t fail_at)
{
	json_set_alloc_funcs(__wrap_malloc, free);
	fail_number = fail_at;
	count = 0;
	has_failed = false;
	is_armed = true;
}

bool faults_disarm(void)
{
	is_armed = false;
	return has_failed;
}

uint64_t faults_count(void)
{
	return count;
}
