/* Does what a guest should not, as the first argument says. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void unmap_own_stack(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~0xfffUL;

	munmap((void *)(here - 0x100000), 0x100000 + 0x400000);
}

static void eat_memory(void)
{
	for (;;) {
		char *piece = malloc(1 << 20);

		if (!piece) {
			puts("no more");
			exit(7);
		}
		memset(piece, 1, 1 << 20);
	}
}

static void fork_without_end(void)
{
	for (;;)
		if (fork() < 0)
			pause();
}

int main(int count, char **words)
{
	if (count < 2)
		return 2;
	if (!strcmp(words[1], "stack"))
		unmap_own_stack();
	if (!strcmp(words[1], "memory"))
		eat_memory();
	if (!strcmp(words[1], "fork"))
		fork_without_end();
	if (!strcmp(words[1], "jump"))
		((void (*)(void))strtoul(words[2], NULL, 16))();
	return 0;
}
