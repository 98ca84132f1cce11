/* Takes memory out again and again while a thread changes what is in it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 4096, PAGES = 2048, ROUNDS = 12 };

static unsigned char *memory;
static volatile int stop;

/* Counts a word up in every page, as fast as it can. */
static void *count(void *unused)
{
	for (uint64_t rounds = 0; !stop; rounds++)
		for (int page = 0; page < PAGES; page++) {
			volatile uint64_t *word = (uint64_t *)(memory + page * SIZE + 64);
			if (*word != rounds)
				return "a store was lost";
			*word = rounds + 1;
		}
	return unused;
}

static int tell(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "/sys/devices/system/memory/%s", name);
	int file = open(path, O_WRONLY);
	int error = file < 0 || write(file, text, strlen(text)) < 0 ? errno : 0;
	close(file);
	return error;
}

int main(void)
{
	tell("probe", "0x100000000");
	tell("memory32/state", "online_movable");
	memory = mmap(0, PAGES * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, 0, PAGES * SIZE);
	pthread_t thread;
	pthread_create(&thread, 0, count, 0);
	/* A child shares the frames, and writes to its own. */
	pid_t child = fork();
	if (!child) {
		for (int round = 0; round < 20; round++)
			for (int page = 0; page < PAGES; page++)
				memory[page * SIZE + 128]++;
		_exit(memory[128] == 20 && memory[(PAGES - 1) * SIZE + 128] == 20 ? 0 : 1);
	}
	for (int round = 0; round < ROUNDS; round++) {
		int error = tell("memory32/state", "offline");
		if (error)
			printf("offline: %s\n", strerror(error));
		error = tell("memory32/state", "online_movable");
		if (error)
			printf("online: %s\n", strerror(error));
		/* New frames come from there again. */
		for (int page = 0; page < 256; page++) {
			volatile unsigned char *byte = mmap(0, SIZE, PROT_READ | PROT_WRITE,
							    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			*byte = 1;
			if (page % 2)
				munmap((void *)byte, SIZE);
		}
	}
	int status;
	wait(&status);
	stop = 1;
	void *lost;
	pthread_join(thread, &lost);
	printf("child %d, %s\n", status, lost ? (char *)lost : "nothing lost");
	return 0;
}
