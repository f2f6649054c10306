#!/usr/bin/env bash
# An S3 server of one's own on loopback: Ceph's object gateway with one monitor and one OSD that keeps its data in memory.
#   ceph-rgw.sh start ROOT PORT     PORT for S3, PORT+1 for the monitor; the OSD takes what is free
#   ceph-rgw.sh stop ROOT
# Runs as root, without systemd. ROOT is made; its `run` has the pids. Takes some 13 s to start and 360 MB.
# Users: test, who makes buckets; writer, who has only what a bucket's policy gives; small, who may store 1 MiB. Keys are
# testkey and testsecret, and so on.
# Debian 12: apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
set -euo pipefail

action=${1:?start or stop}
root=$(realpath -m "${2:?the folder that it lives in}")
export PATH=/usr/bin:/bin:/usr/sbin:/sbin CEPH_CONF=$root/ceph.conf

if [ "$action" = stop ]; then
  for name in rgw osd mon; do
    [ -f "$root/run/$name.pid" ] || continue
    kill "$(cat "$root/run/$name.pid")" 2>/dev/null || true
    rm -f "$root/run/$name.pid"
  done
  exit 0
fi

port=${3:?the port for S3}
mkdir -p "$root"/{run,log,mon,osd,rgw}
cat >"$CEPH_CONF" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v2:127.0.0.1:$((port + 1))/0
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $root/keyring
run dir = $root/run
admin socket = $root/run/\$name.asok
pid file =
log file = $root/log/\$name.log
auth allow insecure global id reclaim = false
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
[mon.a]
mon data = $root/mon
[osd]
osd objectstore = memstore
memstore device bytes = ${MEMORY:-4G}
osd data = $root/osd
osd class load list = *
osd class default list = *
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw data = $root/rgw
rgw thread pool size = 64
rgw gc obj min wait = 60
rgw enable usage log = false
rgw user quota bucket sync interval = 1
rgw bucket quota ttl = 0
CONF

key() { ceph-authtool "$root/keyring" --gen-key -n "$@" >/dev/null; }
ceph-authtool --create-keyring "$root/keyring" >/dev/null
key mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
key client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx'

run() {
  local name=$1
  shift
  setsid "$@" >"$root/log/$name.out" 2>&1 </dev/null &
  echo $! >"$root/run/$name.pid"
}
await() {
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "ceph-rgw.sh: never true: $*" >&2
  tail -n 5 "$root"/log/*.out >&2
  exit 1
}
osd_is_up() { ceph osd stat 2>/dev/null | grep -q '1 up'; }

fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
monmaptool --create --addv a "[v2:127.0.0.1:$((port + 1))]" --fsid "$fsid" "$root/monmap" >/dev/null
ceph-mon -i a --mkfs --monmap "$root/monmap" --keyring "$root/keyring"
run mon ceph-mon -i a -f
# The same id for `osd new` and mkfs, or the monitor ignores the OSD.
osd=$(cat /proc/sys/kernel/random/uuid)
ceph --connect-timeout 20 osd new "$osd" >/dev/null
ceph auth import -i "$root/keyring" 2>/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$osd" 2>/dev/null
run osd ceph-osd -i 0 -f
await osd_is_up
run rgw radosgw -f -n client.rgw.a
await curl -fs "http://127.0.0.1:$port/"

admin() { radosgw-admin "$@" >/dev/null 2>"$root/log/admin.err" || { cat "$root/log/admin.err" >&2; exit 1; }; }
for user in test writer small; do
  admin user create --uid "$user" --display-name "$user" --access-key "${user}key" --secret-key "${user}secret"
done
admin quota set --quota-scope=user --uid small --max-size 1M
admin quota enable --quota-scope=user --uid small
