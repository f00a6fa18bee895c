#!/bin/bash
# The image, run by podman as a careful administrator would: a read-only root, no capability, a user whom no
# file names. Inside a copy of the system, by tests/packaging/sandbox.
set -u
export RESULTS=/mnt/results
. /mnt/support.sh
image=$(tar -xOf /mnt/adit.image.tar manifest.json | jq -r '.[0].RepoTags[0]')
mount -t cgroup2 none /sys/fs/cgroup
# What it complains of is systemd, which is not there to run HEALTHCHECK every 30 s.
podman() {
    command podman --root /root/storage --runroot /root/run --tmpdir /root/tmp --storage-driver vfs \
        --cgroup-manager cgroupfs --events-backend none "$@" 2>/root/podman.said
}
# start NAME ARGUMENTS...: in this machine's network. No more than this machine may: the limits.
start() {
    local name=$1
    shift
    podman run -d --name "$name" --network host --cgroups disabled --ulimit nofile=1024:1024 \
        --ulimit nproc=512:512 --read-only --read-only-tmpfs=false --security-opt no-new-privileges "$@"
}
first() {
    podman inspect "$1" --format '{{.State.Pid}}'
}
# In the order of their birth: process 1 is the first.
all_of() {
    pgrep --ns "$(first "$1")" --nslist pid
}
says() {
    podman logs "$1" | grep -q -e "$2" || { podman logs "$1"; cat /root/podman.said; return 1; }
}

check "podman loads it" podman load -q -i /mnt/adit.image.tar
check "there is no shell in it" bash -c "! command podman --root /root/storage --runroot /root/run --storage-driver vfs \
    --cgroup-manager cgroupfs --events-backend none run --rm --network none --cgroups disabled \
    --ulimit nofile=1024:1024 --ulimit nproc=512:512 --entrypoint /bin/sh '$image' -c true"
