/* System V shared memory: segments, their attachments and their errors. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define TELL(what) do { errno = 0; long r_ = (long)(what); printf("%s: %s\n", #what, r_ == -1 ? strerrorname_np(errno) : "ok"); } while (0)

static void show(const char *when, int id)
{
	struct shmid_ds ds;

	if (shmctl(id, IPC_STAT, &ds)) {
		printf("%s: %s\n", when, strerrorname_np(errno));
		return;
	}
	printf("%s: mode %o size %zu attached %lu mine %d %d times %d %d %d\n", when, ds.shm_perm.mode, ds.shm_segsz,
	       (unsigned long)ds.shm_nattch, ds.shm_cpid == getpid(), ds.shm_lpid == getpid(), ds.shm_atime != 0,
	       ds.shm_dtime != 0, ds.shm_ctime != 0);
}

static int key;

static void maps(void)
{
	char line[512];
	FILE *file = fopen("/proc/self/maps", "r");
	char expected[64];

	snprintf(expected, sizeof expected, "/SYSV%08x (deleted)", key);

	while (fgets(line, sizeof line, file)) {
		unsigned long from, to, offset, inode;
		char rights[5], device[16], name[256] = "";

		sscanf(line, "%lx-%lx %4s %lx %15s %lu %255[^\n]", &from, &to, rights, &offset, device, &inode, name);
		if (strstr(name, "SYSV"))
			printf("  %lu %s %lx %s %s\n", (to - from) >> 12, rights, offset, device,
			       strcmp(name, expected) ? name : "own key");
	}
	fclose(file);
}

int main(void)
{
	int id, other, got;
	char *at, *twice, *where;
	struct shminfo limits;
	struct shm_info used;

	key = 0x464f0000 | (getpid() & 0xffff);
	TELL(shmget(key, 0, IPC_CREAT | 0600));
	TELL(shmget(key, 4096, 0));
	id = shmget(key, 5 * 4096 - 100, IPC_CREAT | 0640);
	TELL(shmget(key, 4096, IPC_CREAT | IPC_EXCL));
	TELL(shmget(key, 6 * 4096, 0));
	printf("%d %d\n", shmget(key, 1, 0) == id, shmget(key, 0, IPC_CREAT) == id);
	show("new", id);
	at = shmat(id, NULL, 0);
	strcpy(at, "hello");
	twice = shmat(id, NULL, SHM_RDONLY);
	printf("%s\n", twice);
	show("twice", id);
	maps();
	if (fork() == 0) {
		strcat(at, " from a child");
		show("child", id);
		exit(0);
	}
	wait(NULL);
	printf("%s\n", twice);
	TELL(mprotect(twice, 4096, PROT_READ | PROT_WRITE));
	TELL(mprotect(at + 4096, 4096, PROT_READ));
	maps();
	TELL(munmap(at + 2 * 4096, 4096));
	show("with a hole", id);
	maps();
	TELL(shmdt(at + 4096));
	TELL(shmdt(at + 1));
	TELL(shmdt(at));
	show("detached", id);
	maps();
	TELL(shmdt(at));
	TELL(shmdt(twice));
	show("free", id);

	where = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TELL(shmat(id, where, 0));
	TELL(shmat(id, where + 1, 0));
	TELL(shmat(id, where + 4097, SHM_RND));
	TELL(shmat(id, NULL, SHM_REMAP));
	got = shmat(id, where + 4097, SHM_RND | SHM_REMAP) == where + 4096;
	printf("%d\n", got);
	munmap(where + 8 * 4096, 4096 * 100);
	printf("%d\n", shmat(id, where + 9 * 4096 + 5, SHM_RND) == where + 9 * 4096);
	TELL(shmat(id, (void *)-4096, 0));
	TELL(shmat(-1, NULL, 0));
	TELL(shmat(123456789, NULL, 0));
	TELL(shmctl(id, 99, NULL));
	TELL(shmctl(-1, IPC_STAT, NULL));
	TELL(shmctl(id, IPC_STAT, (void *)1));
	maps();

	TELL(shmctl(id, IPC_RMID, NULL));
	show("doomed", id);
	TELL(shmget(key, 4096, 0));
	printf("%s\n", where + 9 * 4096);
	got = (twice = shmat(id, NULL, 0)) != (void *)-1;
	printf("%d %s\n", got, twice);
	maps();
	shmdt(twice);
	shmdt(where + 4096);
	show("nearly gone", id);
	shmdt(where + 9 * 4096);
	show("gone", id);
	TELL(shmat(id, NULL, 0));

	other = shmget(IPC_PRIVATE, 3 << 20, 0600);
	printf("%d\n", other > id);
	at = shmat(other, NULL, 0);
	memset(at, 1, 1 << 20);
	shmctl(other, IPC_RMID, NULL);
	printf("%d\n", shmctl(0, IPC_INFO, (void *)&limits) >= 0);
	printf("%lu %lu %lu %lu %lu\n", limits.shmmax, limits.shmmin, limits.shmmni, limits.shmseg, limits.shmall);
	printf("%d\n", shmctl(0, SHM_INFO, (void *)&used) >= 0);
	printf("%d %lu %lu\n", used.used_ids, used.shm_tot, used.shm_rss);
	if (fork() == 0) {
		show("inherited", other);
		execl("/bin/sh", "sh", "-c", "tail -n 1 /proc/sysvipc/shm | cut -c 24-49,64-70,129-", NULL);
	}
	wait(NULL);
	show("after exec", other);
	return 0;
}
