/*
 * More pages apart from each other than the host shows at one time, used by
 * several threads at random while others unmap and map some of them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 1500
#define STEP 8192

static char *area, *other;
static volatile int over;

static unsigned long next(unsigned long *seed)
{
	*seed = *seed * 6364136223846793005UL + 1442695040888963407UL;
	return *seed >> 33;
}

static void *check(void *number)
{
	unsigned long seed = (unsigned long)number;

	for (int i = 0; i < 5000; i++) {
		unsigned long page = next(&seed) % PAGES;
		volatile uint64_t *words = (uint64_t *)(area + page * STEP);

		if (words[0] != page * 77)
			return "a wrong page";
		/* A word for each thread, so that nobody disturbs another. */
		words[(unsigned long)number]++;
	}
	return NULL;
}

static void *disturb(void *unused)
{
	unsigned long seed = 99;

	while (!over) {
		char *at = other + next(&seed) % 200 * STEP;

		if (mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
			return "no page";
		if (*at)
			return "a page that is not new";
		*at = 1;
		munmap(at, 4096);
	}
	return unused;
}

int main(void)
{
	pthread_t threads[3], disturber;
	void *result;
	int status = 0;

	area = mmap(NULL, (size_t)PAGES * STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	other = mmap(NULL, 200L * STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned long page = 0; page < PAGES; page++)
		*(uint64_t *)(area + page * STEP) = page * 77;
	pthread_create(&disturber, NULL, disturb, NULL);
	for (long i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, check, (void *)(i + 1));
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &result);
		if (result) {
			puts(result);
			status = 1;
		}
	}
	over = 1;
	pthread_join(disturber, &result);
	if (result) {
		puts(result);
		status = 1;
	}
	uint64_t sum = 0;

	for (unsigned long page = 0; page < PAGES; page++)
		for (int word = 1; word <= 3; word++)
			sum += ((uint64_t *)(area + page * STEP))[word];
	printf("%lu\n", sum);
	return status;
}
