#!/bin/sh
# Does a mechanism that GNU Mailutils' IMAP server offers log in?
#
# RFC 3501, section 6.2.2, has a server list what it supports, so one would guess that imap4d 3.15 offers what it can do. It
# knows passwords by PAM alone here, as on every machine where no list of theirs in the clear was made. What was seen:
#   it offers all that GNU SASL 2.2.0 has names for: DIGEST-MD5, CRAM-MD5 and four kinds of SCRAM, which need the password
#     itself, two of them bound to TLS, where there is none; GSSAPI and GS2-KRB5 without a key; SECURID, SAML20, OPENID20,
#     EXTERNAL and ANONYMOUS.
#   of those that need a password PLAIN and LOGIN log in, and the command LOGIN; CRAM-MD5, DIGEST-MD5 and SCRAM do not.
#   mutt 2.2.12 picks GS2-KRB5 and gives up. Told plain it gets in. curl 7.88.1 picks DIGEST-MD5 and gives up. Told
#     `--login-options AUTH=PLAIN` it gets in.
# A client that picks the best of such a list needs a setting for the mechanism, and a user who knows it.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, python3, util-linux, and root: for mounts and a network of its own.
# Prints a table and fails if one behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    chmod 755 "$tmp"
    libraries='libassuan0 libbrotli1 libcom-err2 libcurl4=7.88.1-10+deb12u15 libffi8 libgnutls30 libgpgme11
        libgsasl18=2.2.0-1+deb12u2 libgssapi-krb5-2 libgssglue1 libidn12 libk5crypto3 libkeyutils1 libkrb5-3
        libkrb5support0 libldap-2.5-0 libmailutils9 libmariadb3 libmu-dbm9 libncursesw6 libnghttp2-14 libnsl2 libntlm0
        libp11-kit0 libpq5 libpsl5 librtmp1 libsasl2-2 libsasl2-modules libsexp1 libssh2-1 libssl3 libtirpc3
        libtokyocabinet9 libwrap0'
    # shellcheck disable=SC2086
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download mailutils-imap4d=1:3.15-4 mailutils-common=1:3.15-4 \
        mutt=2.2.12-0.1~deb12u2 curl=7.88.1-10+deb12u15 $libraries >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    [ ! -d "$tmp/root/lib" ] || cp -a "$tmp/root/lib/." "$tmp/root/usr/lib/"
    unshare -n -m "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
mount --make-rprivate /
hash=$(python3 -W ignore -c 'import crypt; print(crypt.crypt("secret", crypt.METHOD_SHA256))')
{ cat /etc/passwd; printf 'anna:x:64997:64997::%s/home:/bin/sh\n' "$tmp"; } >"$tmp/passwd"
{ cat /etc/group; printf 'anna:x:64997:\n'; } >"$tmp/group"
{ cat /etc/shadow; printf 'anna:%s:19000:0:99999:7:::\n' "$hash"; } >"$tmp/shadow"
chmod 600 "$tmp/shadow"
mkdir -p "$tmp/pam" "$tmp/home/Mail"
printf 'auth required pam_unix.so\naccount required pam_unix.so\nsession optional pam_unix.so\n' |
    tee "$tmp/pam/mu-imap4d" "$tmp/pam/imap" "$tmp/pam/imap4d" >"$tmp/pam/other"
for file in passwd group shadow; do mount --bind "$tmp/$file" /etc/$file; done
mount --bind "$tmp/pam" /etc/pam.d
PATH=/usr/sbin:/usr/bin:$PATH
mount -t overlay packages -o "lowerdir=$tmp/root/usr:/usr" /usr
mount -t tmpfs mail /var/mail
cd "$tmp"
: >/var/mail/anna
chown anna /var/mail/anna home home/Mail
cat >inetd.py <<'PY'
import signal, socket, subprocess
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", 7143))
while True:
    with listener.accept()[0] as connection:
        subprocess.Popen(["imap4d", "--inetd"], stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)
PY
cat >client.py <<'PY'
# client.py MECHANISM: "in" or "refused"; without one, what is offered.
import base64, hashlib, hmac, os, socket, sys
server = socket.create_connection(("127.0.0.1", 7143)).makefile("rwb")
def say(line):
    server.write(line + b"\r\n")
    server.flush()
def hear():
    while True:
        line = server.readline()
        if not line.startswith(b"* "):
            return line
server.readline()
def end(line):
    print("in" if line.split()[1:2] == [b"OK"] else "refused")
    sys.exit()
def challenge(line):
    return base64.b64decode(line[2:]) if line.startswith(b"+") else end(line)
if len(sys.argv) == 1:
    say(b"a CAPABILITY")
    offered = [word[5:].decode() for word in server.readline().split() if word.startswith(b"AUTH=")]
    print(" ".join(sorted(set(offered))))
    sys.exit()
