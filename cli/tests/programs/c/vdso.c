/* What a program sees of the areas [vvar], [vvar_vclock] and [vdso], and what
 * it may do with them. Prints the same on Linux 6.18 and on Foliant. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *vvar, *vdso, *ld;
static sigjmp_buf back;

static void caught(int signal, siginfo_t *info, void *context)
{
	(void)info, (void)context;
	siglongjmp(back, signal);
}

/* Areas in order, with their flags. */
static void areas(void)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[512], name[64] = "", *end = NULL;
	while (fgets(line, sizeof line, smaps)) {
		unsigned long from, to, offset, inode;
		char perms[8], device[8], label[256] = "";
		if (sscanf(line, "%lx-%lx %7s %lx %7s %lu %255s", &from, &to, perms, &offset, device, &inode,
			   label) >= 6) {
			if (end && end == (char *)from && !ld)
				ld = end, printf("next to the interpreter: %d\n", strstr(label, "/ld") != NULL);
			name[0] = 0;
			if (strncmp(label, "[v", 2) || !strcmp(label, "[vsyscall]"))
				continue;
			if (!strcmp(label, "[vvar]"))
				vvar = (char *)from;
			if (!strcmp(label, "[vdso]"))
				vdso = (char *)from, end = (char *)to;
			strcpy(name, label);
			printf("%s %lu pages %s %lx %s %lu, %ld below [vdso]\n", label, (to - from) / 4096, perms,
			       offset, device, inode, vdso ? vdso - (char *)from : -1);
		} else if (name[0] && (!strncmp(line, "VmFlags", 7) || !strncmp(line, "Rss", 3))) {
			printf("  %s", line);
		}
	}
	fclose(smaps);
}

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result == -1 ? strerrorname_np(errno) : "done");
}

static long minor(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static void touch(const char *what, char *at, int write)
{
	int signal = sigsetjmp(back, 1);
	long before = minor();
	if (!signal) {
		volatile char *byte = at;
		char value = *byte;
		if (write)
			*byte = value;
	}
	printf("%s: signal %d, %ld faults\n", what, signal, minor() - before);
}

static long nanos(const struct timespec *time)
{
	return time->tv_sec * 1000000000L + time->tv_nsec;
}

/* Clocks of the C library between calls of the kernel's, both ways. */
static void clocks(void)
{
	static const int ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI};
	for (unsigned k = 0; k < sizeof ids / sizeof *ids; k++) {
		int backwards = 0;
		struct timespec one, two, three;
		for (int i = 0; i < 20000; i++) {
			clock_gettime(ids[k], &one);
			if (i % 16 == 0)
				syscall(SYS_clock_gettime, ids[k], &two);
			else
				clock_gettime(ids[k], &two);
			clock_gettime(ids[k], &three);
			backwards += nanos(&two) < nanos(&one) || nanos(&three) < nanos(&two);
		}
		clock_getres(ids[k], &one);
		printf("clock %d: %d backwards, resolution %ld\n", ids[k], backwards, nanos(&one));
	}
	struct timeval now;
	struct timespec real;
	gettimeofday(&now, NULL);
	time_t seconds = time(NULL);
	clock_gettime(CLOCK_REALTIME, &real);
	printf("seconds apart: %d %d\n", real.tv_sec - now.tv_sec > 1, real.tv_sec - seconds > 1);
	printf("no such clock: %d\n", clock_gettime(77, &real) == -1 && errno == EINVAL);
	unsigned cpu = -1, node = -1;
	printf("getcpu: %d %d\n", getcpu(&cpu, &node), cpu < 4096 && node < 64);
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);

	areas();
	printf("told of it: %d, an ELF image: %d\n", (char *)getauxval(AT_SYSINFO_EHDR) == vdso,
	       !memcmp(vdso, "\177ELF", 4));
	clocks();

	touch("read data", vvar, 0);
	touch("write data", vvar, 1);
	touch("read where no page is", vvar + 3 * 4096, 0);
	touch("read code", vdso, 0);
	touch("read the second page of code", vdso + 4096, 0);
	touch("write code", vdso, 1);
	say("make data writable", mprotect(vvar, 4 * 4096, PROT_READ | PROT_WRITE));
	say("protect half of the code", mprotect(vdso, 4096, PROT_READ));
	say("unmap half of the code", munmap(vdso, 4096));
	say("unmap half of the data", munmap(vvar + 4096, 4096));
	say("grow the code", (long)mremap(vdso, 8192, 16384, MREMAP_MAYMOVE));
	say("shrink the code", (long)mremap(vdso, 8192, 4096, 0));
	say("lock data", mlock(vvar, 4096));
	say("drop data", madvise(vvar, 4 * 4096, MADV_DONTNEED));
	say("do not fork code", madvise(vdso, 8192, MADV_DONTFORK));
	say("fork code", madvise(vdso, 8192, MADV_DOFORK));
	say("dump data", madvise(vvar, 4 * 4096, MADV_DODUMP));
	unsigned char resident[4];
	say("mincore of data", mincore(vvar, 4 * 4096, resident));

	fflush(stdout);
	if (fork() == 0) {
		long before = minor();
		volatile char *byte = vvar;
		(void)*byte;
		printf("a child's first look at data: %ld faults\n", minor() - before);
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	say("make code writable", mprotect(vdso, 8192, PROT_READ | PROT_WRITE | PROT_EXEC));
	touch("write code now", vdso + 4096, 1);
	clock_gettime(CLOCK_MONOTONIC, &time);
	void *old = vdso;
	char *room = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	vdso = mremap(vdso, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	say("move code", vdso == room ? 0 : -1);
	touch("read where code was", old, 0);
	touch("read where code is", vdso, 0);
	say("unmap code", munmap(vdso, 8192));
	say("unmap data", munmap(vvar, 6 * 4096));
	struct timespec later;
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &later);
	printf("the call is still there: %d\n", nanos(&later) > nanos(&time));
	return 0;
}
