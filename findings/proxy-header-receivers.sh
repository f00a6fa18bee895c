#!/bin/sh
# Which PROXY headers do five servers take that the protocol's text allows?
#
# The text (haproxy's doc/proxy-protocol.txt) has a line `PROXY UNKNOWN` for a client whose address is not known, with
# anything or nothing before its CRLF, and lets version 2 have more after its addresses, told by a length. One would
# guess that every server takes these. What was seen (Apache 2.4.71, haproxy 2.6.12, lighttpd 1.4.69, nginx 1.22.1, Varnish 7.1.1):
#   `PROXY UNKNOWN` and CRLF: Apache and Varnish close the connection.
#   `PROXY UNKNOWN` with the addresses that the text itself gives as its longest line: haproxy and Varnish close it.
#   So Apache takes the long form alone, haproxy the short one alone, and Varnish none.
#   version 2, PROXY, and family AF_UNSPEC: Apache and haproxy close it; the text leaves that to them. LOCAL, all take.
#   the first 14 bytes of a header in a segment of their own: haproxy, lighttpd and nginx close it; Apache and Varnish wait.
#   the longest header of version 2 that is taken: Apache 232 bytes, lighttpd 256, Varnish 404, nginx 1024; haproxy more than 4000.
#   The text speaks of 536 bytes as what arrives in one segment everywhere.
# A sender is safe with one write of at most 232 bytes, and no UNKNOWN.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, python3, util-linux, gcc (for Varnish), and root: for a network of its own.
# Prints what was seen and fails if one behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    chmod 755 "$tmp"
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download apache2-bin=2.4.71-1~deb12u1 libapr1 libaprutil1 liblua5.3-0 \
        haproxy=2.6.12-1+deb12u4 lighttpd=1.4.69-1 nginx=1.22.1-9+deb12u11 varnish=7.1.1-2+deb12u1 libvarnishapi3 \
        libjemalloc2 libxxhash0 libjansson4 libbrotli1 libnghttp2-14 libcurl4 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    unshare -n "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
modules=$tmp/root/usr/lib/apache2/modules
mkdir "$tmp/www"
echo '<!--#echo var="REMOTE_ADDR" -->' >"$tmp/www/address"
cat >"$tmp/apache.conf" <<CONF
ServerRoot $tmp
Listen 127.0.0.1:7401
PidFile $tmp/apache.pid
ErrorLog $tmp/apache.log
User nobody
Group nogroup
ServerName test
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule remoteip_module $modules/mod_remoteip.so
LoadModule rewrite_module $modules/mod_rewrite.so
RemoteIPProxyProtocol On
RewriteEngine On
RewriteRule ^ http://test/is-%{REMOTE_ADDR}? [R=302,L]
CONF
cat >"$tmp/haproxy.conf" <<CONF
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend test
  bind 127.0.0.1:7402 accept-proxy
  http-request redirect location http://test/is-%[src]
CONF
cat >"$tmp/lighttpd.conf" <<CONF
server.document-root = "$tmp/www"
server.bind = "127.0.0.1"
server.port = 7403
server.modules = ("mod_extforward", "mod_ssi")
server.errorlog = "$tmp/lighttpd.log"
extforward.forwarder = ("127.0.0.1" => "trust")
extforward.hap-PROXY = "enable"
ssi.extension = ("address")
CONF
cat >"$tmp/nginx.conf" <<CONF
daemon off;
master_process off;
pid $tmp/nginx.pid;
error_log $tmp/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path $tmp/b; proxy_temp_path $tmp/p; fastcgi_temp_path $tmp/f; uwsgi_temp_path $tmp/u; scgi_temp_path $tmp/s;
  set_real_ip_from 127.0.0.1;
  real_ip_header proxy_protocol;
  server { listen 127.0.0.1:7404 proxy_protocol; location / { return 302 http://test/is-\$remote_addr; } }
}
CONF
cat >"$tmp/varnish.vcl" <<'CONF'
vcl 4.1;
backend default none;
sub vcl_recv { return (synth(200)); }
sub vcl_synth { set resp.http.Location = "http://test/is-" + client.ip; return (deliver); }
CONF
"$tmp/root/usr/sbin/apache2" -f "$tmp/apache.conf" -DFOREGROUND >"$tmp/out" 2>&1 &
pids=$!
"$tmp/root/usr/sbin/haproxy" -f "$tmp/haproxy.conf" -db >"$tmp/out" 2>&1 &
pids="$pids $!"
"$tmp/root/usr/sbin/lighttpd" -m "$tmp/root/usr/lib/lighttpd" -f "$tmp/lighttpd.conf" -D >"$tmp/out" 2>&1 &
pids="$pids $!"
"$tmp/root/usr/sbin/nginx" -c "$tmp/nginx.conf" -p "$tmp" >"$tmp/out" 2>&1 &
pids="$pids $!"
"$tmp/root/usr/sbin/varnishd" -F -n "$tmp/varnish" -f "$tmp/varnish.vcl" -a 127.0.0.1:7405,PROXY -T none \
    -s malloc,10m -j none >"$tmp/out" 2>&1 &
pids="$pids $!"
# shellcheck disable=SC2064 # the pids of now
trap "kill $pids 2>/dev/null || true; wait" EXIT
python3 - <<'PY'
import re, socket, struct, sys, time

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = socket.inet_aton("192.0.2.7") + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4711, 80)
SERVERS = {"Apache": 7401, "haproxy": 7402, "lighttpd": 7403, "nginx": 7404, "Varnish": 7405}


