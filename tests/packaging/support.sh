# Sourced by the scripts of this folder: checks that are counted, and waiting for a condition.
# shellcheck shell=bash

# check WHAT COMMAND...: one promise. Its output is shown when it is not kept.
check() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "ok - $what" | tee -a "$RESULTS"
    else
        echo "FAILED - $what" | tee -a "$RESULTS"
        echo "    $*" >&2
        printf '%s\n' "$output" | tail -n 40 | sed 's/^/    /' >&2
    fi
}

# status WANTED COMMAND...: whether a command ends with exactly this status.
status() {
    local wanted=$1 got=0
    shift
    "$@" || got=$?
    [ "$got" = "$wanted" ] || { echo "status $got, not $wanted"; return 1; }
}

# not COMMAND...: whether it fails.
not() {
    ! "$@"
}

# soon COMMAND...: whether it succeeds within 20 seconds.
soon() {
    local end=$((SECONDS + 20))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { "$@"; return 1; }
        sleep 0.05
    done
}

# A TLS server on 127.0.0.1:7443 that answers each line with its letters in reverse.
start_tls_server() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout /root/server.key -out /root/server.crt 2>/dev/null
    openssl s_server -quiet -rev -accept 127.0.0.1:7443 -cert /root/server.crt -key /root/server.key \
        >/dev/null 2>&1 </dev/null &
}

# relays PORT: whether a line goes through adit to the TLS server and back.
relays() {
    local answer
    exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
    echo hello >&9
    read -r -t 10 answer <&9
    exec 9>&-
    [ "$answer" = olleh ] || { echo "the answer is: $answer"; return 1; }
}

# Writes a configuration whose one service relays from a port to the TLS server; further arguments
# are lines of the global part.
configure() {
    local file=$1 port=$2 name
    shift 2
    name=$(basename "$file" .conf)
    cat >"$file" <<EOF
setuid = nobody
chroot = /var/lib/adit
pid = /$name.pid
control = /run/$name.sock
$(printf '%s\n' "$@")
[relay]
client = yes
accept = 127.0.0.1:$port
connect = 127.0.0.1:7443
CAfile = /root/server.crt
verifyServer = yes
checkHost = localhost
sni = localhost
EOF
}

# Opens a connection through PORT, to be used again by still_there.
keep() {
    exec 8<>"/dev/tcp/127.0.0.1/$1"
}

# Whether that connection still carries a line; then it is closed, as the server serves one at a time.
still_there() {
    local answer
    echo hello >&8
    read -r -t 10 answer <&8
    exec 8>&-
    [ "$answer" = olleh ] || { echo "the answer is: $answer"; return 1; }
}

# Whether a supervisor runs the program that is installed now, and not one that was replaced.
is_new() {
    [ "/proc/$1/exe" -ef /usr/bin/adit ] || { readlink "/proc/$1/exe"; return 1; }
}

# The number of the generation that serves.
generation() {
    adit status --json "$@" | jq '[.generations[] | select(.state == "serving") | .number] | max'
}

# is_generation NUMBER FILE: whether that one serves.
is_generation() {
    [ "$(generation "$2")" = "$1" ] || { generation "$2"; return 1; }
}

supervisor() {
    cat "/var/lib/adit/${1:-adit}.pid"
}

# What is on this system: every file with its kind, mode, owner, size and link, and the contents of
# /etc; without what dpkg, apt, man-db and the tests write for themselves. Only the folders that
# packages write to, and the names beside them, and of those not what /mnt/written names: others may be written
# to meanwhile by those that run the tests, since the copy shows what changes in the files that it is made over.
snapshot() {
    local folder others=()
    while read -r folder; do others+=(-o -path "$folder"); done </mnt/written
    {
        find / -mindepth 1 -maxdepth 1 -printf '%p %y %m %u %g\n'
        find /bin/ /boot /etc /home /lib*/ /opt /sbin/ /srv /usr /var -xdev \( -path /var/lib/dpkg -o -path /var/cache \
            -o -path /var/log/dpkg.log -o -path /var/log/alternatives.log -o -path /var/lib/apt \
            -o -path /var/log/wtmp -o -path "/etc/*-" -o -path /var/log/journal -o -path /var/log/apt -o -path /usr/sbin/policy-rc.d \
            -o -path /var/lib/systemd -o -path /var/tmp -o -path /var/lib/logrotate "${others[@]}" \) -prune \
            -o -type d -printf '%p %y %m %u %g\n' -o -printf '%p %y %m %u %g %s %l\n'
        find /var/lib/systemd -path '*deb-systemd*' -printf '%p\n'
        find /etc -xdev -type f -not -name '*-' -exec md5sum {} +
    } | sort
}
