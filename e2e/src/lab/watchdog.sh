#!/bin/sh
# Reads its standard input until the owner of the lab is gone, whatever ended it; then ends what still runs of the
# lab, which each part shows by the lab's folder in its environment, and removes the folder. $1 is the folder.
trap '' HUP INT TERM
cat >/dev/null

parts() {
  grep -lzxF "VSO_PROBER_LAB=$1" /proc/[0-9]*/environ 2>/dev/null | while read -r environ; do
    pid=${environ#/proc/}
    printf '%s\n' "${pid%/environ}"
  done
}

# PostgreSQL gives its shared memory back only when it is asked to quit. It is the one part that needs to be.
postmaster=
[ ! -f "$1/postgres/postmaster.pid" ] || read -r postmaster <"$1/postgres/postmaster.pid"

round=0
while pids=$(parts "$1") && [ -n "$pids" ] && [ "$round" -lt 100 ]; do
  for pid in $pids; do
    if [ "$pid" = "$postmaster" ] && [ "$round" -lt 40 ]; then
      [ "$round" -gt 0 ] || kill -QUIT "$pid"
    else
      kill -KILL "$pid"
    fi
  done 2>/dev/null
  sleep 0.05
  round=$((round + 1))
done

# The groups of a node's containers bear the lab's name. The last of those may still be on its way out.
name=${1##*/}
groups() {
  find "/sys/fs/cgroup/$name" /sys/fs/cgroup/*/"$name" -depth -type d 2>/dev/null
}
round=0
while groups=$(groups); [ -n "$groups" ] && [ "$round" -lt 100 ]; do
  printf '%s\n' "$groups" | xargs rmdir 2>/dev/null || sleep 0.05
  round=$((round + 1))
done

if [ -f "$1/keep" ]; then
  # The logs are kept to be read; the data is bulky and of no use without the parts.
  rm -rf "$1/etcd" "$1/postgres" "$1/containerd"
else
  rm -rf "$1"
fi
