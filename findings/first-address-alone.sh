#!/bin/sh
# Which clients try only one address of a name that has two, ::1 and 127.0.0.1, as `localhost` has in Debian?
#
# RFC 1123, section 2.3, has a client try the next address when one does not answer, and most do. What was seen, where the port
# is open at one of the two addresses and refused at the other:
#   swaks 20201014.0 and sendEmail 1.56, with IO::Socket::INET6 as Debian has them installed, and pymemcache 4.0.0 try ::1 and
#     report "Connection refused" from a server at 127.0.0.1.
#   redis-cli 7.0.15, socat 1.7.4.4, movemail of mailutils 3.15 and mysql-connector-python 26.10.0 try 127.0.0.1 and report it from
#     a server at ::1.
#   curl, Python's smtplib and openssl s_client reach both.
# Someone who writes `localhost` in such a program needs a server on the address that it tries, or has to write the address.
#
# Needs Debian 12 (apt, dpkg-deb), curl, iproute2, openssl, python3-venv, util-linux, and root: it gives a name to both addresses.
# Prints what was seen and fails if one behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download redis-tools=5:7.0.15-1~deb12u10 liblzf1 libjemalloc2 \
        libatomic1 socat=1.7.4.4-2 swaks=20201014.0-2 libio-socket-inet6-perl=2.73-1 libsocket6-perl=0.29-3 \
        sendemail=1.56-5.1 mailutils=1:3.15-4 libmailutils9=1:3.15-4 libgsasl18 libntlm0 libgssglue1 libpq5 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    python3 -m venv "$tmp/venv"
    "$tmp/venv/bin/pip" -q --disable-pip-version-check install pymemcache==4.0.0 mysql-connector-python==26.10.0
    unshare -n -m "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
printf '127.0.0.1 localhost server.test\n::1 localhost server.test\n' >"$tmp/hosts"
mount --bind "$tmp/hosts" /etc/hosts
root=$tmp/root/usr
LD_LIBRARY_PATH="$root/lib/$(uname -m)-linux-gnu"
PERL5LIB="$root/share/perl5:$root/lib/$(uname -m)-linux-gnu/perl5/5.36"
export LD_LIBRARY_PATH PERL5LIB
python3 - "$tmp" <<'PY'
import socket, subprocess, sys, time

tmp = sys.argv[1]
root = f"{tmp}/root/usr"
HOST = "server.test"
PYTHON = f"{tmp}/venv/bin/python"


def command(name, port):
    return {
        "swaks": ["perl", f"{root}/bin/swaks", "-s", f"{HOST}:{port}", "--to", "a@a.test", "--from", "b@b.test"],
        "sendEmail": ["perl", f"{root}/bin/sendemail", "-f", "a@a.test", "-t", "b@b.test", "-u", "x", "-m", "x",
                      "-s", f"{HOST}:{port}", "-o", "tls=no"],
        "pymemcache": [PYTHON, "-c", f"from pymemcache.client.base import Client; Client(('{HOST}', {port})).get('x')"],
        "redis-cli": [f"{root}/bin/redis-cli", "-h", HOST, "-p", str(port), "ping"],
        "socat": [f"{root}/bin/socat", "-", f"TCP:{HOST}:{port}"],
        "movemail": [f"{root}/bin/movemail.mailutils", f"imap://u:p@{HOST}:{port}/INBOX", f"{tmp}/mbox"],
        "mysql-connector": [PYTHON, "-c", f"import mysql.connector as m; m.connect(host='{HOST}', port={port}, user='u')"],
        "curl": ["curl", "-s", f"imap://u:p@{HOST}:{port}/"],
        "smtplib": ["python3", "-c", f"import smtplib; smtplib.SMTP('{HOST}', {port})"],
        "s_client": ["openssl", "s_client", "-connect", f"{HOST}:{port}"],
    }[name]


def reaches(name, address):
    """Whether the client comes to a server that has only this address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, 0))
        server.listen()
        server.settimeout(0.2)
        with open(f"{tmp}/said", "w+") as said:
            client = subprocess.Popen(command(name, server.getsockname()[1]), stdin=subprocess.DEVNULL,
                                      stdout=said, stderr=subprocess.STDOUT)
            end = time.monotonic() + 30
            found = False
            while not found and time.monotonic() < end:
                ended = client.poll() is not None
                try:
                    server.accept()[0].close()
                    found = True
                except TimeoutError:
                    if ended:
                        break
            client.kill()
            client.wait()
            said.seek(0)
            text = said.read()
    if not found and "refused" not in text:
        sys.exit(f"{name} fails by something else: {text}")
    return found


failed = False
print(f"{'':16} {'127.0.0.1':10} ::1")
for name, expected in {
    "swaks": (False, True), "sendEmail": (False, True), "pymemcache": (False, True),
    "redis-cli": (True, False), "socat": (True, False), "movemail": (True, False), "mysql-connector": (True, False),
    "curl": (True, True), "smtplib": (True, True), "s_client": (True, True),
}.items():
    seen = tuple(reaches(name, address) for address in ("127.0.0.1", "::1"))
    wrong = seen != expected
    failed |= wrong
    print(f"{name:16} {'reached' if seen[0] else 'refused':10} {'reached' if seen[1] else 'refused'}", "UNEXPECTED" if wrong else "")
print("unexpected" if failed else "all as expected")
sys.exit(failed)
PY
