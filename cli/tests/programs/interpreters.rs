//! Perl and Python: threads, processes, shared memory, sockets.

use crate::harness::{Case, installed};

#[test]
fn perl_forks_pipes_and_allocates() {
    Case::new(&["perl", "-e", "my %h; $h{$_ % 977} .= $_ for 1..200000; print length($h{5}), qq(\\n); pipe(R, W); if (!fork) { close R; print W qq(from the child\\n); exit 7 } close W; print <R>; wait; print $? >> 8, qq(\\n)"]).same();
}

#[test]
fn perl_threads() {
    Case::new(&["perl", "-e", "use threads; my @t = map { my $n = $_; threads->create(sub { my $s = 0; $s += $_ for 1..$n*10000; $s }) } 1..4; print $_->join, qq(\\n) for @t"]).same();
}

fn python(script: &str) {
    // The interpreter itself, not a shim that some hosts put before it.
    let python = if std::path::Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    };
    Case::new(&[python, "-c", script]).same();
}

#[test]
fn python_threads() {
    python("
import threading, queue
q = queue.Queue(); out = []
def work():
    while (n := q.get()) is not None: out.append(sum(range(n)))
ts = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in ts]; [q.put(n) for n in range(0, 20000, 100)]; [q.put(None) for _ in ts]; [t.join() for t in ts]
print(len(out), sum(out))");
}

#[test]
fn python_subprocess() {
    python(
        "
import subprocess
print(subprocess.run(['ls', '/usr'], capture_output=True, text=True).stdout)
p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(p.communicate(b'x' * 300000)[0][-5:], p.returncode)
print(subprocess.run(['sh', '-c', 'kill -SEGV $$']).returncode)",
    );
}

#[test]
fn python_mmap() {
    python(
        "
import mmap, tempfile
m = mmap.mmap(-1, 1 << 22); m[12345:12350] = b'hello'; print(m.find(b'hello'))
with tempfile.TemporaryFile(dir='.') as f:
    f.truncate(1 << 20); s = mmap.mmap(f.fileno(), 0); s[4096:4101] = b'world'; s.flush()
    f.seek(4096); print(f.read(5)); f.seek(8192); f.write(b'!'); f.flush(); print(s[8192:8193])",
    );
}

/// The machine's own shared memory, next to the host's.
#[test]
fn files_in_dev_shm() {
    python(include_str!("shm.py"));
}

#[test]
fn writes_below_proc_self() {
    python(include_str!("proc_writes.py"));
}

#[test]
fn python_multiprocessing_shared_memory() {
    python(
        "
import multiprocessing as mp
from multiprocessing import shared_memory
def work(name, i):
    s = shared_memory.SharedMemory(name=name); s.buf[i] = i * 3; s.close()
if __name__ == '__main__':
    ctx = mp.get_context('fork')
    s = shared_memory.SharedMemory(create=True, size=4096)
    ps = [ctx.Process(target=work, args=(s.name, i)) for i in range(8)]
    [p.start() for p in ps]; [p.join() for p in ps]
    print([s.buf[i] for i in range(8)], [p.exitcode for p in ps]); s.close(); s.unlink()
    with ctx.Pool(4) as pool: print(sum(pool.map(abs, range(-1000, 0))))",
    );
}

#[test]
fn a_python_server_and_curl_inside() {
    if installed("curl") && installed("python3") {
        Case::shell(
            "echo hello > index.html; python3 -u -c '
import http.server, threading, subprocess
class H(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer((\"127.0.0.1\", 0), H)
threading.Thread(target=s.serve_forever, daemon=True).start()
url = \"http://127.0.0.1:%d/\" % s.server_port
for path in (\"index.html\", \"missing\"):
    r = subprocess.run([\"curl\", \"-s\", \"-o\", \"/dev/stdout\", \"-w\", \"%{http_code}\", url + path], capture_output=True, text=True)
    print(r.returncode, r.stdout[-3:], r.stdout[:6])
s.shutdown()'",
        )
        .same();
    }
}
