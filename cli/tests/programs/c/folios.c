/* Faults on private memory where 64 KiB are on by advice: what each takes and leaves. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PG = 4096, RUN = 16 * PG };

static char *area;
static char text[1 << 16];
static long last;

static long faults(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* A number of the mapping at `at`, read without the C library's own memory. */
static long smaps(const char *at, const char *key)
{
	int file = open("/proc/self/smaps", O_RDONLY);
	size_t have = 0;
	ssize_t got;
	while ((got = read(file, text + have, sizeof text - 1 - have)) > 0)
		have += got;
	close(file);
	text[have] = 0;
	int inside = 0;
	for (char *line = text; *line; line = strchr(line, '\n') + 1) {
		unsigned long start, end;
		char perms[8];
		if (sscanf(line, "%lx-%lx %4[rwxps-]", &start, &end, perms) == 3)
			inside = start <= (uintptr_t)at && (uintptr_t)at < end;
		else if (inside && strncmp(line, key, strlen(key)) == 0) {
			long value = -1;
			sscanf(line + strlen(key), ": %ld", &value);
			return value;
		}
	}
	return -1;
}

/* After a fork: the faults on what the program itself works with come first. */
static void settle(void)
{
	volatile char stack[4 * PG];
	for (int i = 0; i < (int)sizeof stack; i += PG / 2)
		stack[i] = 1;
	text[0] = 1;
	last = 0;
	last = faults();
}

static void tell(const char *what)
{
	long taken = faults() - last;
	uint64_t words[32] = { 0 };
	unsigned char resident[32] = { 0 };
	int file = open("/proc/self/pagemap", O_RDONLY);
	pread(file, words, sizeof words, (uintptr_t)area / PG * 8);
	close(file);
	mincore(area, 2 * RUN, resident);
	printf("%-28s faults %2ld rss %3ld private %3ld shared %3ld referenced %3ld locked %3ld eligible %ld ", what, taken,
	       smaps(area, "Rss"), smaps(area, "Private_Dirty"), smaps(area, "Shared_Dirty"), smaps(area, "Referenced"),
	       smaps(area, "Locked"), smaps(area, "THPeligible"));
	for (int i = 0; i < 32; i++)
		putchar(!(words[i] >> 63) ? '.' : words[i] >> 56 & 1 ? 'x' : 'o');
	putchar(' ');
	for (int i = 0; i < 32; i++)
		putchar(resident[i] & 1 ? '1' : '0');
	putchar('\n');
	last = faults();
}

static void fresh(int advice)
{
	area = mmap(area, 2 * RUN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (advice && madvise(area, 2 * RUN, advice))
		perror("madvise");
	last = faults();
}

static void touch(int page) { area[page * PG] = page + 1; }

static void modes(void)
{
	fresh(0);
	touch(3);
	tell("no advice");
	fresh(MADV_NOHUGEPAGE);
	touch(3);
	tell("advice against");
	fresh(MADV_HUGEPAGE);
	touch(3);
	tell("advice");
	for (int i = 0; i < 16; i++)
		touch(i);
	tell("every page of the run");
	printf("disable %d", prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	printf(" is %d\n", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	fresh(MADV_HUGEPAGE);
	touch(3);
	tell("disabled");
	printf("but for advice %d", prctl(PR_SET_THP_DISABLE, 1, 2, 0, 0));
	printf(" is %d\n", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	fresh(MADV_HUGEPAGE);
	touch(3);
	tell("disabled but for advice");
	for (unsigned long flags = 1; flags < 9; flags *= 2) {
		int on = prctl(PR_SET_THP_DISABLE, 1, flags, 0, 0), why = on ? errno : 0;
		int off = prctl(PR_SET_THP_DISABLE, 0, flags, 0, 0);
		printf("flags %lu: %d %d, %d %d\n", flags, on, why, off, off ? errno : 0);
	}
	printf("enable %d\n", prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
}

static void parts(void)
{
	fresh(MADV_HUGEPAGE);
	volatile char read = area[20 * PG];
	(void)read;
	tell("a page is read");
	touch(21);
	tell("its neighbour is written");
	touch(20);
	tell("and it");
	touch(5);
	tell("the other run");
	madvise(area + 4 * PG, 3 * PG, MADV_DONTNEED);
	tell("three pages discarded");
	touch(5);
	tell("one comes back alone");
	mprotect(area + 8 * PG, PG, PROT_READ);
	tell("one is read-only");
	mprotect(area + 8 * PG, PG, PROT_READ | PROT_WRITE);
	touch(8);
	tell("and written again");
	munmap(area + 12 * PG, 4 * PG);
	tell("four pages unmapped");
	mremap(area, PG, PG, MREMAP_MAYMOVE | MREMAP_FIXED, area + 13 * PG);
	tell("one page moved there");
	printf("moved %d, stays %d\n", area[13 * PG], area[8 * PG]);
	fresh(MADV_HUGEPAGE);
	mlock(area, RUN + 2 * PG);
	tell("locked");
	fresh(MADV_HUGEPAGE);
	madvise(area + 2 * PG, 20 * PG, MADV_POPULATE_WRITE);
	tell("populated");
	fresh(MADV_HUGEPAGE);
	madvise(area + PG, PG, 102 /* MADV_GUARD_INSTALL */);
	touch(2);
	touch(17);
	tell("beside a guard");
}

static void sharing(void)
{
	int to_child[2], to_parent[2];
	char byte = 0;
	fresh(MADV_HUGEPAGE);
	touch(1);
	tell("before a fork");
	if (pipe(to_child) || pipe(to_parent))
		return;
	fflush(stdout);
	int child = fork();
	if (child == 0) {
		settle();
		touch(1);
		touch(2);
		tell("the child writes two");
		fflush(stdout);
		write(to_parent[1], &byte, 1);
		read(to_child[0], &byte, 1);
		printf("the child has %d %d %d\n", area[PG], area[2 * PG], area[3 * PG]);
		fflush(stdout);
		_exit(0);
	}
	read(to_parent[0], &byte, 1);
	settle();
	touch(3);
	touch(2);
	tell("the parent writes two");
	write(to_child[1], &byte, 1);
	waitpid(child, NULL, 0);
	settle();
	touch(4);
	tell("the child is gone");
	printf("the parent has %d %d %d %d\n", area[PG], area[2 * PG], area[3 * PG], area[4 * PG]);
}

int main(void)
{
	static char buffer[1 << 16];
	memset(buffer, 1, sizeof buffer);
	memset(text, 1, sizeof text);
	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	/* Room with nothing beside it, aligned to a run and inside 2 MiB. */
	char *room = mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	area = (char *)(((uintptr_t)room + (2 << 20) - 1) & -(uintptr_t)(2 << 20)) + RUN;
	fresh(MADV_HUGEPAGE);
	touch(0);
	tell("first");
	modes();
	parts();
	sharing();
	return 0;
}
