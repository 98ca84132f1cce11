/*
 * inotify: what is told of what is done to files, by whom ever; and what the
 * calls refuse.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* All but IN_ACCESS: what is in memory is read without asking. */
#define MOST (IN_ALL_EVENTS & ~IN_ACCESS)

static const char *names[] = {
	"access", "modify", "attrib", "close after writing", "close", "open", "moved from", "moved to",
	"create", "delete", "delete self", "move self", NULL, "unmount", "overflow", "ignored",
};
static int watcher;

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

/* Prints what has happened since the last time. */
static void told(const char *what)
{
	_Alignas(struct inotify_event) char buffer[8192];
	ssize_t got = read(watcher, buffer, sizeof buffer);
	unsigned cookie = 0;

	printf("%s:", what);
	if (got < 0)
		printf(" %s", strerrorname_np(errno));
	for (char *at = buffer; at < buffer + got;) {
		struct inotify_event *event = (struct inotify_event *)at;

		printf(" %d", event->wd);
		for (int bit = 0; bit < 16; bit++)
			if (event->mask >> bit & 1)
				printf(" %s", names[bit]);
		if (event->mask & IN_ISDIR)
			printf(" folder");
		if (event->len)
			printf(" %s (%u)", event->name, event->len);
		if (event->cookie)
			printf(event->cookie == cookie ? " the same" : " a cookie");
		cookie = event->cookie;
		printf(";");
		at += sizeof *event + event->len;
	}
	printf("\n");
	fflush(stdout);
}

static void *later(void *unused)
{
	usleep(100000);
	close(open("in/later", O_CREAT | O_WRONLY, 0600));
	return unused;
}

int main(void)
{
	char block[100] = "some text";
	int fd, folder, file, number;
	pthread_t thread;
	struct epoll_event event = { .events = EPOLLIN };

	mkdir("in", 0700);
	mkdir("out", 0700);
	watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	printf("flags: %x %x\n", fcntl(watcher, F_GETFL), fcntl(watcher, F_GETFD));
	say("unknown flags", inotify_init1(1));
	say("no file", inotify_add_watch(watcher, "none", MOST));
	say("no events", inotify_add_watch(watcher, "in", 0));
	say("an unknown event", inotify_add_watch(watcher, "in", 0x1000));
	say("new and more", inotify_add_watch(watcher, "in", MOST | IN_MASK_ADD | IN_MASK_CREATE));
	say("no descriptor", inotify_add_watch(99, "in", MOST));
	say("another kind", inotify_add_watch(1, "in", MOST));
	say("end of none", inotify_rm_watch(watcher, 7));
	say("end of another kind", inotify_rm_watch(1, 1));
	say("write", write(watcher, block, 1));

	folder = inotify_add_watch(watcher, "in", MOST);
	printf("folder %d, again %d\n", folder, inotify_add_watch(watcher, "./in", MOST));
	say("new, but known", inotify_add_watch(watcher, "in", MOST | IN_MASK_CREATE));
	told("nothing");

	fd = open("in/file", O_CREAT | O_TRUNC | O_RDWR, 0600);
	told("make");
	write(fd, block, 10);
	told("write");
	write(fd, block, 10);
	write(fd, block, 10);
	told("write twice");
	pwrite(fd, block, 0, 0);
	told("write nothing");
	ftruncate(fd, 5);
	told("truncate");
	fchmod(fd, 0644);
	told("chmod");
	close(fd);
	told("close");
	close(open("in/file", O_RDONLY));
	told("open and close");
	fd = open("in/file", O_RDONLY);
	read(fd, block, 5);
	close(fd);
	told("read");
	close(open("in/file", O_WRONLY | O_TRUNC));
	told("empty");
	close(open("in/file", O_WRONLY | O_APPEND));
	told("append nothing");
	file = inotify_add_watch(watcher, "in/file", MOST);
	printf("file %d\n", file);
	chmod("in/file", 0600);
	told("chmod of both");
	rename("in/file", "in/renamed");
	told("rename");
	rename("in/renamed", "out/away");
	told("away");
	rename("out/away", "in/back");
	told("and back");
	link("in/back", "in/linked");
	told("link");
	symlink("back", "in/symbolic");
	told("symbolic link");
	number = inotify_add_watch(watcher, "in/symbolic", MOST | IN_DONT_FOLLOW);
	printf("the link is %d, what it leads to %d\n", number, inotify_add_watch(watcher, "in/symbolic", MOST));
	unlink("in/symbolic");
	told("unlink it");
	unlink("in/linked");
	told("unlink one name");
	unlink("in/back");
	told("unlink the last");
	say("a file as a folder", inotify_add_watch(watcher, "/proc/self/exe", MOST | IN_ONLYDIR));
	mkdir("in/below", 0700);
	told("mkdir");
	close(open("in/below", O_RDONLY | O_DIRECTORY));
	told("open a folder");
	rmdir("in/below");
	told("rmdir");

	if (!fork()) {
		fd = open("in/childs", O_CREAT | O_WRONLY, 0600);
		write(fd, block, 3);
		_exit(0);
	}
	wait(NULL);
	told("a child");

	/* From outside of the machine, if this is one. */
	number = inotify_add_watch(watcher, "out", IN_CREATE | IN_ONESHOT);
	close(open("out/once", O_CREAT | O_WRONLY, 0600));
	close(open("out/twice", O_CREAT | O_WRONLY, 0600));
	told("once");
	number = inotify_add_watch(watcher, "out", IN_DELETE);
	inotify_add_watch(watcher, "out", IN_CREATE | IN_MASK_ADD);
	unlink("out/once");
	close(open("out/once", O_CREAT | O_WRONLY, 0600));
	told("both");
	inotify_add_watch(watcher, "out", IN_DELETE);
	close(open("out/more", O_CREAT | O_WRONLY, 0600));
	unlink("out/more");
	told("only one");
	say("end", inotify_rm_watch(watcher, number));
	told("it has ended");
	say("end again", inotify_rm_watch(watcher, number));

	int epoll = epoll_create1(0);
	struct pollfd ready = { .fd = watcher, .events = POLLIN };

	epoll_ctl(epoll, EPOLL_CTL_ADD, watcher, &event);
	printf("ready: %d %d\n", poll(&ready, 1, 0), epoll_wait(epoll, &event, 1, 0));
	pthread_create(&thread, NULL, later, NULL);
	printf("waited: %d\n", epoll_wait(epoll, &event, 1, 5000));
	pthread_join(thread, NULL);
	printf("ready: %d\n", poll(&ready, 1, 0));
	ioctl(watcher, FIONREAD, &number);
	printf("waiting: %d bytes\n", number);
	say("too little room", read(watcher, block, 16));
	printf("one at a time: %zd\n", read(watcher, block, 40));
	told("the others");
	fcntl(watcher, F_SETFL, 0);
	unlink("in/later");
	told("unlink");
	pthread_create(&thread, NULL, later, NULL);
	printf("waiting: %d\n", read(watcher, block, sizeof block) > 0);
	pthread_join(thread, NULL);
	close(watcher);
	unlink("in/later");
	unlink("in/childs");
	unlink("out/once");
	unlink("out/twice");
	rmdir("in");
	rmdir("out");
	return 0;
}
