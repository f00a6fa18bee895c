#!/bin/sh
# Which TLS servers can still answer after the client has closed its sending direction?
#
# In TCP a client may shut down its sending half and read on, as `nc -N` does. TLS says the same with
# close_notify. RFC 8446, section 6.1, lets the other side go on writing; RFC 5246, section 7.2.1, has
# it close at once and discard what it has not yet sent. One would guess that a library follows its
# version's rule, or always lets the server finish. What was seen, each server reading to the end of
# input, then writing one line:
#   OpenSSL (Python)   the answer arrives, in both versions
#   Java 17            arrives in TLS 1.3; in 1.2 the write fails: "Socket output is already shutdown"
#   Node.js 18         arrives if it is written in the turn of the 'end' event; a moment later it is
#                      lost without an error, unless the server was made with allowHalfOpen
#   Erlang/OTP 25      TLS 1.2: ssl:send returns ok, and the answer never arrives
#   tlslite-ng 0.8.2   never arrives, in TLS 1.3 neither: TLSClosedConnectionError
#
# Needs Debian 12 (apt, dpkg-deb), python3 with venv, and root or unprivileged user namespaces.
# Prints a table and fails if a server behaves otherwise.
set -eu
export LC_ALL=C
unset NODE_EXTRA_CA_CERTS NODE_OPTIONS JAVA_TOOL_OPTIONS
packages='openjdk-17-jdk-headless=17.0.21.1+2-1~deb12u1 nodejs=18.20.4+dfsg-1~deb12u3
erlang-base=1:25.2.3+dfsg-1+deb12u4 erlang-ssl=1:25.2.3+dfsg-1+deb12u4
base-files dash libc-bin coreutils'

tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || true; rm -rf "$tmp"' EXIT
mkdir -p "$tmp/archives/partial" "$tmp/root/tmp" "$tmp/root/proc" "$tmp/root/etc" "$tmp/root/dev"
# An empty status file: every dependency is downloaded, nothing is installed.
# shellcheck disable=SC2086
apt-get -q -y --no-install-recommends --download-only -o Dir::State::status=/dev/null \
    -o Dir::Cache::archives="$tmp/archives" -o APT::Sandbox::User=root install $packages >"$tmp/apt.log" 2>&1 ||
    { tail -n 5 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/archives/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -q install tlslite-ng==0.8.2 2>&1 | grep -v notice || true
# What the packages' own scripts would have put in place.
cp -a "$tmp/root/etc/java-17-openjdk" "$tmp/root/etc/java-17-openjdk.d" 2>/dev/null || true
echo 'root:x:0:0::/tmp:/bin/sh' >"$tmp/root/etc/passwd"
echo '127.0.0.1 localhost' >"$tmp/root/etc/hosts"
for device in null urandom random; do touch "$tmp/root/dev/$device"; done
head -c 65536 /dev/urandom >"$tmp/root/dev/urandom"

cd "$tmp/root/tmp"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=localhost -days 3 2>/dev/null
openssl pkcs12 -export -in cert.pem -inkey key.pem -out both.p12 -passout pass:secret

cat >client.py <<'PY'
# client.py PORT VERSION: sends a question and close_notify, then reads to the end.
import socket, ssl, sys
version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[sys.argv[2]]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = version
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.settimeout(3)
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing)
def run(step):
    while True:
        try:
            result = step()
            connection.sendall(outgoing.read())
            return result
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            data = connection.recv(65536)
            if not data:
                raise EOFError
            incoming.write(data)
run(tls.do_handshake)
run(lambda: tls.write(b"question\n"))
try:
    tls.unwrap()
except ssl.SSLWantReadError:
    pass
connection.sendall(outgoing.read())
got = b""
try:
    while True:
        data = run(lambda: tls.read(100))
        if not data:
            break
        got += data
except (EOFError, OSError):
    pass
print("arrives" if got == b"answer\n" else "lost")
PY
cat >openssl.py <<'PY'
import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    tls = context.wrap_socket(listener.accept()[0], server_side=True)
    while tls.recv(100):
        pass
    tls.sendall(b"answer\n")
    tls.close()
PY
cat >server.py <<'PY'
import socket, sys
from tlslite.api import TLSConnection, X509CertChain, parsePEMKey
chain = X509CertChain()
chain.parsePemList(open("cert.pem").read())
key = parsePEMKey(open("key.pem").read(), private=True)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    tls = TLSConnection(listener.accept()[0])
    try:
        tls.handshakeServer(certChain=chain, privateKey=key)
        while tls.recv(100):
            pass
        tls.send(b"answer\n")
        tls.close()
    except Exception as error:
        print(repr(error), file=sys.stderr)
