# The first process of a guest in the host's root: what a system mounts, a user, cgroups; then the command.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
share=/run/guest/share
. $share/settings

# The kernel asks for modules as it needs them; the host may have no modprobe.
echo /run/guest/modprobe >/proc/sys/kernel/modprobe
modules=/lib/modules/$(uname -r)
mkdir -p "$modules"
mount --bind "$MODULES" "$modules"

mount --make-rshared /
mkdir -p /dev/pts /dev/shm /dev/mqueue /run/lock /run/user
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
[ -d /sys/fs/selinux ] && mount -t selinuxfs selinuxfs /sys/fs/selinux
for link in fd: stdin:/0 stdout:/1 stderr:/2; do ln -sfn "/proc/self/fd${link#*:}" "/dev/${link%%:*}"; done
for module in virtio_blk ext4 fuse tun; do /run/guest/modprobe $module; done
chmod 666 /dev/fuse /dev/net/tun

mkdir -p /disk
mount -t ext4 /dev/vda /disk || echo "guest: no disk"
mkdir -p /disk/test /disk/home /disk/tmp /disk/lib /var/lib/cais
chmod 1777 /disk/tmp
mount --bind /disk/lib /var/lib/cais
export TMPDIR=/disk/tmp

hostname guest
echo guest >/etc/hostname
# A network that leads nowhere: pasta takes after the one that the default route names.
ip link set lo up
ip link add up0 type veth peer name up1
ip address add 192.0.2.10/24 dev up0
ip link set up0 up
ip link set up1 up
ip route add default via 192.0.2.1
printf '127.0.0.1 localhost\n' >/etc/hosts

sed -i "/^$TESTER:/d; /^[^:]*:[^:]*:$TESTER_ID:/d" /etc/passwd /etc/group
echo "$TESTER:x:$TESTER_ID:$TESTER_ID::$TESTER_HOME:/bin/sh" >>/etc/passwd
echo "$TESTER:x:$TESTER_ID:" >>/etc/group
echo "$TESTER:100000:65536" >/etc/subuid
echo "$TESTER:100000:65536" >/etc/subgid
mkdir -m 700 "$TESTER_HOME" "$TESTER_RUNTIME"
chown "$TESTER_ID:$TESTER_ID" "$TESTER_HOME" "$TESTER_RUNTIME"

if [ "$INIT" = systemd ]; then
  # What this machine has enabled stays away: only what the command asks for, and the user's own manager.
  rm -rf /etc/systemd/system/*.wants /etc/systemd/user/*.wants
  rm -f /etc/systemd/system/default.target
  rmdir "$TESTER_RUNTIME"
  units=/run/systemd/system
  mkdir -p $units /var/lib/systemd/linger $units/user@.service.d
  : >/var/lib/systemd/linger/$TESTER
  for unit in systemd-firstboot systemd-timesyncd systemd-journal-flush systemd-sysusers systemd-remount-fs; do
    ln -s /dev/null $units/$unit.service
  done
  # The rest of the machine has its files, and many of them.
  mkdir $units/systemd-tmpfiles-setup.service.d
  printf '[Service]\nExecStart=\nExecStart=systemd-tmpfiles --create --boot --prefix=/run\n' \
    >$units/systemd-tmpfiles-setup.service.d/guest.conf
  # All controllers; and where there is no PAM module of systemd, its only word that matters here.
  printf '[Service]\nDelegate=yes\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >$units/user@.service.d/guest.conf
  printf '[Unit]\nRequires=guest.service\n' >$units/guest.target
  printf '[Unit]\nWants=dbus.service user@%s.service\nAfter=dbus.service user@%s.service\n' \
    "$TESTER_ID" "$TESTER_ID" >$units/guest.service
  printf '[Service]\nType=exec\nDelegate=yes\nExecStart=/bin/sh %s/run.sh\n' \
    $share >>$units/guest.service
  exec /lib/systemd/systemd --unit=guest.target
fi

groups=/sys/fs/cgroup
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 $groups
tester=$groups/user.slice/$TESTER
mkdir $groups/init.scope $groups/command $groups/user.slice
echo 1 >$groups/init.scope/cgroup.procs
for controller in $(cat $groups/cgroup.controllers); do
  echo "+$controller" >$groups/cgroup.subtree_control
  echo "+$controller" >$groups/user.slice/cgroup.subtree_control
done
# cgroup-v2.rst, "Model of Delegation"
mkdir $tester $tester/session
for group in $tester $tester/session; do
  chown "$TESTER_ID:$TESTER_ID" $group
  for file in cgroup.procs cgroup.threads cgroup.subtree_control memory.oom.group; do
    chown "$TESTER_ID:$TESTER_ID" $group/$file
  done
done
(
  echo 0 >$groups/command/cgroup.procs
  exec sh $share/run.sh
)
