# What the guest's kernel says of itself, packed and as text on the console.
t=/tmp/truth
mkdir $t
for name in kallsyms iomem version cmdline cpuinfo meminfo buddyinfo zoneinfo pagetypeinfo \
    vmallocinfo vmstat slabinfo swaps modules kpageflags kpagecount kpagecgroup; do
    cat /proc/$name > $t/$name 2>/dev/null
done
cat /sys/kernel/vmcoreinfo > $t/vmcoreinfo_addr
cp /tmp/layout.* $t 2>/dev/null

# Pages of a range of addresses that are there: address and word.
pages() {
    at=$1
    dd if=/proc/$pid/pagemap bs=8 skip=$((at / 4096)) count=$((($2 - at) / 4096)) 2>/dev/null |
        od -A n -v -t x8 | while read -r words; do
        for word in $words; do
            [ $word = 0000000000000000 ] || printf '%x %s\n' $at $word
            at=$((at + 4096))
        done
    done
}

for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    [ "$(cat $folder/maps 2>/dev/null)" ] || continue
    # Neither this process nor its children outlive what is written here.
    [ $pid = $$ ] && continue
    cat $folder/status > $t/status.$pid
    cat $folder/smaps > $t/smaps.$pid
    cat $folder/maps > $t/maps.$pid
    while read -r range rest; do
        case $rest in *vsyscall*) continue ;; esac
        pages $((0x${range%-*})) $((0x${range#*-}))
    done < $t/maps.$pid > $t/pagemap.$pid
done
cd /tmp
tar -cf - truth | gzip | base64
