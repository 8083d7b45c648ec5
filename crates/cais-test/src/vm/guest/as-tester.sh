# Runs a command as the ordinary user of the guest, in a cgroup that is delegated to it.
. /run/guest/share/settings
become() {
  exec setpriv --reuid=$TESTER --regid=$TESTER --init-groups --inh-caps=-all --reset-env \
    env HOME="$TESTER_HOME" XDG_RUNTIME_DIR="$TESTER_RUNTIME" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$@"
}
if [ "$INIT" = systemd ]; then
  become DBUS_SESSION_BUS_ADDRESS="unix:path=$TESTER_RUNTIME/bus" \
    systemd-run --user --scope --quiet --property=Delegate=yes "$@"
fi
echo 0 >/sys/fs/cgroup/user.slice/$TESTER/session/cgroup.procs
become "$@"
