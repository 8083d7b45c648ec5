#!/bin/busybox sh
# The first process of a guest: from the initramfs to the host's root file system, which stays as it is.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module" || echo "guest: no $module"; done

mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 root /lower
mount -t tmpfs -o mode=755 memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /root
for folder in proc sys dev run; do mkdir -p /root/$folder; done
mount --move /dev /root/dev
mount --move /sys /root/sys
mount --move /proc /root/proc
mount -t tmpfs -o mode=755 run /root/run
mkdir -p /root/run/guest/share
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 share /root/run/guest/share
cp /bin/busybox /root/run/guest/busybox
ln -s busybox /root/run/guest/modprobe
exec switch_root /root /bin/sh /run/guest/share/start.sh
