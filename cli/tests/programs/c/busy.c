/*
 * A file that runs is not written, and one that may be written does not run:
 * what each call says of it, in this folder and in shared memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *folder;
static char copy[200], moved[200], script[200], other[200];

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

/* Opens, says how that went, and closes. */
static void try_open(const char *what, const char *path, int flags)
{
	int fd = open(path, flags, 0755);

	say(what, fd);
	close(fd);
}

static void run(const char *what, const char *path)
{
	int status;
	pid_t child = fork();

	if (!child) {
		execl(path, path, "stop", NULL);
		_exit(errno);
	}
	waitpid(child, &status, 0);
	printf("%s: %s\n", what, WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "ok");
}

static void write_file(const char *path, const void *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	if (write(fd, bytes, length) != (ssize_t)length)
		exit(3);
	close(fd);
}

static long length_of(const char *path)
{
	struct stat stat_;

	return stat(path, &stat_) ? -1 : stat_.st_size;
}

/* What may be done to a file while it runs. */
static void as_the_running(void)
{
	try_open("write myself", "/proc/self/exe", O_WRONLY);
	try_open("read and write", copy, O_RDWR);
	try_open("make anew", copy, O_WRONLY | O_CREAT | O_TRUNC);
	try_open("empty", copy, O_RDONLY | O_TRUNC);
	try_open("read", copy, O_RDONLY);
	try_open("look", copy, O_PATH);
	say("truncate", truncate(copy, 4096));
	say("chmod", chmod(copy, 0755));
	say("rename", rename(copy, moved));
	try_open("write under the new name", moved, O_WRONLY);
	say("and back", rename(moved, copy));
	fflush(stdout);

	pid_t child = fork();

	if (!child) {
		try_open("the child's", copy, O_WRONLY);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	fflush(stdout);
}

static void all_in(const char *where, const void *self, size_t length)
{
	char text[300], by_number[40];
	int fd, status;
	void *page;

	folder = where;
	printf("in %s\n", strcmp(where, ".") ? where : "this folder");
	snprintf(copy, sizeof copy, "%s/busy-%d", folder, getpid());
	snprintf(moved, sizeof moved, "%s/busy-%d.moved", folder, getpid());
	snprintf(script, sizeof script, "%s/busy-%d.sh", folder, getpid());
	snprintf(other, sizeof other, "%s/busy-%d.by", folder, getpid());
	write_file(copy, self, length);
	write_file(script, "#!/bin/sh\nexit 0\n", 17);
	write_file(other, text, sprintf(text, "#!%s\n", copy));

	fd = open(copy, O_WRONLY);
	run("run what I write", copy);
	run("run its script", other);
	close(fd);
	run("run it then", copy);
	fd = open(copy, O_PATH);
	run("run what I look at", copy);
	close(fd);
	fd = open(copy, O_RDWR);
	page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	run("run what I map", copy);
	munmap(page, 4096);
	run("run what I mapped", copy);
	fd = open(script, O_RDWR);
	run("run a script that I write", script);
	snprintf(by_number, sizeof by_number, "/proc/self/fd/%d", fd);
	run("run it by its number", by_number);
	close(fd);
	run("run the script then", script);
	/* Only the program is kept from writers, not what it maps. */
	fd = open(script, O_RDONLY);
	page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	close(fd);
	try_open("write what I map", script, O_WRONLY);
	munmap(page, 4096);
	fflush(stdout);

	pid_t child = fork();

	if (!child) {
		execl(copy, copy, "inside", folder, copy, moved, NULL);
		_exit(errno);
	}
	waitpid(child, &status, 0);
	printf("ended with %d, as long as before: %d\n", WEXITSTATUS(status), length_of(copy) == (long)length);
	try_open("write what has run", copy, O_WRONLY | O_TRUNC);
	printf("and empty: %d\n", length_of(copy) == 0);
	unlink(copy);
	unlink(script);
	unlink(other);
}

int main(int count, char **words)
{
	static char self[1 << 20];

	if (count == 2)
		return 0;
	if (count > 4) {
		strcpy(copy, words[3]);
		strcpy(moved, words[4]);
		as_the_running();
		return 7;
	}
	ssize_t length = 0, got;
	int fd = open("/proc/self/exe", O_RDONLY);

	while ((got = read(fd, self + length, sizeof self - length)) > 0)
		length += got;
	close(fd);
	all_in(".", self, length);
	all_in("/dev/shm", self, length);

	/* What memfd_create() made counts only once it was opened again. */
	fd = memfd_create("busy", 0);
	if (write(fd, self, length) != length)
		return 3;
	char path[40];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	run("run my memory", path);
	int again = open(path, O_RDWR);

	run("run it open twice", path);
	close(again);
	run("run it open once", path);
	return 0;
}
