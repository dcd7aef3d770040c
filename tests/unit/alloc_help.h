/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator of a test program: fails when told to. For one source file of the program. */
#ifndef TESTS_UNIT_ALLOC_HELP_H
#define TESTS_UNIT_ALLOC_HELP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
/* There under a sanitizer, whose free() has to see what it gave. */
__attribute__((weak)) void *__interceptor_malloc(size_t bytes);
__attribute__((weak)) void *__interceptor_calloc(size_t n, size_t bytes);
__attribute__((weak)) void *__interceptor_realloc(void *old, size_t bytes);

static bool is_counting;
static bool is_failing_on; /* after the first failure all later ones fail too */
static uint64_t n_allocations;
static uint64_t fail_at;

static bool must_fail(void)
{
	if (!is_counting)
		return false;
	n_allocations++;
	if (n_allocations != fail_at && !(is_failing_on && fail_at && n_allocations > fail_at))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t bytes)
{
	if (must_fail())
		return NULL;
	return __interceptor_malloc ? __interceptor_malloc(bytes) : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
	if (must_fail())
		return NULL;
	return __interceptor_calloc ? __interceptor_calloc(n, bytes) : __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
	if (must_fail())
		return NULL;
	return __interceptor_realloc ? __interceptor_realloc(old, bytes)
				     : __libc_realloc(old, bytes);
}

#endif
