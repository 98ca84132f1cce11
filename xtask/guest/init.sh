#!/bin/busybox sh
# The first process of a guest whose memory becomes an image: it starts some
# processes, writes down what the kernel says of them, and keeps still.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
echo 4 > /proc/sys/vm/nr_hugepages 2>/dev/null
echo always > /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null
dd if=/dev/urandom of=/tmp/cached bs=64k count=64 2>/dev/null

if [ -x /bin/mmw ]; then
    mmw pause > /tmp/layout.pause &
    mmw spin > /tmp/layout.spin &
    sleep 4
fi
sleep 1000000 &
sh -c 'kill -STOP $$; while :; do :; done' &
spinner=$!
sleep 2

echo GUEST-TRUTH
sh /truth.sh
echo GUEST-END
# Whoever spins is on the processor when the machine is stopped.
if [ -x /bin/mmw ]; then killall -CONT mmw; else kill -CONT $spinner; fi
sleep 3
echo GUEST-READY
while :; do sleep 1000000; done
