#!/bin/sh
# What clients put into the server name indication (SNI) when they are given an address or a name.
#
# RFC 6066, section 3: "Literal IPv4 and IPv6 addresses are not permitted in HostName". Ten common
# clients send them all the same, and socat sends an IPv6 address with its brackets, which is not
# even an address. Two send no SNI at all, whatever they are given. So a server must not refuse a
# hello for an address in SNI, and one that chooses a certificate by SNI needs a default.
#
# Needs Debian 12 (apt, dpkg-deb), python3, and root or unprivileged user namespaces.
# Prints a table and fails if a client sends something else.
set -eu
export LC_ALL=C
packages='socat=1.7.4.4-2 ncat=7.93+dfsg1-1 msmtp=1.8.23-1 mpop=1.4.18-1 fetchmail=6.4.37-1
lftp=4.9.2-2+b1 mosquitto-clients=2.0.11-1.2+deb12u2 amqp-tools=0.11.0-1+deb12u3
redis-tools=5:7.0.15-1~deb12u10 swaks=20201014.0-2 libio-socket-ssl-perl=2.081-2
libnet-ssleay-perl=1.92-2+b1 gnutls-bin=3.7.9-2+deb12u7 base-files dash libc-bin coreutils'

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/archives/partial" "$tmp/root/etc" "$tmp/root/tmp"
# An empty status file: every dependency is downloaded, nothing is installed.
# shellcheck disable=SC2086
apt-get -q -y --no-install-recommends --download-only -o Dir::State::status=/dev/null \
    -o Dir::Cache::archives="$tmp/archives" -o APT::Sandbox::User=root install $packages >"$tmp/apt.log" 2>&1 ||
    { tail -5 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/archives/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
echo '127.0.0.1 localhost' >"$tmp/root/etc/hosts"
echo 'root:x:0:0::/tmp:/bin/sh' >"$tmp/root/etc/passwd"
mkdir -p "$tmp/root/dev"
touch "$tmp/root/dev/null"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/root/ca.pem" -subj /CN=ca 2>/dev/null

cat >"$tmp/listen.py" <<'PY'
# Accepts one connection and prints the name in its ClientHello.
import socket, struct, sys
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.bind(("::", 0))
listener.listen()
listener.settimeout(6)
print(listener.getsockname()[1], flush=True)
try:
    peer, _ = listener.accept()
except TimeoutError:
    sys.exit("no connection")
peer.settimeout(6)
hello = b""
while len(hello) < 5 or len(hello) < 5 + struct.unpack(">H", hello[3:5])[0]:
    part = peer.recv(4096)
    if not part:
        sys.exit("no hello")
    hello += part
at = 43 + 1 + hello[43]
at += 2 + struct.unpack(">H", hello[at:at + 2])[0]
at += 1 + hello[at] + 2
name = "none"
while at < len(hello):
    kind, length = struct.unpack(">HH", hello[at:at + 4])
    if kind == 0:
        name = hello[at + 9:at + 4 + length].decode("latin1")
    at += 4 + length
print(name, flush=True)
PY

inside() {
    if [ "$(id -u)" = 0 ]; then chroot "$tmp/root" sh -c "$1"; else unshare -r chroot "$tmp/root" sh -c "$1"; fi
}

failed=0
# expect CLIENT TARGET WHAT-IT-SENDS COMMAND, in which PORT stands for the port.
expect() {
    : >"$tmp/heard"
    python3 "$tmp/listen.py" >>"$tmp/heard" 2>&1 &
    listener=$!
    until [ -s "$tmp/heard" ]; do kill -0 $listener || exit 2; done
    port=$(sed -n 1p "$tmp/heard")
    inside "timeout 5 $(echo "$4" | sed "s/PORT/$port/g")" >"$tmp/said" 2>&1 </dev/null || true
    wait $listener || true
    sent=$(sed -n 2p "$tmp/heard"); sent=${sent:-nothing}
    verdict='as expected'
    [ "$sent" = "$3" ] || { verdict="EXPECTED $3"; failed=1; tail -n 3 "$tmp/said" | cut -c -300; }
    printf '%-14s %-12s %-12s %s\n' "$1" "$2" "$sent" "$verdict"
}

printf '%-14s %-12s %-12s\n' client given sends
mail='--tls=on --tls-starttls=off --tls-certcheck=off --port=PORT'
expect msmtp 127.0.0.1 127.0.0.1 "msmtp --host=127.0.0.1 $mail --from=a@b.example c@d.example"
expect msmtp ::1 ::1 "msmtp --host=::1 $mail --from=a@b.example c@d.example"
expect mpop 127.0.0.1 127.0.0.1 "mpop --host=127.0.0.1 $mail --auth=user --user=a --passwordeval='echo b' --delivery=mbox,/tmp/box"
expect fetchmail 127.0.0.1 127.0.0.1 "sh -c 'echo poll 127.0.0.1 protocol imap port PORT user a password b ssl no sslcertck >/tmp/rc; chmod 600 /tmp/rc; fetchmail -f /tmp/rc --nosyslog --pidfile /tmp/pid'"
expect lftp 127.0.0.1 127.0.0.1 "lftp -e 'set ssl:verify-certificate no; set net:max-retries 1; open ftps://127.0.0.1:PORT; ls; quit'"
expect mosquitto_pub 127.0.0.1 127.0.0.1 "mosquitto_pub --cafile /ca.pem -h 127.0.0.1 -p PORT -t a -m b"
expect amqp-publish 127.0.0.1 127.0.0.1 "amqp-publish --ssl --cacert=/ca.pem -u amqps://127.0.0.1:PORT -r a -b b"
expect ncat 127.0.0.1 127.0.0.1 "ncat --ssl 127.0.0.1 PORT"
expect socat 127.0.0.1 127.0.0.1 "socat - openssl:127.0.0.1:PORT,verify=0"
expect socat '[::1]' '[::1]' "socat - 'openssl:[::1]:PORT,verify=0'"
expect redis-cli localhost none "redis-cli --tls --insecure -h localhost -p PORT ping"
expect swaks localhost none "swaks --tls-on-connect --server localhost --port PORT --to a@b.example"
expect gnutls-cli localhost localhost "gnutls-cli --insecure -p PORT localhost"
expect gnutls-cli 127.0.0.1 none "gnutls-cli --insecure -p PORT 127.0.0.1"
[ $failed = 0 ] && echo "all as expected"
exit $failed
