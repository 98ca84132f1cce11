/* Who can be spliced from and to: sendfile, splice and copy_file_range between
 * every kind of file. Prints a letter of success or the error of each. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

static const char TEXT[] = "0123456789abcdef";

static int opened(const char *path, int flags) {
    int fd = open(path, flags | O_CREAT * (flags == O_RDWR && path[0] == 'x'), 0600);
    if (fd < 0) printf("%s: %s\n", path, strerror(errno));
    return fd;
}

static int filled(int fd) {
    if (write(fd, TEXT, sizeof TEXT) < 0) printf("fill: %s\n", strerror(errno));
    lseek(fd, 0, SEEK_SET);
    return fd;
}

enum { REGULAR, MEMFD, PID_TEXT, TASK_MEM, PAGEMAP, MOUNTS, TEXT_OF_PROC, KNOB, SYSFS, NUL, ZERO, RANDOM, DIRECTORY, EVENT, TIMER,
       SIGNAL, EPOLL, PIPE, SOCKET, DATAGRAM, PATH, KINDS };
static const char *const NAME[] = {"regular", "memfd", "pid text", "mem", "pagemap", "mountinfo", "proc", "knob", "sysfs",
                                   "null", "zero", "urandom", "directory", "eventfd", "timerfd", "signalfd", "epoll",
                                   "pipe", "socket", "datagram", "path"};

static int source(int kind) {
    int pair[2];
    switch (kind) {
    case REGULAR: return filled(opened("x.in", O_RDWR));
    case MEMFD: return filled(memfd_create("in", 0));
    case PID_TEXT: return opened("/proc/self/maps", O_RDONLY);
    case TASK_MEM: return opened("/proc/self/mem", O_RDONLY);
    case PAGEMAP: return opened("/proc/self/pagemap", O_RDONLY);
    case MOUNTS: return opened("/proc/self/mountinfo", O_RDONLY);
    case TEXT_OF_PROC: return opened("/proc/meminfo", O_RDONLY);
    case KNOB: return opened("/proc/sys/vm/overcommit_memory", O_RDONLY);
    case SYSFS: return opened("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY);
    case NUL: return opened("/dev/null", O_RDONLY);
    case ZERO: return opened("/dev/zero", O_RDONLY);
    case RANDOM: return opened("/dev/urandom", O_RDONLY);
    case DIRECTORY: return opened(".", O_RDONLY);
    case EVENT: return eventfd(1, EFD_NONBLOCK);
    case TIMER: return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    case SIGNAL: { sigset_t set; sigemptyset(&set); return signalfd(-1, &set, SFD_NONBLOCK); }
    case EPOLL: return epoll_create1(0);
    case PIPE: if (pipe(pair)) return -1; filled(pair[1]); return pair[0];
    case SOCKET: if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return -1; filled(pair[1]); return pair[0];
    case DATAGRAM: if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return -1; filled(pair[1]); return pair[0];
    default: return opened("x.in", O_PATH);
    }
}

static int target(int kind) {
    int pair[2];
    switch (kind) {
    case REGULAR: return opened("x.out", O_RDWR);
    case MEMFD: return memfd_create("out", 0);
    case NUL: return opened("/dev/null", O_WRONLY);
    case ZERO: return opened("/dev/zero", O_WRONLY);
    case PID_TEXT: return opened("/proc/self/comm", O_WRONLY);
    case EVENT: return eventfd(0, EFD_NONBLOCK);
    case TIMER: return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    case SIGNAL: { sigset_t set; sigemptyset(&set); return signalfd(-1, &set, SFD_NONBLOCK); }
    case EPOLL: return epoll_create1(0);
    case PIPE: if (pipe(pair)) return -1; return pair[1];
    case SOCKET: if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return -1; return pair[1];
    case DATAGRAM: if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return -1; return pair[1];
    case PATH: return opened("x.out", O_PATH);
    default: return -1;
    }
}

static void tell(const char *what, long answer) {
    if (answer < 0) printf(" %s %s", what, strerrorname_np(errno));
    else printf(" %s %ld", what, answer);
}

int main(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        int into[2];
        printf("from %s:", NAME[kind]);
        int fd = source(kind), file = target(MEMFD);
        tell("sendfile", sendfile(file, fd, NULL, 4));
        close(fd), fd = source(kind);
        off_t at = 0;
        tell("at", sendfile(file, fd, &at, 4));
        if (pipe(into)) return 1;
        close(fd), fd = source(kind);
        tell("to a pipe", sendfile(into[1], fd, NULL, 4));
        close(fd), fd = source(kind);
        tell("splice", splice(fd, NULL, into[1], NULL, 4, 0));
        close(fd), fd = source(kind);
        tell("copy", copy_file_range(fd, NULL, file, NULL, 4, 0));
        close(fd), close(file), fd = source(kind), file = target(REGULAR);
        tell("to a file", copy_file_range(fd, NULL, file, NULL, 4, 0));
        close(fd), close(file), close(into[0]), close(into[1]);
        printf("\n");
    }
    for (int kind = 0; kind < KINDS; kind++) {
        int from[2], fd = target(kind), file = source(REGULAR);
        if (fd < 0) continue;
        printf("to %s:", NAME[kind]);
        if (pipe(from)) return 1;
        filled(from[1]);
        tell("sendfile", sendfile(fd, file, NULL, 4));
        tell("splice", splice(from[0], NULL, fd, NULL, 4, 0));
        tell("copy", copy_file_range(file, NULL, fd, NULL, 4, 0));
        close(fd), close(file), close(from[0]), close(from[1]);
        printf("\n");
    }
    int in = source(REGULAR), back = opened("x.in", O_WRONLY | O_APPEND), only = opened("x.in", O_RDONLY);
    off_t zero = 0, two = 2, eight = 8, far = 0x7fffffffffffffff, below = -1;
    printf("ranges:");
    tell("flags", copy_file_range(in, NULL, in, NULL, 4, 1));
    tell("onto itself", copy_file_range(in, &zero, in, &two, 4, 0));
    zero = 0;
    tell("beside", copy_file_range(in, &zero, in, &eight, 4, 0));
    tell("to the append end", copy_file_range(in, NULL, back, NULL, 4, 0));
    tell("to what is read", copy_file_range(in, NULL, only, NULL, 4, 0));
    tell("from what is written", copy_file_range(back, NULL, in, NULL, 4, 0));
    tell("far", copy_file_range(in, &far, in, &zero, 4, 0));
    tell("below", copy_file_range(in, &below, in, &zero, 4, 0));
    tell("nothing", copy_file_range(in, NULL, in, NULL, 0, 0));
    tell("bad pointer", copy_file_range(in, (void *)8, in, NULL, 4, 0));
    below = -1;
    tell("sendfile below", sendfile(target(MEMFD), in, &below, 4));
    tell("sendfile far", sendfile(target(MEMFD), in, &far, 4));
    tell("sendfile bad pointer", sendfile(target(MEMFD), in, (void *)8, 4));
    tell("sendfile append", sendfile(back, in, NULL, 4));
    tell("sendfile nothing", sendfile(target(MEMFD), in, NULL, 0));
    tell("splice flags", splice(in, NULL, target(PIPE), NULL, 4, 64));
    tell("splice nothing", splice(in, NULL, in, NULL, 0, 0));
    tell("splice no pipe", splice(in, NULL, in, NULL, 4, 0));
    tell("splice pipe offset", splice(in, NULL, target(PIPE), &two, 4, 0));
    tell("tee flags", tee(in, in, 4, 64));
    tell("tee nothing", tee(in, in, 0, 0));
    tell("tee no pipe", tee(in, in, 4, 0));
    printf("\n");
}
