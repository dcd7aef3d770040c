/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of errors and the version of the library. */
#include <bcfmt/base.h>

#ifndef BCFMT_VERSION
#define BCFMT_VERSION "0.1.0"
#endif

const char *bcfmt_err_name(bcfmt_err err)
{
	switch (err) {
	case BCFMT_OK:
		return "ok";
	case BCFMT_END:
		return "end";
	case BCFMT_E_NOMEM:
		return "out of memory";
	case BCFMT_E_IO:
		return "i/o error";
	case BCFMT_E_ARG:
		return "bad argument";
	case BCFMT_E_DAMAGED:
		return "damaged";
	case BCFMT_E_UNSUPPORTED:
		return "unsupported";
	case BCFMT_E_BUSY:
		return "busy";
	case BCFMT_E_RANGE:
		return "beyond the end of the device";
	case BCFMT_E_CANCELLED:
		return "cancelled";
	case BCFMT_E_SYSTEM:
		return "refused by the system";
	case BCFMT_E_NOTFOUND:
		return "not found";
	}
	return "unknown error";
}

const char *bcfmt_version(void)
{
	return BCFMT_VERSION;
}
