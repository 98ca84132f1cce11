/*
 * One of several threads executes this program anew, again and again, while
 * the others make calls of every kind, map, fault and make threads.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *call(void *kind)
{
	for (;;)
		switch ((long)kind) {
		case 0:
			syscall(SYS_getppid);
			break;
		case 1:
			syscall(SYS_sched_getscheduler, 0);
			break;
		case 2: {
			char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			*page = 1;
			munmap(page, 8192);
			break;
		}
		default:
			break;
		}
	return NULL;
}

static void *execute(void *round)
{
	char next[16];

	usleep((long)round % 7 * 300);
	snprintf(next, sizeof next, "%ld", (long)round + 1);
	execl("/proc/self/exe", "exec_storm", next, NULL);
	_exit(9);
}

int main(int count, char **words)
{
	long round = count > 1 ? atol(words[1]) : 0;
	pthread_t thread;

	if (round == 40) {
		puts("done");
		return 7;
	}
	for (long kind = 0; kind < 4; kind++)
		if (pthread_create(&thread, NULL, call, (void *)kind))
			return 3;
	/* By turns the first thread and another one. */
	if (round % 2)
		execute((void *)round);
	if (pthread_create(&thread, NULL, execute, (void *)round))
		return 4;
	return call((void *)1) != NULL;
}
