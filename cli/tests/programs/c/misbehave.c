/* Does what a guest should not, as the first argument says. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void unmap_own_stack(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~0xfffUL;

	munmap((void *)(here - 0x100000), 0x100000 + 0x400000);
}

/* Nothing can be mapped where the machine keeps its own pages. */
static int map_reserved(void)
{
	char *area = (char *)0x6fffe0000000UL;
	int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	if (mmap(area, 4096, PROT_READ | PROT_WRITE, fixed, -1, 0) != MAP_FAILED || errno != ENOMEM)
		return 1;
	/* A hint is only a hint; the answer lies elsewhere. */
	char *other = mmap(area, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (other == MAP_FAILED || other == area)
		return 2;
	*other = 1;
	/* Below it there is room, but none to grow into. */
	char *below = mmap(area - 4096, 4096, PROT_READ | PROT_WRITE, fixed, -1, 0);

	if (below == MAP_FAILED)
		return 3;
	*below = 1;
	if (mremap(below, 4096, 8192, 0) != MAP_FAILED || errno != ENOMEM)
		return 4;
	if (mremap(below, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, area) != MAP_FAILED)
		return 5;
	return munmap(area, 1 << 20) ? 6 : 0;
}

/* What is done to a range that spans the machine's pages is done around them.
 * Pages far from each other, so that nearest are the two next to the area. */
static int span(void)
{
	char *below = (char *)0x6fffdffff000UL, *above = (char *)0x700000000000UL;
	size_t step = 1UL << 30, far = 40 * step;
	int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 80; i++) {
			char *at = i % 2 ? below - i / 2 * step : above + i / 2 * step;

			if (mmap(at, 4096, PROT_READ | PROT_WRITE, fixed, -1, 0) == MAP_FAILED)
				return 1;
			*at = 1;
		}
		if (round == 1 && (mprotect(below - far, 2 * far, PROT_READ) != -1 || errno != ENOMEM))
			return 3;
		if (round == 2 && (madvise(below - far, 2 * far, MADV_DONTNEED) != -1 || errno != ENOMEM))
			return 4;
		if (munmap(below - far, 2 * far))
			return 5;
		getppid();
	}
	return 0;
}

/* Calls that reach into memory by address do not reach the machine's pages. */
static int reach_in(void)
{
	unsigned long pages[] = { 0x6fffe0000000UL, 0x6fffe8000000UL, 0x6fffe8008000UL, 0x6ffffffff000UL };
	int memory = open("/proc/self/mem", O_RDWR), step = 0;
	char bytes[64];

	if (memory < 0)
		return 1;
	for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++) {
		struct iovec here = { bytes, sizeof bytes }, there = { (void *)pages[i], sizeof bytes };

		step = 10 * i;
		if (pread(memory, bytes, sizeof bytes, pages[i]) != -1 || errno != EIO)
			return step + 2;
		if (pwrite(memory, bytes, sizeof bytes, pages[i]) != -1 || errno != EIO)
			return step + 3;
		if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != -1 || errno != EFAULT)
			return step + 4;
		if (process_vm_writev(getpid(), &here, 1, &there, 1, 0) != -1 || errno != EFAULT)
			return step + 5;
		/* The kernel reads and writes for others, too. */
		if (read(memory, (void *)pages[i], 8) != -1)
			return step + 6;
		if (syscall(SYS_getrandom, (void *)pages[i], 8, 0) != -1 || errno != EFAULT)
			return step + 7;
		if (mprotect((void *)pages[i], 4096, PROT_READ | PROT_WRITE | PROT_EXEC) != -1 || errno != ENOMEM)
			return step + 8;
	}
	/* Calls that have others made are none of the machine's. */
	if (syscall(SYS_io_uring_setup, 8, bytes) != -1 || errno != ENOSYS)
		return 61;
	if (syscall(SYS_userfaultfd, 0) != -1)
		return 62;
	if (syscall(SYS_bpf, 0, bytes, 8) != -1)
		return 63;
	return 0;
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
	if (!strcmp(words[1], "reserved"))
		return map_reserved();
	if (!strcmp(words[1], "span"))
		return span();
	if (!strcmp(words[1], "reach"))
		return reach_in();
	if (!strcmp(words[1], "memory"))
		eat_memory();
	if (!strcmp(words[1], "fork"))
		fork_without_end();
	if (!strcmp(words[1], "jump"))
		((void (*)(void))strtoul(words[2], NULL, 16))();
	return 0;
}
