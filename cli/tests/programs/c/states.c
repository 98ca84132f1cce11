/* What /proc tells of tasks that run, sleep, stop and end, and of their time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void text_of(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t len = fd < 0 ? 0 : read(fd, text, size - 1);

	text[len < 0 ? 0 : len] = 0;
	if (fd >= 0)
		close(fd);
}

/* The letter in `stat`, and the line in `status` says the same. */
static char state(const char *folder)
{
	char path[64], stat[1024], status[4096], letter;

	snprintf(path, sizeof path, "%s/stat", folder);
	text_of(path, stat, sizeof stat);
	snprintf(path, sizeof path, "%s/status", folder);
	text_of(path, status, sizeof status);
	char *end = strrchr(stat, ')'), *line = strstr(status, "State:\t");

	letter = end ? end[2] : '?';
	if (!line || line[7] != letter)
		return line ? '!' : '?';
	return letter;
}

/* Waits until it is as expected; tells what it is then, or at last. */
static char becomes(const char *folder, char expected)
{
	char letter = '?';

	for (int i = 0; i < 1000; i++) {
		letter = state(folder);
		if (letter == expected)
			break;
		usleep(2000);
	}
	return letter;
}

static void look(const char *name, char expected, int kind)
{
	char folder[64];
	int ends[2];

	if (pipe(ends))
		exit(3);
	pid_t child = fork();

	if (!child) {
		char byte;

		switch (kind) {
		case 0:
			_exit(read(ends[0], &byte, 1));
		case 1:
			pause();
			break;
		case 2:
			poll(NULL, 0, 100000);
			break;
		case 3: {
			struct timespec long_time = { 100, 0 };

			nanosleep(&long_time, NULL);
			break;
		}
		case 4:
			for (;;)
				;
		case 5:
			_exit(0);
		case 6:
			raise(SIGSTOP);
			break;
		case 7:
			if (!vfork()) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				sleep(20);
				_exit(0);
			}
			break;
		case 8:
			if (!fork()) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				pause();
				_exit(0);
			}
			wait(NULL);
			break;
		case 9: {
			int word = 0;

			syscall(SYS_futex, &word, 0, 0, NULL);
			break;
		}
		default:
			break;
		}
		_exit(1);
	}
	snprintf(folder, sizeof folder, "/proc/%d", child);
	printf("%s: %c", name, becomes(folder, expected));
	snprintf(folder, sizeof folder, "/proc/%d/task/%d", child, child);
	if (kind != 5)
		printf(" and %c", becomes(folder, expected));
	puts("");
	if (kind == 6) {
		kill(child, SIGCONT);
		waitpid(child, NULL, 0);
	} else {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	close(ends[0]);
	close(ends[1]);
}

static pid_t sleeper_tid;

static void *sleep_long(void *unused)
{
	sleeper_tid = gettid();
	pause();
	return unused;
}

static void threads(void)
{
	char folder[64];
	pthread_t thread;

	pthread_create(&thread, NULL, sleep_long, NULL);
	while (!*(volatile pid_t *)&sleeper_tid)
		;
	snprintf(folder, sizeof folder, "/proc/self/task/%d", sleeper_tid);
	printf("a thread that sleeps: %c", becomes(folder, 'S'));
	snprintf(folder, sizeof folder, "/proc/self/task/%d", getpid());
	printf(", this one: %c %c\n", state(folder), state("/proc/self"));
}

static double seconds(struct timeval time)
{
	return time.tv_sec + time.tv_usec / 1e6;
}

static void spend(const char *name, int in_kernel)
{
	static char bytes[1 << 16];
	struct rusage before, after;
	struct tms first, last;
	volatile unsigned long sum = 0;
	int zero = open("/dev/zero", O_RDONLY);
	double total = 0;

	getrusage(RUSAGE_SELF, &before);
	times(&first);
	while (total < 0.4) {
		for (int i = 0; i < 100; i++) {
			if (in_kernel && read(zero, bytes, sizeof bytes) != sizeof bytes)
				exit(4);
			for (int j = 0; !in_kernel && j < 10000; j++)
				sum += j;
		}
		getrusage(RUSAGE_SELF, &after);
		total = seconds(after.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_utime) - seconds(before.ru_stime);
	}
	times(&last);
	double user = seconds(after.ru_utime) - seconds(before.ru_utime), system = total - user;
	double user_ticks = last.tms_utime - first.tms_utime, system_ticks = last.tms_stime - first.tms_stime;
	int agree = user_ticks / 100 - user < 0.1 && user - user_ticks / 100 < 0.1 && system_ticks / 100 - system < 0.1 && system - system_ticks / 100 < 0.1;

	printf("%s: mostly %s, times %s\n", name, user > 2 * system ? "user" : system > 2 * user ? "system" : "both",
	       agree ? "agrees" : "differs");
	char text[1024];
	unsigned long utime = 0, stime = 0;

	text_of("/proc/self/stat", text, sizeof text);
	sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &utime, &stime);
	getrusage(RUSAGE_SELF, &after);
	double u = utime / 100. - seconds(after.ru_utime), s = stime / 100. - seconds(after.ru_stime);

	printf("stat %s\n", u > -0.1 && u < 0.1 && s > -0.1 && s < 0.1 ? "agrees" : "differs");
	close(zero);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	look("read", 'S', 0);
	look("pause", 'S', 1);
	look("poll", 'S', 2);
	look("nanosleep", 'S', 3);
	look("a loop", 'R', 4);
	look("ended", 'Z', 5);
	look("stopped", 'T', 6);
	look("vfork", 'D', 7);
	look("wait", 'S', 8);
	look("futex", 'S', 9);
	threads();
	spend("a loop", 0);
	spend("reading", 1);
	return 0;
}