mechanism = sys.argv[1]
if mechanism == "command":
    say(b"a LOGIN anna secret")
    end(hear())
say(b"a AUTHENTICATE " + mechanism.encode())
first = challenge(hear())
def answer(words):
    say(base64.b64encode(words))
    return hear()
if mechanism == "PLAIN":
    end(answer(b"\0anna\0secret"))
if mechanism == "LOGIN":
    challenge(answer(b"anna"))
    end(answer(b"secret"))
if mechanism == "CRAM-MD5":
    end(answer(b"anna " + hmac.new(b"secret", first, "md5").hexdigest().encode()))
if mechanism == "SCRAM-SHA-256":
    bare = b"n=anna,r=" + base64.b64encode(os.urandom(18))
    said = challenge(answer(b"n,," + bare))
    parts = dict(part.split(b"=", 1) for part in said.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", base64.b64decode(parts[b"s"]), int(parts[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    without = b"c=biws,r=" + parts[b"r"]
    signed = hmac.digest(hashlib.sha256(key).digest(), bare + b"," + said + b"," + without, "sha256")
    proof = bytes(one ^ other for one, other in zip(key, signed))
    challenge(answer(without + b",p=" + base64.b64encode(proof)))
    end(answer(b""))
PY
cat >terminal.py <<'PY'
# terminal.py COMMAND...: runs it at a terminal until it ends, and prints what it showed, a line each.
import os, pty, re, select, sys
pid, descriptor = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown = b""
while select.select([descriptor], [], [], 20)[0]:
    try:
        shown += os.read(descriptor, 65536)
    except OSError:
        break
else:
    os.kill(pid, 9)
os.waitpid(pid, 0)
print(re.sub(rb"\x1b[\[(][0-9;?]*[A-Za-z]|\r", b"\n", shown).decode("utf-8", "replace"))
PY
python3 inetd.py &
server=$!
trap 'kill $server' EXIT
tries=0
until offered=$(python3 client.py 2>/dev/null); do
    tries=$((tries + 1))
    { kill -0 $server && [ $tries -lt 300 ]; } 2>/dev/null || { echo "imap4d does not come up"; exit 2; }
    sleep 0.1
done
# shellcheck disable=SC2317 # expect calls it
mutt() {
    printf 'set imap_user=anna imap_pass=secret ssl_force_tls=no ssl_starttls=no folder=%s/home/Mail\n' "$tmp" >muttrc
    printf 'set sendmail=/bin/false spoolfile=imap://127.0.0.1:7143/INBOX\npush <exit>\n' >>muttrc
    [ $# = 0 ] || echo "set imap_authenticators=$1" >>muttrc
    HOME=$tmp/home TERM=xterm python3 terminal.py /usr/bin/mutt -n -F "$tmp/muttrc" >shown 2>&1
    tried=$(sed -n 's/.*Authenticating (\([A-Z0-9-]*\)).*/\1/p' shown | tr '\n' ' ')
    if grep -q 'Msgs:0' shown && ! grep -q 'no mailbox' shown; then echo "${tried}in"; else echo "${tried}refused"; fi
}
# shellcheck disable=SC2317 # expect calls it
by_curl() {
    curl -q -sv -u anna:secret "$@" 'imap://127.0.0.1:7143/' >shown 2>&1 && verdict=in || verdict=refused
    echo "$(sed -n 's/^> A[0-9]* AUTHENTICATE \([A-Z0-9-]*\).*/\1/p' shown | tr -d '\r' | tr '\n' ' ')$verdict"
}
failed=0
# EXPECTED NAME COMMAND...
expect() {
    expected=$1 name=$2
    shift 2
    seen=$("$@")
    mark=
    [ "$seen" = "$expected" ] || { failed=1; mark="   UNEXPECTED, not $expected"; }
    printf '%-24s %s%s\n' "$name" "$seen" "$mark"
}
expect 'ANONYMOUS CRAM-MD5 DIGEST-MD5 EXTERNAL GS2-KRB5 GSSAPI LOGIN OPENID20 PLAIN SAML20 SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS SECURID' \
    'offered, without TLS:' echo "$offered"
expect in 'command LOGIN' python3 client.py command
for mechanism in PLAIN LOGIN; do expect in $mechanism python3 client.py $mechanism; done
for mechanism in CRAM-MD5 SCRAM-SHA-256; do expect refused $mechanism python3 client.py $mechanism; done
expect 'GS2-KRB5 refused' 'mutt' mutt
expect 'PLAIN in' 'mutt, told plain' mutt plain
expect 'DIGEST-MD5 refused' curl by_curl
expect 'PLAIN in' 'curl, told AUTH=PLAIN' by_curl --login-options AUTH=PLAIN
[ $failed = 0 ] && echo "all as expected" || echo "unexpected"
exit $failed
