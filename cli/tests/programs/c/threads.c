/* Eight threads contend on mutexes, a condition variable and mmap. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { THREADS = 8, ROUNDS = 400 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static long sum, turn;

static void *work(void *arg)
{
	long me = (long)arg;
	for (int i = 0; i < ROUNDS; i++) {
		size_t size = 4096 * (1 + (i + me) % 16);
		char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return "mmap";
		memset(p, me, size);
		if (i % 3 == 0 && mprotect(p, 4096, PROT_READ))
			return "mprotect";
		long got = 0;
		for (size_t at = 0; at < size; at += 4096)
			got += p[at];
		pthread_mutex_lock(&lock);
		sum += got;
		pthread_mutex_unlock(&lock);
		if (munmap(p, size))
			return "munmap";
	}
	for (int i = 0; i < 20; i++) {
		pthread_mutex_lock(&lock);
		while (turn % THREADS != me)
			pthread_cond_wait(&turn_changed, &lock);
		turn++;
		pthread_cond_broadcast(&turn_changed);
		pthread_mutex_unlock(&lock);
	}
	return 0;
}

int main(void)
{
	pthread_t threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], 0, work, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		if (failed)
			printf("thread %d: %s failed\n", i, (char *)failed);
	}
	printf("%ld %ld\n", sum, turn);
	return 0;
}
