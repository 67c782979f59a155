// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A thread that runs on another processor while memory is loaded, as a guest
 * does, and what disturbs it: interrupts with which the kernel makes a processor
 * forget where pages were (TLB shootdowns). These come to wherever a thread of
 * the process runs.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static struct {
	pthread_t thread;
	bool running;
	bool stop;
	uint64_t before;
} beside;

/* Of all processors. */
static uint64_t shootdowns(void)
{
	FILE *f = fopen("/proc/interrupts", "re");
	unsigned long long n, sum = 0;
	char line[4096], *at;
	int used;

	if (!f)
		fail("/proc/interrupts: %m");
	while (fgets(line, sizeof(line), f)) {
		at = strstr(line, "TLB:");
		for (at = at ? at + 4 : line + strlen(line);
		     sscanf(at, "%llu%n", &n, &used) == 1; at += used)
			sum += n;
	}
	fclose(f);
	return sum;
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		fail("this wants a second processor");
}

static void *run(void *data)
{
	stay_on(1);
	__atomic_store_n(&beside.running, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&beside.stop, __ATOMIC_RELAXED))
		;
	return data;
}

void beside_start(void)
{
	/* Threads that are made from here on stay there, too. */
	stay_on(0);
	beside.running = false;
	beside.stop = false;
	if (pthread_create(&beside.thread, NULL, run, NULL))
		fail("no threads");
	while (!__atomic_load_n(&beside.running, __ATOMIC_ACQUIRE))
		sched_yield();
	beside.before = shootdowns();
}

uint64_t beside_stop(void)
{
	uint64_t after = shootdowns();

	__atomic_store_n(&beside.stop, true, __ATOMIC_RELAXED);
	pthread_join(beside.thread, NULL);
	return after - beside.before;
}
