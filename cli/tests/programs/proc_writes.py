"""What may be written below /proc/self, and what it does."""
import os
def put(name,*values):
    for v in values:
        try:
            fd=os.open('/proc/self/'+name,os.O_WRONLY)
            try: os.write(fd,v.encode()); r='ok'
            except OSError as e: r='write %d'%e.errno
            os.close(fd)
        except OSError as e: r='open %d'%e.errno
        t=''
        try: t=open('/proc/self/'+name,'rb').read().strip()
        except OSError as e: t=e.errno
        if name in ('clear_refs','statm','stat','oom_score','maps','smaps','status','environ','cmdline','auxv'): t=''
        print(name,repr(v),r,repr(t) if len(str(t))<40 else '')
put('oom_score_adj','1','abc','500','1001','1000','-1001',' 7\n','0x10','010','')
put('oom_adj','15','3','-18','16','x','0')
put('coredump_filter','0x7f','abc','0xfff','-1','0x33')
put('timerslack_ns','1000','abc','0','-1')
put('clear_refs','0','1','2','3','4','5','6','x')
put('comm','hello world of names','a')
for n in 'limits status stat maps smaps statm oom_score environ cmdline auxv wchan personality ksm_stat'.split(): put(n,'1')
def refs():
    return sum(int(l.split()[1]) for l in open('/proc/self/smaps') if l.startswith('Referenced:'))
import mmap
m=mmap.mmap(-1,1<<20, flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS, prot=7)
n=mmap.mmap(-1,1<<20)
for i in range(0,1<<20,4096): n[i]=1
for i in range(0,1<<20,4096): m[i]=1
def vma():
    on=False; out=[]
    for l in open('/proc/self/smaps'):
        f=l.split()
        if '-' in f[0] and ':' not in f[0]: on= (int(f[0].split('-')[1],16)-int(f[0].split('-')[0],16))==1<<20 
        elif on and f[0] in('Rss:','Referenced:','Anonymous:'): out.append(l.strip())
    return out
print(vma())
for which in '2413':
    open('/proc/self/clear_refs','w').write(which); print(which,vma())

# Touching a page again may or may not show: its translation may still be in the processor's TLB.
def hwm(): return [l.split()[1] for l in open('/proc/self/status') if l.startswith(('VmHWM','VmRSS'))]
b=mmap.mmap(-1,1<<25, flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)
for i in range(0,1<<25,4096): b[i]=1
b.close(); h=hwm(); print(int(h[0])-int(h[1])>30000); open('/proc/self/clear_refs','w').write('5'); h=hwm(); print(int(h[0])-int(h[1])<3000)
p=os.fork()
if p==0:
    os._exit(0)
print(open('/proc/self/task/%d/children'%os.getpid()).read()=='%d '%p); os.waitpid(p,0)
print(sorted(set('coredump_filter timerslack_ns children comm'.split())&set(os.listdir('/proc/self'))),sorted(set('coredump_filter timerslack_ns children comm'.split())&set(os.listdir('/proc/self/task/%d'%os.getpid()))))
