#!/bin/sh
# Which version does a tlslite-ng 0.8.2 server with maxVersion = (3, 1), TLS 1.0, agree on?
#
# One would guess TLS 1.0 with every client that speaks it. What was seen: TLS 1.0 with a client that has no
# supported_versions extension; TLS 1.2 with one that has it, as every client that offers TLS 1.3. There the server goes
# by another list, `settings.versions`, of which maxVersion takes TLS 1.3 alone. So a test server "with TLS 1.0 only" is
# none for a modern client, and says nothing of that: set `versions` as well.
#
# Needs python3 with pip, and openssl. Prints a table and fails if tlslite-ng behaves otherwise.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m pip install -q --no-deps --target "$tmp/modules" tlslite-ng==0.8.2 ecdsa==0.19.1 six==1.17.0 2>"$tmp/pip.log" ||
    { tail -n 3 "$tmp/pip.log"; echo "the modules cannot be installed"; exit 2; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -subj /CN=localhost 2>/dev/null
PYTHONPATH=$tmp/modules python3 - "$tmp/cert" "$tmp/key" <<'PY'
import socket
import sys
import threading

from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey

chain = X509CertChain()
chain.parsePemList(open(sys.argv[1], encoding="ascii").read())
key = parsePEMKey(open(sys.argv[2], encoding="ascii").read(), private=True, implementations=["python"])


def settings(highest, all_of_them):
    made = HandshakeSettings()
    made.minVersion, made.maxVersion = (3, 1), highest
    if not all_of_them:
        made.versions = [(3, 1)]
    return made


def serve(listener, all_of_them):
    stream, _ = listener.accept()
    server = TLSConnection(stream)
    server.handshakeServer(certChain=chain, privateKey=key, settings=settings((3, 1), all_of_them))


def agreed(highest, all_of_them):
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=[listener, all_of_them])
    thread.start()
    client = TLSConnection(socket.create_connection(listener.getsockname()))
    client.handshakeClientCert(settings=settings(highest, True))
    thread.join()
    return client.getVersionName()


failed = False
print(f"{'the server sets':22} {'the client speaks':18} agreed")
for highest, name, all_of_them, expected in (
    ((3, 3), "up to TLS 1.2", True, "TLS 1.0"),
    ((3, 4), "up to TLS 1.3", True, "TLS 1.2"),
    ((3, 4), "up to TLS 1.3", False, "TLS 1.0"),
):
    sets = "maxVersion" if all_of_them else "maxVersion, versions"
    seen = agreed(highest, all_of_them)
    verdict = "" if seen == expected else f"   EXPECTED {expected}"
    failed |= bool(verdict)
    print(f"{sets:22} {name:18} {seen}{verdict}")
sys.exit(failed)
PY
