// SPDX-License-Identifier: MIT
#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>

#include "vmspace/vmspace.h"
#include "vms_config.h"

static _Thread_local char sentence[256];

int fail(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return err;
}

const char *vms_last_error(void)
{
	return sentence;
}

const char *vms_version(void)
{
	return VMS_BUILD_VERSION;
}
