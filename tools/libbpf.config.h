/*
 * config.h of elfutils for libelf and a GNU C library from 2.17 on, which has no reallocarray. elfutils' own configure asks
 * for a C++ compiler and for programs that only its other libraries need.
 */
#define HAVE_DECL_MEMPCPY 1
#define HAVE_DECL_MEMRCHR 1
#define HAVE_DECL_POWEROF2 1
#define HAVE_DECL_RAWMEMCHR 1
#define HAVE_DECL_REALLOCARRAY 0
#define HAVE_ERROR_H 1
#define HAVE_ERR_H 1
#define HAVE_FALLTHROUGH 1
#define HAVE_MREMAP 1
#define HAVE_VISIBILITY 1
#define SYMBOL_VERSIONING 1
#define _GNU_SOURCE 1
#include <eu-config.h>