PY
cat >node.js <<'JS'
const tls = require('tls'), fs = require('fs');
const [late, half] = [process.argv[2] == 'late', process.argv[3] == 'half'];
const server = tls.createServer({cert: fs.readFileSync('cert.pem'), key: fs.readFileSync('key.pem'), allowHalfOpen: half}, socket => {
    socket.resume();
    socket.on('error', error => console.error(String(error)));
    socket.on('end', () => late ? setTimeout(() => socket.end('answer\n'), 50) : socket.end('answer\n'));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
JS
cat >Answer.java <<'JAVA'
import java.io.*; import java.net.InetAddress; import java.security.KeyStore; import javax.net.ssl.*;
public class Answer {
    public static void main(String[] args) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(new FileInputStream("both.p12"), "secret".toCharArray());
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, "secret".toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory()
            .createServerSocket(0, 8, InetAddress.getByName("127.0.0.1"));
        System.out.println(listener.getLocalPort());
        while (true) try (SSLSocket socket = (SSLSocket) listener.accept()) {
            while (socket.getInputStream().read() >= 0) ;
            socket.getOutputStream().write("answer\n".getBytes());
        } catch (IOException error) { System.err.println(error); }
    }
}
JAVA
cat >answer.erl <<'ERL'
-module(answer).
-export([main/0]).
main() ->
    ssl:start(),
    {ok, Listener} = ssl:listen(0, [{certfile, "cert.pem"}, {keyfile, "key.pem"}, {active, false}, {ip, {127,0,0,1}}, binary]),
    {ok, {_, Port}} = ssl:sockname(Listener),
    io:format("~p~n", [Port]),
    accept(Listener).
accept(Listener) ->
    {ok, Transport} = ssl:transport_accept(Listener),
    {ok, Socket} = ssl:handshake(Transport),
    read(Socket),
    accept(Listener).
read(Socket) ->
    case ssl:recv(Socket, 0) of
        {ok, _} -> read(Socket);
        {error, closed} ->
            io:format(standard_error, "ssl:send: ~p~n", [ssl:send(Socket, <<"answer\n">>)]),
            ssl:close(Socket)
    end.
ERL

inside() {
    if [ "$(id -u)" = 0 ]; then
        mountpoint -q "$tmp/root/proc" || mount -t proc proc "$tmp/root/proc"
        exec chroot "$tmp/root" sh -c "cd /tmp && exec $1"
    fi
    exec unshare -rpf --mount-proc="$tmp/root/proc" chroot "$tmp/root" sh -c "cd /tmp && exec $1"
}

failed=0
# expect NAME COMMAND-PREFIX COMMAND VERSION=FATE...
expect() {
    name=$1 where=$2 command=$3
    shift 3
    : >"$tmp/port"
    if [ "$where" = inside ]; then
        (inside "$command") >>"$tmp/port" 2>"$tmp/said" &
    else
        $command >>"$tmp/port" 2>"$tmp/said" &
    fi
    server=$!
    until [ -s "$tmp/port" ]; do kill -0 $server 2>/dev/null || { tail -n 3 "$tmp/said"; exit 2; }; done
    for pair; do
        fate=$(timeout 20 python3 client.py "$(cat "$tmp/port")" "${pair%=*}")
        verdict='as expected'
        [ "$fate" = "${pair#*=}" ] || { verdict="EXPECTED ${pair#*=}"; failed=1; }
        printf '%-24s TLS %s  %-8s %s\n' "$name" "${pair%=*}" "$fate" "$verdict"
    done
    kill $server 2>/dev/null || true
    wait $server 2>/dev/null || true
    sed 's/^/    server: /' "$tmp/said" | cut -c -200 | head -n 3
}

java=/usr/lib/jvm/java-17-openjdk-amd64
(inside "$java/bin/javac Answer.java")
(inside "erlc answer.erl")
expect 'OpenSSL (Python)' outside "python3 openssl.py" 1.2=arrives 1.3=arrives
expect 'Java 17' inside "$java/bin/java Answer" 1.2=lost 1.3=arrives
expect 'Node.js, at once' inside "node node.js now no" 1.2=arrives 1.3=arrives
expect 'Node.js, 50 ms later' inside "node node.js late no" 1.2=lost 1.3=lost
expect 'Node.js, allowHalfOpen' inside "node node.js late half" 1.2=arrives 1.3=arrives
expect 'Erlang/OTP 25' inside "erl -noshell -s answer main" 1.2=lost
expect 'tlslite-ng 0.8.2' outside "$tmp/venv/bin/python server.py" 1.2=lost 1.3=lost
[ $failed = 0 ] && echo "all as expected"
exit $failed
