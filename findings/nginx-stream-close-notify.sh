#!/bin/sh
# What does nginx 1.22 as a TLS server in front of a TCP server (stream module) do when its client closes its sending
# half with close_notify?
#
# Without proxy_half_close one expects that the connection ends there, as it does for TCP; but in either case that
# nginx says close_notify before it closes (RFC 8446, section 6.1: each side must). What was seen: it never does. With
# proxy_half_close the answer arrives, and then TCP ends without a word. So a client that says where its own words end
# cannot tell the end of the answer from an attack that cut it off (truncation): OpenSSL 3 takes it for an error,
# "unexpected eof while reading", after a session that went well.
#
# Needs Debian 12 (apt, dpkg-deb) and python3. Prints a table and fails if nginx behaves otherwise.
set -eu
export LC_ALL=C
tmp=$(mktemp -d)
nginx=
trap '[ -z "$nginx" ] || kill "$nginx" 2>/dev/null || true; rm -rf "$tmp"' EXIT
version=1.22.1-9+deb12u11
(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "nginx=$version" "libnginx-mod-stream=$version" \
    libssl3=3.0.22-1~deb12u2 libpcre2-8-0 zlib1g libcrypt1 >apt.log 2>&1) ||
    { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -subj /CN=localhost 2>/dev/null

cat >"$tmp/try.py" <<'PY'
# Starts nginx before a server that answers once its input has ended; asks it in plain, and by TLS.
import os, socket, ssl, subprocess, sys, threading, time

folder, ports = sys.argv[1], []
for _ in range(4):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        ports.append(probe.getsockname()[1])
behind = socket.create_server(("127.0.0.1", 0))


def serve():
    while True:
        stream, _ = behind.accept()
        try:
            while stream.recv(100):
                pass
            stream.sendall(b"answer\n")
        except OSError:
            pass
        stream.close()


threading.Thread(target=serve, daemon=True).start()
library = f"{folder}/root/usr/lib"
to = f"proxy_pass 127.0.0.1:{behind.getsockname()[1]};"
servers = "".join(
    f"server {{ listen 127.0.0.1:{port}{' ssl' * tls}; proxy_half_close {half}; {to} }}\n"
    for port, tls, half in zip(ports, (0, 1, 0, 1), ("off", "off", "on", "on"))
)
with open(f"{folder}/conf", "w", encoding="ascii") as file:
    file.write(f"""
load_module {library}/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log info;
events {{ }}
stream {{
    ssl_certificate {folder}/cert; ssl_certificate_key {folder}/key; ssl_protocols TLSv1.2 TLSv1.3;
    {servers}
}}""")
environment = dict(os.environ, LD_LIBRARY_PATH=f"{library}/{os.uname().machine}-linux-gnu")
nginx = subprocess.Popen([f"{folder}/root/usr/sbin/nginx", "-c", f"{folder}/conf", "-p", folder],
                         env=environment, stderr=subprocess.DEVNULL)
deadline = time.monotonic() + 20


def connect(port):
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except OSError:
            if nginx.poll() is not None or time.monotonic() > deadline:
                sys.exit("nginx does not start: " + open(f"{folder}/log", encoding="ascii").read()[-300:])


def plain(port):
    with connect(port) as stream:
        stream.sendall(b"question\n")
        stream.shutdown(socket.SHUT_WR)
        return "answer" if stream.recv(100) else "nothing", "-"


def encrypted(port, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with connect(port) as stream:
        def run(step):
            while True:
                try:
                    result = step()
                    stream.sendall(outgoing.read())
                    return result
                except ssl.SSLWantReadError:
                    stream.sendall(outgoing.read())
                    data = stream.recv(65536)
                    if data:
                        incoming.write(data)
                    else:
                        incoming.write_eof()
        run(tls.do_handshake)
        run(lambda: tls.write(b"question\n"))
        try:
            tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        stream.sendall(outgoing.read())
        heard = b""
        try:
            while more := run(lambda: tls.read(100)):
                heard += more
            end = "yes"
        except ssl.SSLZeroReturnError:
            end = "yes"
        except (ssl.SSLError, OSError):
            end = "no"
        return "answer" if heard else "nothing", end


failed = False
v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
print(f"{'proxy_half_close':17} {'client':8} {'hears':8} {'and a close_notify':18}")
try:
    for half, name, seen, expected in (
        ("off", "TCP", plain(ports[0]), ("nothing", "-")),
        ("off", "TLS 1.2", encrypted(ports[1], v12), ("nothing", "no")),
        ("off", "TLS 1.3", encrypted(ports[1], v13), ("nothing", "no")),
        ("on", "TCP", plain(ports[2]), ("answer", "-")),
        ("on", "TLS 1.2", encrypted(ports[3], v12), ("answer", "no")),
        ("on", "TLS 1.3", encrypted(ports[3], v13), ("answer", "no")),
    ):
        verdict = "as expected" if seen == expected else f"EXPECTED {expected}"
        failed |= seen != expected
        print(f"{half:17} {name:8} {seen[0]:8} {seen[1]:18} {verdict}")
finally:
    nginx.terminate()
    nginx.wait()
sys.exit(failed)
PY
python3 "$tmp/try.py" "$tmp"
echo "all as expected"
