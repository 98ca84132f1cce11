/* Has memory compacted while parent, child and threads use it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 8192, SHARED = 512, SIZE = 4096 };

static unsigned char *private, *shared;
static volatile int stop;

static unsigned char byte(int page) { return page % 251 + 1; }

/* Pages that nobody changes hold what they held. */
static int intact(void)
{
	for (int page = 1; page < PAGES; page += 2)
		if (private[page * SIZE] != byte(page) || private[page * SIZE + 4095] != byte(page))
			return 0;
	for (int page = 0; page < SHARED; page++)
		if (shared[page * SIZE + 1] != byte(page))
			return 0;
	return 1;
}

/* Counts a word up in every page, as fast as it can. */
static void *count(void *unused)
{
	unsigned rounds = 0;
	for (; !stop; rounds++)
		for (int page = 1; page < PAGES; page += 16) {
			volatile unsigned *word = (unsigned *)(private + page * SIZE + 64);
			if (*word != rounds)
				return "a store was lost";
			*word = rounds + 1;
		}
	return unused;
}

static long counter(const char *name)
{
	char line[128];
	long value = -1;
	FILE *file = fopen("/proc/vmstat", "r");
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)))
			value = atol(line + strlen(name));
	if (file)
		fclose(file);
	return value;
}

int main(void)
{
	int knob = open("/proc/sys/vm/compact_memory", O_WRONLY);
	if (knob < 0) {
		puts("skipped");
		return 0;
	}
	private = mmap(0, PAGES * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(0, SHARED * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int page = 0; page < PAGES; page++) {
		private[page * SIZE] = private[page * SIZE + 4095] = byte(page);
		if (page < SHARED)
			shared[page * SIZE + 1] = byte(page);
	}
	for (int page = 0; page < PAGES; page += 2)
		madvise(private + page * SIZE, SIZE, MADV_DONTNEED);

	pid_t child = fork();
	pthread_t thread;
	pthread_create(&thread, 0, count, 0);
	for (int round = 0; round < 4 && child; round++) {
		if (write(knob, "1\n", 2) != 2)
			return perror("compact_memory"), 1;
		if (!intact())
			return puts("something changed"), 1;
	}
	for (int round = 0; round < 20 && !child; round++)
		if (!intact())
			_exit(1);
	stop = 1;
	void *lost;
	pthread_join(thread, &lost);
	if (lost)
		return puts(lost), 1;
	if (!child)
		_exit(0);
	int status;
	wait(&status);
	long moved = counter("pgmigrate_success ");
	printf("child %d, moved %s\n", status, moved >= 1000 ? "enough" : "too few");
	if (write(knob, "2\n", 2) != -1 || errno != EINVAL)
		return puts("only 1 means something"), 1;
	if (open("/proc/sys/vm/compact_memory", O_RDONLY) != -1 || errno != EACCES)
		return puts("nobody reads it"), 1;
	return status;
}
