/* Leaves memory in small pieces, and waits for it to be put in order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 4096 };

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

/* Free blocks of 2 MiB and more. */
static long whole(void)
{
	long sum = 0, count[11];
	char line[256];
	FILE *file = fopen("/proc/buddyinfo", "r");
	while (file && fgets(line, sizeof line, file)) {
		char *at = strstr(line, "zone");
		if (at && sscanf(at, "zone %*s %ld %ld %ld %ld %ld %ld %ld %ld %ld %ld %ld", count, count + 1,
				 count + 2, count + 3, count + 4, count + 5, count + 6, count + 7, count + 8,
				 count + 9, count + 10) == 11)
			sum += count[9] + 2 * count[10];
	}
	if (file)
		fclose(file);
	return sum;
}

static void set(const char *value)
{
	FILE *file = fopen("/proc/sys/vm/compaction_proactiveness", "w");
	if (!file || fputs(value, file) < 0 || fclose(file))
		puts("not root");
}

static void wait_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
	nanosleep(&time, 0);
}

int main(void)
{
	set("0\n");
	long pages = sysconf(_SC_AVPHYS_PAGES) * 15 / 16;
	unsigned char *memory =
		mmap(0, pages * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (long page = 0; page < pages; page++)
		memory[page * SIZE] = page % 251 + 1;
	for (long page = 0; page < pages; page += 2)
		madvise(memory + page * SIZE, SIZE, MADV_DONTNEED);
	long before = whole(), woken = counter("compact_daemon_wake ");
	wait_ms(1200);
	printf("asleep: %s\n", counter("compact_migrate_scanned ") == 0 ? "nothing moved" : "moved");
	set("20\n");
	int rounds = 0;
	for (; whole() < before + 8 && rounds < 300; rounds++)
		wait_ms(50);
	printf("awake: %s\n", rounds < 300 ? "put in order" : "still in pieces");
	printf("scanned by the daemon: %s, woken: %ld\n",
	       counter("compact_daemon_migrate_scanned ") > 0 ? "yes" : "no",
	       counter("compact_daemon_wake ") - woken);
	for (long page = 1; page < pages; page += 2)
		if (memory[page * SIZE] != page % 251 + 1)
			return puts("something changed"), 1;
	return 0;
}
