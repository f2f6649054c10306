#!/usr/bin/env bash
# Another S3 server of one's own on loopback: OpenStack Swift with its S3 interface, one of each server.
#   swift.sh start ROOT PORT     PORT for S3, the next four for its parts
#   swift.sh stop ROOT
# Runs as root, without systemd. ROOT is made; its `run` has the pids. Takes some 8 s to start and 275 MB.
# User: test:tester, testing.
# Debian 12: apt-get install --no-install-recommends swift-proxy swift-account swift-container swift-object memcached
set -euo pipefail

action=${1:?start or stop}
root=$(realpath -m "${2:?the folder that it lives in}")
export PATH=/usr/bin:/bin:/usr/sbin:/sbin # the system's Python, whatever else is installed

if [ "$action" = stop ]; then
  for file in "$root"/run/*.pid; do
    [ -f "$file" ] || continue
    # Each is the leader of a group of its own, with its workers in it.
    kill -- "-$(cat "$file")" 2>/dev/null || true
    rm -f "$file"
  done
  exit 0
fi

port=${3:?the port for S3}
user=$(id -un)
memcached=$((port + 4))
mkdir -p "$root"/{etc,run,log,devices/d1}
cat >"$root/etc/swift.conf" <<CONF
[swift-hash]
swift_hash_path_suffix = test
swift_hash_path_prefix = test
[storage-policy:0]
name = Policy-0
default = yes
CONF

common="bind_ip = 127.0.0.1
workers = 0
user = $user
swift_dir = $root/etc
log_level = WARNING"

storage_port=$port
cd "$root/etc"
for kind in account container object; do
  storage_port=$((storage_port + 1))
  cat >"$kind-server.conf" <<CONF
[DEFAULT]
$common
bind_port = $storage_port
devices = $root/devices
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
CONF
  swift-ring-builder $kind.builder create 4 1 0 >/dev/null
  swift-ring-builder $kind.builder add "r1z1-127.0.0.1:$storage_port/d1" 1 >/dev/null
  swift-ring-builder $kind.builder rebalance >/dev/null
done

cat >proxy-server.conf <<CONF
[DEFAULT]
$common
bind_port = $port
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$memcached
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
CONF
for name in catch_errors gatekeeper healthcheck listing_formats bulk copy slo dlo symlink; do
  printf '[filter:%s]\nuse = egg:swift#%s\n' "$name" "$name" >>proxy-server.conf
done

run() {
  local name=$1
  shift
  setsid "$@" >"$root/log/$name.log" 2>&1 </dev/null &
  echo $! >"$root/run/$name.pid"
}
run memcached memcached -u "$user" -l 127.0.0.1 -p "$memcached" -U 0 -m 32
for kind in account container object proxy; do run "$kind" "swift-$kind-server" "$root/etc/$kind-server.conf" -v; done

answers() { (: <"/dev/tcp/127.0.0.1/$((port + $1))") 2>/dev/null; }
for _ in $(seq 300); do
  # The proxy answers before those that it needs are there.
  if curl -fs "http://127.0.0.1:$port/healthcheck" >/dev/null 2>&1 && answers 1 && answers 2 && answers 3 && answers 4; then exit 0; fi
  sleep 0.1
done
echo "swift.sh: not all of them ever answered" >&2
tail -n 5 "$root"/log/*.log >&2
exit 1
