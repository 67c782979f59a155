/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Included before everything else in every file of the library, which is
 * compiled with hidden visibility: only what the public header declares is
 * seen from outside.
 */
#pragma GCC visibility push(default)
#include <mappedram.h>
#pragma GCC visibility pop
