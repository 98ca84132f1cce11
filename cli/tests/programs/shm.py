"""Files in /dev/shm: names, permissions, locks and what is counted."""
import errno, fcntl, mmap, os, shutil, struct

top = "/dev/shm/foliant-test"
shutil.rmtree(top, ignore_errors=True)
os.mkdir(top)


def tell(what, *values):
    try:
        print(what, *[value() for value in values])
    except OSError as error:
        print(what, errno.errorcode[error.errno])


def names():
    return [entry.name for entry in os.scandir(top)]


def named(fd):
    return os.readlink(f"/proc/self/fd/{fd}")


root = os.stat("/dev/shm")
print(oct(root.st_mode), root.st_ino, os.path.realpath(top + "/../.."))
print(os.stat(top).st_size, os.stat(top).st_nlink)
for name in "bacd":
    with open(f"{top}/{name}", "w") as file:
        file.write("x")
print(names(), os.stat(top).st_size)
os.mkdir(top + "/sub")
os.rename(top + "/b", top + "/z")
print(names(), os.stat(top).st_nlink)

fd = os.open(top + "/a", os.O_RDWR)
print(named(fd))
os.rename(top + "/a", top + "/q")
print(named(fd))
os.link(top + "/q", top + "/q2")
os.unlink(top + "/q")
print(named(fd), os.fstat(fd).st_nlink, os.fstat(fd).st_blocks)
os.symlink("hello", top + "/l")
link = os.lstat(top + "/l")
print(link.st_size, oct(link.st_mode), os.readlink(top + "/l"))

sparse = os.open(top + "/sparse", os.O_RDWR | os.O_CREAT, 0o640)
os.ftruncate(sparse, 1 << 20)
os.pwrite(sparse, b"x", 500000)
print(os.fstat(sparse).st_blocks, os.lseek(sparse, 0, os.SEEK_DATA), os.lseek(sparse, 500000, os.SEEK_HOLE))
tell("beyond", lambda: os.lseek(sparse, 600000, os.SEEK_DATA))
tell("rmdir full", lambda: os.rmdir(top))
tell("unlink directory", lambda: os.unlink(top + "/sub"))
tell("rmdir file", lambda: os.rmdir(top + "/c"))
tell("directory over file", lambda: os.rename(top + "/sub", top + "/c"))
tell("file over directory", lambda: os.rename(top + "/c", top + "/sub"))
tell("into itself", lambda: os.rename(top + "/sub", top + "/sub/x"))
tell("link directory", lambda: os.link(top + "/sub", top + "/hard"))
tell("elsewhere", lambda: os.link(top + "/c", "/tmp/foliant-elsewhere"))
tell("no attribute", lambda: os.getxattr(top, "user.x"))
tell("attribute", lambda: os.setxattr(top + "/c", "user.x", b"1"), lambda: os.listxattr(top + "/c"))
tell("write directory", lambda: os.open(top + "/sub", os.O_RDWR))
tell("no parent", lambda: os.open(top + "/nope/x", os.O_RDWR))
tell("file as parent", lambda: os.open(top + "/c/x", os.O_RDWR))
tell("exclusive", lambda: os.open(top + "/c", os.O_RDWR | os.O_CREAT | os.O_EXCL))
directory = os.open(top + "/sub", os.O_RDONLY)
os.rmdir(top + "/sub")
print(named(directory), os.fstat(directory).st_nlink, os.listdir(directory))
tell("make in removed", lambda: os.mkdir("k", dir_fd=directory))

# A file without a name gets one.
nameless = os.open(top, os.O_TMPFILE | os.O_RDWR, 0o600)
os.write(nameless, b"late")
print(os.fstat(nameless).st_nlink)
os.link(f"/proc/self/fd/{nameless}", top + "/late", src_dir_fd=directory, follow_symlinks=True)
print(open(top + "/late").read(), os.fstat(nameless).st_nlink)

# Locks are between processes, and end with them.
fcntl.lockf(sparse, fcntl.LOCK_EX, 10, 0)
child = os.fork()
if child == 0:
    other = os.open(top + "/sparse", os.O_RDWR)
    tell("locked", lambda: fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 5))
    tell("beside", lambda: fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 10))
    asked = fcntl.fcntl(other, fcntl.F_GETLK, struct.pack("hhlli", fcntl.F_WRLCK, 0, 0, 0, 0))
    kind, whence, start, length, holder = struct.unpack("hhlli", asked[:28])
    print(kind, start, length, holder == os.getppid(), flush=True)
    os._exit(0)
os.waitpid(child, 0)

# What is mapped is shared memory.
with mmap.mmap(sparse, 1 << 20) as shared:
    for at in range(0, 1 << 20, 4096):
        shared[at] = 1
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(status["RssShmem"].split())
    print([line.split()[1] + " " + line.split()[5] for line in open("/proc/self/maps") if top in line])
    child = os.fork()
    if child == 0:
        shared[12345] = 77
        os._exit(0)
    os.waitpid(child, 0)
    print(shared[12345], os.pread(sparse, 1, 12345), os.fstat(sparse).st_blocks)
shutil.rmtree(top)
print(named(sparse))
tell("gone", lambda: os.stat(top))
