# A shell's view of jobs on a terminal: what waitpid tells when they are
# stopped, continued and interrupted. The arguments come before every program.
import fcntl, os, signal, sys, termios

PREFIX = sys.argv[1:]

def told(status):
    if os.WIFSTOPPED(status):
        return f'stopped by {os.WSTOPSIG(status)}'
    if os.WIFSIGNALED(status):
        return f'ended with {128 + os.WTERMSIG(status)}'
    return f'ended with {os.WEXITSTATUS(status)}'

def wait(job):
    return told(os.waitpid(job, os.WUNTRACED)[1])

def shell(master, script, keys):
    """Leads a session with a terminal; the job has a group of its own."""
    os.setsid()
    signal.alarm(60)
    slave = os.open(os.ttyname(master[1]), os.O_RDWR)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    ready, done = os.pipe()
    job = os.fork()
    if not job:
        os.setpgid(0, 0)
        os.tcsetpgrp(slave, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.alarm(60)
        os.dup2(slave, 0)
        os.dup2(done, 1)
        os.execvp((PREFIX + ['sh'])[0], PREFIX + ['sh', '-c', script])
    os.close(done)
    for key in keys:
        if key == 'cont':
            os.tcsetpgrp(slave, job)
            os.killpg(job, signal.SIGCONT)
        elif key == 'ready':
            os.read(ready, 100)
        elif key == 'wait':
            print('  ' + wait(job), flush=True)
        else:
            os.write(master[0], key)
    os._exit(0)

def session(name, script, keys):
    print(name, flush=True)
    master = os.openpty()
    pid = os.fork()
    if not pid:
        try:
            shell(master, script, keys)
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    os.close(master[0])
    os.close(master[1])

STOP, INTERRUPT, QUIT = b'\x1a', b'\x03', b'\x1c'
session('one program', 'echo ready; exec sleep 60', ['ready', STOP, 'wait', 'cont', INTERRUPT, 'wait'])
session('a pipeline', 'echo ready; sleep 60 | sleep 61; exit 4', ['ready', STOP, 'wait', 'cont', QUIT, 'wait'])
session('twice', 'echo ready; exec sleep 60', ['ready', STOP, 'wait', 'cont', STOP, 'wait', 'cont', INTERRUPT, 'wait'])
for name in ('TSTP', 'TTIN', 'TTOU', 'STOP'):
    session(f'its own SIG{name}', f'kill -{name} $$; exit 5', ['wait', 'cont', 'wait'])
session('caught', 'trap "echo caught" TSTP; kill -TSTP $$; exit 6', ['wait'])

# Nobody could continue it: Linux does not stop it.
print('an orphan', flush=True)
first = os.fork()
if not first:
    os.setsid()
    os.execvp((PREFIX + ['sh'])[0], PREFIX + ['sh', '-c', 'kill -TSTP $$; exit 7'])
print('  ' + wait(first))
