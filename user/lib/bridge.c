// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The module's way to find out how long a bridge may be, for the engines in
 * user space: they choose as it does.
 */
#include "../../kmod/bridge.c"
