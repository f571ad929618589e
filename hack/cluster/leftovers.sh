#!/usr/bin/env bash
# leftovers.sh save|check FILE [CGROUP]: is the machine as it was before a cluster?
# save notes rules, devices, routes, mounts, cgroups, kernel settings and system
# folders; check prints what differs now and fails when anything does. With CGROUP,
# for namespaces of their own beside whatever else the machine does: of what is the
# whole machine's only cgroups whose name begins so, and the kernel settings left out.
set -uo pipefail
snap() {
	iptables-save | grep -v '^#'
	ip6tables-save | grep -v '^#'
	nft list ruleset
	echo "-- links"
	ip -o link | sed 's/ qlen.*//'
	ip route
	echo "-- netns"
	ip netns
	echo "-- mounts"
	cat /proc/mounts
	echo "-- conntrack to pods"
	conntrack -L | grep -cE '10\.(244|96)\.'
	echo "-- cgroups"
	find /sys/fs/cgroup -maxdepth 2 -type d -name "${cgroup:-*}*"
	[ -z "$cgroup" ] || return 0
	echo "-- sysctl"
	sysctl -a | grep -E '^(net\.(ipv4\.(ip_forward|conf\.(all|default|lo|eth0))|ipv6\.conf\.(all|default|lo|eth0)|bridge|netfilter\.nf_conntrack_(max|tcp|udp))|vm\.(over|panic)|kernel\.(panic|keys)|fs\.inotify)'
	echo "-- folders"
	ls -a /run /run/mount /srv /var/lib /var/log /etc /opt
	true # some of all this is not on every machine
} 2>/dev/null
cgroup=${3:-}
case "${1:-} ${2:-}" in
"save "?*) snap >"$2" ;;
"check "?*) snap | diff "$2" - && echo "nothing left behind" ;;
*) echo "usage: leftovers.sh save|check FILE [CGROUP]" >&2 && exit 2 ;;
esac