def v2(command, family, body):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def long(total):
    return v2(1, 0x11, ADDRESSES + b"\x04" + struct.pack("!H", total - 31) + bytes(total - 31))


def asked(server, *parts):
    """The client's address as the server has it, or `closed`."""
    end = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", SERVERS[server]), 5) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for part in parts[:-1]:
                    s.sendall(part)
                    time.sleep(0.2)
                s.sendall(parts[-1] + b"GET /address HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                answer = b""
                while data := s.recv(4096):
                    answer += data
            break
        except ConnectionRefusedError:
            if time.monotonic() > end:
                sys.exit(f"{server} does not listen")
            time.sleep(0.1)
        except (ConnectionResetError, BrokenPipeError):
            return "closed"
    if not answer.startswith(b"HTTP/1.1 "):
        return "closed"
    found = re.search(rb"//test/is-(.*?)\r|\r\n\r\n(\S*)\s*$", answer)
    return (found[1] or found[2] or b"").decode()


failed = False
HIS, PEER, CLOSED = "192.0.2.7", "127.0.0.1", "closed"
LONGEST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
CASES = [
    ("TCP4, version 1", [b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"], [HIS] * 5),
    ("TCP4, version 2", [v2(1, 0x11, ADDRESSES)], [HIS] * 5),
    ("UNKNOWN, short", [b"PROXY UNKNOWN\r\n"], [CLOSED, PEER, PEER, PEER, CLOSED]),
    ("UNKNOWN, long", [f"PROXY UNKNOWN {LONGEST} {LONGEST} 65535 65535\r\n".encode()], [PEER, CLOSED, PEER, PEER, CLOSED]),
    ("LOCAL", [v2(0, 0, b"")], [PEER] * 5),
    ("AF_UNSPEC", [v2(1, 0, b"")], [CLOSED, CLOSED, PEER, PEER, PEER]),
    ("in two segments", [v2(1, 0x11, ADDRESSES)[:14], v2(1, 0x11, ADDRESSES)[14:]], [HIS, CLOSED, CLOSED, CLOSED, HIS]),
    ("232 bytes", [long(232)], [HIS] * 5),
    ("233 bytes", [long(233)], [CLOSED, HIS, HIS, HIS, HIS]),
    ("256 bytes", [long(256)], [CLOSED, HIS, HIS, HIS, HIS]),
    ("257 bytes", [long(257)], [CLOSED, HIS, CLOSED, HIS, HIS]),
    ("404 bytes", [long(404)], [CLOSED, HIS, CLOSED, HIS, HIS]),
    ("405 bytes", [long(405)], [CLOSED, HIS, CLOSED, HIS, CLOSED]),
    ("536 bytes", [long(536)], [CLOSED, HIS, CLOSED, HIS, CLOSED]),
    ("1024 bytes", [long(1024)], [CLOSED, HIS, CLOSED, HIS, CLOSED]),
    ("1025 bytes", [long(1025)], [CLOSED, HIS, CLOSED, CLOSED, CLOSED]),
    ("4000 bytes", [long(4000)], [CLOSED, HIS, CLOSED, CLOSED, CLOSED]),
]
print(f"{'':17}", *(f"{server:10}" for server in SERVERS))
for name, parts, expected in CASES:
    seen = [asked(server, *parts) for server in SERVERS]
    wrong = seen != expected
    failed |= wrong
    print(f"{name:17}", *(f"{one:10}" for one in seen), "UNEXPECTED" if wrong else "")
print("unexpected" if failed else "all as expected")
sys.exit(failed)
PY
