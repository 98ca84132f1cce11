/* Paths that openat2 keeps within bounds. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void attempt(const char *from, const char *path, unsigned long resolve, int flags)
{
	int dir = open(from, O_PATH | O_DIRECTORY);
	struct open_how how = { .flags = flags, .resolve = resolve, .mode = flags & O_CREAT ? 0600 : 0 };
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
	struct stat status = { 0 };

	if (fd >= 0)
		fstat(fd, &status);
	printf("%s from %s, %lx and %x: %s %lo\n", path, from, resolve, flags,
	       fd < 0 ? strerrorname_np(errno) : "opened", (long)status.st_mode);
	if (fd >= 0) {
		/* Which of the two directories, by what is in it. */
		if (S_ISDIR(status.st_mode))
			printf("  %d %d\n", faccessat(fd, "sub", F_OK, 0), faccessat(fd, "tree", F_OK, 0));
		close(fd);
	}
	close(dir);
}

int main(void)
{
	const char *paths[] = { "sub/file", "link/file", "abs", "..", "sub/..", "sub/../..", "sub/up", "/sub/file",
				"final", "sub/../sub/file", "/etc/passwd", ".", "sub/up/tree/abs", "none", "loop", "link/" };
	unsigned long bounds[] = { 0, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS,
				   RESOLVE_NO_XDEV, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
				   RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0x80, 1UL << 40 };
	const char *others[] = { "proc/self/exe", "proc/self/cwd", "proc/self/fd/0", "proc/version", "dev/null", "/proc/version" };

	if (mkdir("tree", 0755) || mkdir("tree/sub", 0755) || symlink("sub", "tree/link") ||
	    symlink("/sub/file", "tree/abs") || symlink("../..", "tree/sub/up") ||
	    symlink("sub/file", "tree/final") || symlink("loop", "tree/loop"))
		return 1;
	close(open("tree/sub/file", O_CREAT | O_RDWR, 0644));
	for (unsigned i = 0; i < sizeof bounds / sizeof *bounds; i++) {
		for (unsigned j = 0; j < sizeof paths / sizeof *paths; j++) {
			attempt("tree", paths[j], bounds[i], O_RDONLY);
			attempt("tree", paths[j], bounds[i], O_PATH | O_NOFOLLOW);
		}
		for (unsigned j = 0; j < sizeof others / sizeof *others; j++)
			attempt("/", others[j], bounds[i], O_PATH);
	}
	attempt("tree", "new", RESOLVE_BENEATH, O_RDWR | O_CREAT);
	attempt("tree", "../new", RESOLVE_BENEATH, O_RDWR | O_CREAT);
	attempt("tree", "/sub/new", RESOLVE_IN_ROOT, O_RDWR | O_CREAT);
	attempt("tree", "sub/new", RESOLVE_CACHED, O_RDWR | O_TRUNC);
	attempt("tree", "link/newer", RESOLVE_NO_XDEV, O_RDWR | O_CREAT);
	return access("tree/sub/new", F_OK);
}
