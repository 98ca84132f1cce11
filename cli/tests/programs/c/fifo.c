/*
 * Pipes with names in shared memory: who waits for whom, what poll says, and
 * what the calls refuse.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[200];

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static int ready(int fd)
{
	struct pollfd poll_ = { .fd = fd, .events = POLLIN | POLLOUT };

	return poll(&poll_, 1, 0) > 0 ? poll_.revents : 0;
}

/* Opens the pipe in a while in a child, writes or reads, and ends. */
static pid_t later(int flags)
{
	char byte = 'x';
	pid_t child = fork();

	if (child)
		return child;
	usleep(50000);
	int fd = open(path, flags);

	if (flags == O_WRONLY)
		write(fd, &byte, 1);
	else
		read(fd, &byte, 1);
	_exit(byte);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void all_in(const char *folder)
{
	char buffer[100];
	struct stat stat_;
	int reader, writer, both, status;
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value.tv_usec = 30000 };

	snprintf(path, sizeof path, "%s/fifo-%d", folder, getpid());
	say("make", mkfifo(path, 0640));
	say("make again", mkfifo(path, 0640));
	stat(path, &stat_);
	printf("mode %o, size %ld, names %ld\n", stat_.st_mode, (long)stat_.st_size, (long)stat_.st_nlink);
	say("write to nobody", open(path, O_WRONLY | O_NONBLOCK));
	reader = open(path, O_RDONLY | O_NONBLOCK);
	say("nobody writes", read(reader, buffer, 10));
	printf("calm: %x\n", ready(reader));
	writer = open(path, O_WRONLY | O_NONBLOCK);
	say("nothing yet", read(reader, buffer, 10));
	printf("empty: %x %x\n", ready(reader), ready(writer));
	say("write", write(writer, "hello", 5));
	printf("full: %x\n", ready(reader));
	ioctl(reader, FIONREAD, &status);
	printf("bytes: %d, room for %d\n", status, fcntl(reader, F_GETPIPE_SZ));
	close(writer);
	printf("left: %x\n", ready(reader));
	say("read", read(reader, buffer, 100));
	say("and the end", read(reader, buffer, 100));
	printf("hung up: %x\n", ready(reader));
	say("seek", lseek(reader, 0, SEEK_SET));
	say("truncate", ftruncate(reader, 0));
	close(reader);

	later(O_WRONLY);
	reader = open(path, O_RDONLY);
	say("waited for a writer", read(reader, buffer, 10));
	say("who is gone", read(reader, buffer, 10));
	close(reader);
	wait(&status);
	later(O_RDONLY);
	writer = open(path, O_WRONLY);
	say("waited for a reader", write(writer, "y", 1));
	wait(&status);
	printf("who got %c\n", WEXITSTATUS(status));
	signal(SIGPIPE, SIG_IGN);
	say("and is gone", write(writer, "z", 1));
	printf("broken: %x\n", ready(writer));
	close(writer);

	both = open(path, O_RDWR);
	say("both", write(both, "self", 4));
	say("and back", read(both, buffer, 10));
	say("kept while open", write(both, "more", 4));
	reader = open(path, O_RDONLY);
	close(both);
	say("by the other", read(reader, buffer, 10));
	close(reader);
	both = open(path, O_RDWR | O_NONBLOCK);
	say("and forgotten", read(both, buffer, 10));
	close(both);

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	say("interrupted", open(path, O_RDONLY));
	say("and left nobody", open(path, O_WRONLY | O_NONBLOCK));
	say("a folder", open(path, O_RDONLY | O_DIRECTORY));
	reader = open(path, O_RDONLY | O_NONBLOCK);
	say("unlink", unlink(path));
	fstat(reader, &stat_);
	printf("names %ld\n", (long)stat_.st_nlink);
	close(reader);
	say("open", open(path, O_RDONLY));
}

int main(void)
{
	umask(022);
	all_in("/dev/shm");
	return 0;
}
