/* Brings memory into use, uses it, and takes it out again while it is used. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 4096, PAGES = 4096 };
/* Frames from here on are behind the devices. */
static const uint64_t HIGH = 0x100000;

static int write_to(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof path, "/sys/devices/system/memory/%s", name);
	int file = open(path, O_WRONLY);
	if (file < 0)
		return errno;
	int error = write(file, text, strlen(text)) < 0 ? errno : 0;
	close(file);
	return error;
}

static void told(const char *name, const char *text)
{
	int error = write_to(name, text);
	printf("%s > %s: %s\n", text, name, error ? strerror(error) : "done");
}

static void show(const char *name)
{
	char path[256], text[256] = "";
	snprintf(path, sizeof path, "/sys/devices/system/memory/%s", name);
	FILE *file = fopen(path, "r");
	if (!file || !fgets(text, sizeof text, file))
		snprintf(text, sizeof text, "%s\n", strerror(errno));
	printf("%s: %s", name, text);
	if (file)
		fclose(file);
}

static long meminfo(const char *name)
{
	char line[128];
	long value = -1;
	FILE *file = fopen("/proc/meminfo", "r");
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)))
			value = atol(line + strlen(name));
	if (file)
		fclose(file);
	return value / 1024;
}

static void lines_of(const char *path, const char *with)
{
	char line[256];
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (strstr(line, with))
			fputs(line, stdout);
	if (file)
		fclose(file);
}

/* Pages of the zone that allocators have. */
static long managed(const char *zone)
{
	char line[256];
	int here = 0;
	long pages = 0;
	FILE *file = fopen("/proc/zoneinfo", "r");
	while (file && fgets(line, sizeof line, file)) {
		char name[32];
		if (sscanf(line, "Node 0, zone %31s", name) == 1)
			here = !strcmp(name, zone);
		if (here)
			sscanf(line, " managed %ld", &pages);
	}
	if (file)
		fclose(file);
	return pages;
}

static unsigned char *memory;

/* How many of the pages are behind the devices; -1 if one changed. */
static long high(void)
{
	int file = open("/proc/self/pagemap", O_RDONLY);
	static uint64_t words[PAGES];
	long count = 0;
	if (pread(file, words, sizeof words, (uintptr_t)memory / SIZE * 8) != sizeof words)
		return -1;
	for (long page = 0; page < PAGES; page++) {
		if (memory[page * SIZE] != page % 251 + 1 || memory[page * SIZE + 4095] != page % 127 + 1)
			return -1;
		count += (words[page] & ((1ull << 55) - 1)) >= HIGH;
	}
	close(file);
	return count;
}

int main(void)
{
	long total = meminfo("MemTotal:");
	told("probe", "0x100001000");
	told("probe", "0x8000000");
	told("probe", "0x140000000");
	told("probe", "nonsense");
	show("probe");
	show("memory32/state");
	lines_of("/proc/iomem", "100000000");
	told("probe", "0x100000000");
	told("probe", "4294967296");
	lines_of("/proc/iomem", "100000000");
	show("memory32/state");
	show("memory32/online");
	show("memory32/phys_index");
	show("memory32/phys_device");
	show("memory32/removable");
	show("memory32/valid_zones");
	printf("%ld MiB more\n", meminfo("MemTotal:") - total);

	told("memory32/state", "online_movable");
	told("memory32/state", "online");
	show("memory32/state");
	show("memory32/valid_zones");
	printf("%ld MiB more, %ld pages movable\n", meminfo("MemTotal:") - total, managed("Movable"));
	memory = mmap(0, PAGES * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (long page = 0; page < PAGES; page++) {
		memory[page * SIZE] = page % 251 + 1;
		memory[page * SIZE + 4095] = page % 127 + 1;
	}
	printf("used: %s\n", high() == PAGES ? "all" : "not all");
	told("memory32/state", "offline");
	show("memory32/online");
	show("memory32/valid_zones");
	printf("used: %ld\n", high());
	printf("%ld MiB more, %ld pages movable\n", meminfo("MemTotal:") - total, managed("Movable"));

	told("memory32/online", "1");
	show("memory32/valid_zones");
	told("memory32/online", "0");
	told("memory32/state", "online_kernel");
	show("memory32/valid_zones");
	printf("%ld pages normal\n", managed("Normal"));
	show("auto_online_blocks");
	told("auto_online_blocks", "online_movable");
	told("probe", "0x108000000");
	show("memory33/state");
	show("memory33/valid_zones");
	lines_of("/proc/iomem", "System RAM");
	printf("%ld MiB more\n", meminfo("MemTotal:") - total);
	return 0;
}
