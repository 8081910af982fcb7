#!/bin/sh
# The first process of a node: gives it what it has of its own, and waits. $1 is the lab's folder. All of it goes with
# this process, as nothing else holds the namespaces: mounts, interfaces, and every process in them.
set -eu

# What programs have built in to write there is the node's: sockets of shims, what the kubelet and CNI remember.
for own in /run /var; do
  mount -t tmpfs -o mode=755 node "$own"
done
mkdir /var/lib /var/log

# A kubelet sets these, and they are the whole machine's. Here it finds them set.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  name=${setting%=*}
  file=/run/${name##*/}
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/$name"
done

# The groups of Pods are below one of the lab's name, which the watchdog removes. A kubelet wants to find it, in each
# hierarchy or in the only one, where its parent has to hand every controller on.
groups=/sys/fs/cgroup
if [ -f "$groups/cgroup.controllers" ]; then
  read -r controllers <"$groups/cgroup.controllers"
  for controller in $controllers; do
    echo "+$controller" >"$groups/cgroup.subtree_control" || true
  done
  mkdir "$groups/${1##*/}"
else
  for hierarchy in "$groups"/*/; do
    mkdir "$hierarchy${1##*/}"
  done
fi

# Every Pod is on this bridge, and nothing leads away from it.
ip link set lo up
ip link add pods type bridge
ip address add 10.0.0.1/16 dev pods
ip link set pods up

: >"$1/node.up"
sleep infinity &
wait
