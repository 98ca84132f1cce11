/*
 * Limits that end in a signal or an error: the size of files, the number of
 * processes. And what is told of a process that has ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t signals, by_me;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	signals++;
	by_me = info->si_code == SI_USER && info->si_pid == getpid() && info->si_uid == getuid();
}

/* The output may be a file, too. */
static void flush(void)
{
	struct rlimit now, none = { RLIM_INFINITY, RLIM_INFINITY };

	getrlimit(RLIMIT_FSIZE, &now);
	setrlimit(RLIMIT_FSIZE, &none);
	fflush(stdout);
	setrlimit(RLIMIT_FSIZE, &now);
}

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s", what, strerrorname_np(errno));
	else
		printf("%s: %ld", what, result);
	printf(signals ? ", told by %d signal%s\n" : "\n", signals, by_me ? " of mine" : "");
	signals = by_me = 0;
	flush();
}

static void file_in(const char *folder)
{
	char path[200], other[200], block[4096] = "";
	struct iovec pieces[2] = { { block, 600 }, { block, 600 } };
	int fd, to, ends[2];

	printf("in %s\n", strcmp(folder, ".") ? folder : "this folder");
	flush();
	snprintf(path, sizeof path, "%s/limited-%d", folder, getpid());
	snprintf(other, sizeof other, "%s/limited-%d.other", folder, getpid());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	say("write within", write(fd, block, 500));
	say("write across", write(fd, block, 4096));
	say("write beyond", write(fd, block, 1));
	say("write nothing", write(fd, block, 0));
	say("write before", pwrite(fd, block, 10, 990));
	say("write across by offset", pwrite(fd, block, 100, 990));
	say("write at the limit", pwrite(fd, block, 100, 1000));
	lseek(fd, 0, SEEK_SET);
	say("write pieces", writev(fd, pieces, 2));
	say("write pieces beyond", writev(fd, pieces, 2));
	say("grow to the limit", ftruncate(fd, 1000));
	say("grow", ftruncate(fd, 1001));
	say("grow by name", truncate(path, 5000));
	say("shrink", ftruncate(fd, 10));
	say("reserve", fallocate(fd, 0, 0, 1000));
	say("reserve more", fallocate(fd, 0, 0, 1001));
	say("reserve without growing", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8192));
	fcntl(fd, F_SETFL, O_APPEND);
	ftruncate(fd, 900);
	say("append across", write(fd, block, 200));
	say("append beyond", pwrite(fd, block, 200, 0));
	fcntl(fd, F_SETFL, 0);

	to = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
	lseek(to, 800, SEEK_SET);
	lseek(fd, 0, SEEK_SET);
	say("send across", sendfile(to, fd, NULL, 500));
	say("read until", lseek(fd, 0, SEEK_CUR));
	say("send beyond", sendfile(to, fd, NULL, 500));
	loff_t from = 0, at = 990;

	say("copy across", copy_file_range(fd, &from, to, &at, 500, 0));
	say("copy beyond", copy_file_range(fd, &from, to, &at, 500, 0));
	pipe(ends);
	say("a pipe", write(ends[1], block, 4096));
	close(ends[0]);
	close(ends[1]);
	struct rlimit low = { 100, RLIM_INFINITY };

	setrlimit(RLIMIT_FSIZE, &low);
	say("shrink to more than the limit", ftruncate(fd, 500));
	say("write below what is there", pwrite(fd, block, 10, 200));
	low.rlim_cur = 1000;
	setrlimit(RLIMIT_FSIZE, &low);
	close(fd);
	close(to);
	unlink(path);
	unlink(other);
}

static void file_sizes(void)
{
	struct rlimit limit = { 1000, RLIM_INFINITY };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int status;

	setrlimit(RLIMIT_FSIZE, &limit);
	sigaction(SIGXFSZ, &action, NULL);
	file_in(".");
	file_in("/dev/shm");
	int fd = memfd_create("limited", 0);

	say("memory", ftruncate(fd, 1001));
	say("and written", write(fd, &limit, 16));
	if (!fork()) {
		struct rlimit none = { 0, 0 };

		signal(SIGXFSZ, SIG_DFL);
		setrlimit(RLIMIT_CORE, &none);
		pwrite(fd, &limit, 1, 1000);
		_exit(0);
	}
	wait(&status);
	printf("killed by %d\n", WTERMSIG(status));
	signal(SIGXFSZ, SIG_IGN);
	say("ignored", pwrite(fd, &limit, 1, 1000));
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
}

static pid_t made_by[10];

/* Forks until it may not. */
static int forks(void)
{
	int made = 0;

	while (made < 10) {
		pid_t child = fork();

		if (child < 0) {
			printf("%s after %d\n", strerrorname_np(errno), made);
			break;
		}
		if (!child) {
			pause();
			_exit(0);
		}
		made_by[made++] = child;
	}
	fflush(stdout);
	return made;
}

static void end(int made)
{
	siginfo_t info;

	while (made--) {
		kill(made_by[made], SIGKILL);
		waitid(P_PID, made_by[made], &info, WEXITED | WNOWAIT);
	}
}

static void processes(void)
{
	struct rlimit limit = { 4, 4 };
	int made, status;

	if (geteuid()) {
		printf("not root\n");
		return;
	}
	if (fork()) {
		wait(&status);
		return;
	}
	setrlimit(RLIMIT_NPROC, &limit);
	made = forks();
	printf("root has no limit: %d\n", made == 10);
	fflush(stdout);
	end(made);
	while (wait(&status) > 0)
		;
	/* Whoever this is, nobody else is. */
	if (setresuid(51234, 51234, 51234))
		_exit(1);
	made = forks();
	end(made);
	/* The dead count until somebody has looked at them. */
	printf("the dead count: %d\n", fork() < 0);
	while (wait(&status) > 0)
		made--;
	printf("left: %d\n", made);
	fflush(stdout);
	pid_t child = fork();

	if (!child)
		_exit(0);
	printf("and again: %d\n", child > 0);
	wait(&status);
	fflush(stdout);
	_exit(0);
}

static void line_of(const char *path, const char *start)
{
	char line[400];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, start, strlen(start)))
			printf("%s", line);
	if (file)
		fclose(file);
}

static void remains(void)
{
	char path[60], text[400] = "";
	const char *facts[] = { "Name", "State", "Uid", "Gid", "FDSize", "Threads", "CapEff", "SigIgn", "Vm" };
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_NAME, "last (words)");
		_exit(3);
	}
	siginfo_t info;

	waitid(P_PID, child, &info, WEXITED | WNOWAIT);
	snprintf(path, sizeof path, "/proc/%d/comm", child);
	line_of(path, "");
	snprintf(path, sizeof path, "/proc/%d/status", child);
	for (unsigned i = 0; i < sizeof facts / sizeof *facts; i++)
		line_of(path, facts[i]);
	snprintf(path, sizeof path, "/proc/%d/stat", child);
	FILE *file = fopen(path, "r");

	fgets(text, sizeof text, file);
	fclose(file);
	*(strrchr(text, ')') + 3) = 0;
	printf("%s\n", strchr(text, '('));
	snprintf(path, sizeof path, "/proc/%d/exe", child);
	printf("exe: %s\n", readlink(path, text, sizeof text) < 0 ? strerrorname_np(errno) : "there");
	snprintf(path, sizeof path, "/proc/%d/statm", child);
	line_of(path, "");
	wait(NULL);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	file_sizes();
	processes();
	remains();
	return 0;
}
