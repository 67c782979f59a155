/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's test harness, with the time that a test has raised: under
 * emulation, on a debug kernel, its 30 seconds are over too soon. Test programs
 * include this, after common.h.
 */
#ifndef MAPPED_RAM_SELFTEST_HARNESS_H
#define MAPPED_RAM_SELFTEST_HARNESS_H

#include "../kselftest_harness.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#endif