start_tls_server
# A secret as Kubernetes mounts it, with a certificate that will be renewed.
renew() {
    local version=/root/tls/..$1
    mkdir -p "$version"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -keyout "$version/tls.key" -out "$version/tls.crt" 2>/dev/null
    cp /root/server.crt "$version/ca.crt"
    chmod 644 "$version"/*
    ln -s "..$1" /root/tls/..next
    mv -T /root/tls/..next /root/tls/..data
}
renew first
for file in tls.crt tls.key ca.crt; do
    ln -s "..data/$file" "/root/tls/$file"
done
chmod 755 /root/tls
check "services come from variables alone" start variables --cap-drop all --user 1000680000:0 -v /root/tls:/etc/tls:ro \
    -e ADIT_DEBUG=info -e ADIT_CERT_WATCH=yes \
    -e ADIT_SERVICE_RELAY_CLIENT=yes -e ADIT_SERVICE_RELAY_ACCEPT=127.0.0.1:4001 \
    -e ADIT_SERVICE_RELAY_CONNECT=localhost:7443 -e ADIT_SERVICE_RELAY_VERIFY_SERVER=yes \
    -e ADIT_SERVICE_RELAY_CA_FILE=/etc/tls/ca.crt \
    -e ADIT_SERVICE_WEB_ACCEPT=127.0.0.1:4002 -e ADIT_SERVICE_WEB_CONNECT=localhost:imaps \
    -e ADIT_SERVICE_WEB_CERT=/etc/tls/tls.crt -e ADIT_SERVICE_WEB_KEY=/etc/tls/tls.key "$image"
check "and are served" soon relays 4001
check "the log is on standard output" soon says variables 'Service \[relay\] accepted connection from 127.0.0.1:'
check "and nothing on standard error" bash -c "[ ! -s /root/podman.said ]"
powerless() {
    local pid
    [ "$(all_of variables | wc -l)" -ge 6 ] || { echo "too few processes"; return 1; }
    for pid in $(all_of variables); do
        [ "$(awk '$1 ~ /^Uid:|^Cap(Eff|Prm|Bnd|Amb):/ { printf $2 " " }
            /^(Seccomp|NoNewPrivs):/ { printf $2 " " }' "/proc/$pid/status")" = \
            "1000680000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 1 2 " ] ||
            { cat "/proc/$pid/cmdline" "/proc/$pid/status"; return 1; }
    done
}
check "no process has a capability" powerless
check "the sandbox is whole" bash -c "$(declare -f podman); podman exec variables /usr/bin/adit status | grep -x 'Sandbox: seccomp, landlock'"
check "HEALTHCHECK says that it is well" podman healthcheck run variables
subject_is() {
    openssl s_client -connect 127.0.0.1:4002 </dev/null 2>/dev/null | openssl x509 -noout -subject | grep -qx "subject=CN = $1"
}
check "a mounted certificate is served" soon subject_is first
renew second
check "one that Kubernetes renews is noticed" soon subject_is second
check "by one reload" says variables 'Configuration reloaded'
check "podman stops it by TERM" podman stop -t 15 variables
check "with success" bash -c "$(declare -f podman); [ \"\$(podman inspect variables --format '{{.State.ExitCode}}')\" = 0 ]"

# The host's configuration, as root.
mkdir -p /root/conf.d
printf '%s\n' '[relay]' 'client = yes' 'accept = 127.0.0.1:4001' 'connect = localhost:7443' \
    'CAfile = /etc/tls/ca.crt' 'verifyChain = yes' >/root/conf.d/relay.conf
mkdir /root/orphan
printf '%s\n' 'foreground = no' 'control = /dev/shm/orphan.sock' '[one]' 'client = yes' \
    'accept = 127.0.0.1:4003' 'connect = 127.0.0.1:7443' >/root/orphan/adit.conf
check "a file in conf.d is served too" start files --user 0 -v /root/conf.d:/etc/adit/conf.d:ro -v /root/tls:/etc/tls:ro -v /root/orphan:/orphan:ro \
    -e ADIT_LOG_FORMAT=json -e ADIT_SETUID=nobody -e ADIT_SETGID=nogroup -e ADIT_CHROOT=/var/lib/adit "$image"
check "by root with Docker's capabilities" soon relays 4001
jailed() {
    local master
    master=$(pgrep --ns "$(first files)" --nslist pid -f '^adit: master')
    [ "$(awk '$1 == "Uid:" { print $2 $3 $4 $5 }' "/proc/$master/status")" = 65534655346553465534 ] &&
        [ "$(awk '$1 == "CapEff:" { print $2 }' "/proc/$master/status")" = 0000000000000000 ] &&
        [ "/proc/$master/root" -ef "/proc/$(first files)/root/var/lib/adit" ]
}
check "which makes a jail of its own" jailed
in_json() {
    # As a collector reads it: each line an object, and one for each connection.
    podman logs files | jq -es 'map(select(.event == "connection" and .service == "relay")) | length > 0'
}
check "the log is JSON for a collector" soon in_json
# It goes into the background, so that process 1 inherits it.
before=$(all_of files | wc -l)
check "a second adit starts beside it" podman exec files /usr/bin/adit /orphan/adit.conf
check "and ends" podman exec files /usr/bin/adit stop --control /dev/shm/orphan.sock
as_before() {
    [ "$(all_of files | wc -l)" = "$before" ] || { ps -eo pid,ppid,stat,args; return 1; }
}
check "process 1 reaps what was left to it" soon as_before
check "and is stopped by TERM too" podman stop -t 15 files

# The variables of docs/containers.md, of the command and of the manifest.
arguments=()
strict() {
    sed 's/redis\.example\.com/localhost/' /mnt/containers.md >/root/containers.md
    mapfile -t arguments < <("$@")
    [ ${#arguments[@]} -ge 5 ] || { printf '%s\n' "too few:" "${arguments[@]}"; return 1; }
    podman run --rm --network host --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=512:512 \
        -v /root/tls:/etc/tls:ro "${arguments[@]/#/--env=}" "$image" check --strict || { cat /root/podman.said; return 1; }
}
of_command() {
    sed -n '/^```sh/,/^```/s/.* -e \(ADIT_[^ ]*\).*/\1/p' /root/containers.md
}
of_manifest() {
    sed -n 's/.*{name: \(ADIT_[A-Z_]*\), value: "\?\([^"}]*\)"\?}.*/\1=\2/p' /root/containers.md
}
check "the command in docs/containers.md is right" strict of_command
check "and so is the manifest" strict of_manifest
