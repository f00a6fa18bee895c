#!/bin/sh
# Does mutt log in at a server that offers SCRAM-SHA-256-PLUS beside other mechanisms?
#
# A mechanism with -PLUS binds the login to the TLS connection. RFC 5802, section 6, has a client pick it only if it can do
# that, and SCRAM-SHA-256 else. So one would guess that mutt 2.2.12 and NeoMutt 20220429 either bind the login or pick the
# next best. What was seen with Cyrus 3.6.1, which offers it within TLS:
#   both pick SCRAM-SHA-256-PLUS, since GNU SASL 2.2.0 suggests it, give it no binding, and fail.
#   by POP3 neither gets in: after that they try APOP and USER, out of step with the server, which refuses PASS.
#   by IMAP mutt ends up with LOGIN, and sends the password itself, though SCRAM-SHA-256 is offered too.
#   mutt that is told scram-sha-256, NeoMutt that is told user (it knows no other that serves), and both without TLS, where
#     the server does not offer -PLUS, get in.
# Behind a relay that has the TLS it fails in the same way, since the offer comes from within TLS. The relay has to take it
# out, or the program has to be told.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, openssl, python3, util-linux, and root: for mounts and a network of its own.
# Prints a table and fails if one behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    chmod 755 "$tmp"
    libraries='libassuan0 libcom-err2 libffi8 libglib2.0-0 libgmime-3.0-0 libgnutls30 libgpgme11 libgsasl18=2.2.0-1+deb12u2
        libgssapi-krb5-2 libgssglue1 libical3 libicu72 libidn12 libjansson4 libk5crypto3 libkeyutils1 libkrb5-3
        libkrb5support0 libldap-2.5-0 liblua5.4-0 libncursesw6 libnotmuch5 libnsl2 libntlm0 libp11-kit0 libpcre2-8-0
        libpcre3 libpq5 libsasl2-2 libsasl2-modules libsasl2-modules-db libsexp1 libsqlite3-0 libssl3 libtalloc2 libtirpc3
        libtokyocabinet9 libwrap0 libxapian30 libxml2'
    # shellcheck disable=SC2086
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download cyrus-common=3.6.1-4+deb12u5 \
        cyrus-imapd=3.6.1-4+deb12u5 cyrus-pop3d=3.6.1-4+deb12u5 sasl2-bin mutt=2.2.12-0.1~deb12u2 \
        neomutt=20220429+dfsg1-4.1 $libraries >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    [ ! -d "$tmp/root/lib" ] || cp -a "$tmp/root/lib/." "$tmp/root/usr/lib/"
    unshare -n -m "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
mount --make-rprivate /
{ cat /etc/passwd; printf 'cyrus:x:64997:64997::/:/bin/false\n'; } >"$tmp/passwd"
{ cat /etc/group; printf 'cyrus:x:64997:\n'; } >"$tmp/group"
mount --bind "$tmp/passwd" /etc/passwd
mount --bind "$tmp/group" /etc/group
PATH=/usr/sbin:/usr/bin:$PATH
mount -t overlay packages -o "lowerdir=$tmp/root/usr:/usr" /usr
cd "$tmp"
mkdir -p home/Mail cyrus/socket cyrus/proc cyrus/lock cyrus/db cyrus/spool
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
cat >imapd.conf <<CONF
configdirectory: $tmp/cyrus
proc_path: $tmp/cyrus/proc
mboxname_lockpath: $tmp/cyrus/lock
partition-default: $tmp/cyrus/spool
servername: localhost
defaultdomain: localhost
autocreate_quota: -1
autocreate_post: yes
allowplaintext: yes
popminpoll: 0
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: $tmp/cyrus/sasldb2
sasl_mech_list: PLAIN LOGIN SCRAM-SHA-256
tls_server_cert: $tmp/cert.pem
tls_server_key: $tmp/key.pem
CONF
cat >cyrus.conf <<CONF
START {
}
SERVICES {
    imap cmd="imapd -C $tmp/imapd.conf" listen="127.0.0.1:7143"
    pop3 cmd="pop3d -C $tmp/imapd.conf" listen="127.0.0.1:7110"
}
EVENTS {
}
CONF
printf secret | saslpasswd2 -p -c -u localhost -f "$tmp/cyrus/sasldb2" anna
chown -R cyrus:cyrus cyrus key.pem
/usr/lib/cyrus/bin/master -C "$tmp/imapd.conf" -M "$tmp/cyrus.conf" -p "$tmp/cyrus/pid" >said 2>&1 &
cyrus=$!
trap 'kill $cyrus 2>/dev/null || true; wait $cyrus 2>/dev/null || true' EXIT

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
cat >muttrc <<CONF
set ssl_verify_host = no certificate_file = $tmp/cert.pem folder = $tmp/home/Mail sendmail = /bin/false
set imap_user = anna imap_pass = secret pop_user = anna pop_pass = secret
CONF
# PROGRAM PROTOCOL MECHANISM TLS: how it gets in.
try() {
    {
        cat muttrc
        echo "set ssl_force_tls = $4 ssl_starttls = $4"
        [ -z "$3" ] || echo "set $2_authenticators = $3"
        case $2 in
        pop) echo 'set spoolfile = pop://localhost:7110/' ;;
        imap) echo 'set spoolfile = imap://localhost:7143/INBOX' ;;
        esac
        echo 'push <exit>'
    } >own
    HOME=$tmp/home TERM=xterm python3 terminal.py "$1" -n -F "$tmp/own" >shown 2>&1
    tried=$(sed -n 's/.*Authenticating (\([A-Z0-9-]*\)).*/\1/p' shown | tr '\n' ' ')
    if grep -q 'Msgs:0' shown && ! grep -q 'no mailbox' shown; then echo "${tried}in"; else echo "${tried}refused"; fi
}
failed=0
# EXPECTED PROGRAM PROTOCOL MECHANISM TLS
expect() {
    seen=$(try "$2" "$3" "$4" "$5")
    mark=
    [ "$seen" = "$1" ] || { failed=1; mark="   UNEXPECTED, not $1"; grep . shown | tail -n 5; }
    printf '%-8s %-5s TLS %-4s told %-14s %s%s\n' "$2" "$3" "$5" "${4:-nothing}" "$seen" "$mark"
}
tries=0
until python3 -c 'import socket; socket.create_connection(("127.0.0.1", 7110)).recv(9)' 2>/dev/null; do
    tries=$((tries + 1))
    { kill -0 $cyrus && [ $tries -lt 300 ]; } 2>/dev/null || { cat said; exit 2; }
    sleep 0.1
done
for program in mutt neomutt; do
    expect 'SCRAM-SHA-256-PLUS APOP refused' $program pop '' yes
    expect 'SCRAM-SHA-256 in' $program pop '' no
done
expect 'SCRAM-SHA-256 in' mutt pop scram-sha-256 yes
expect 'in' neomutt pop user yes
expect 'SCRAM-SHA-256-PLUS in' mutt imap '' yes
expect 'SCRAM-SHA-256 in' mutt imap scram-sha-256 yes
[ $failed = 0 ] && echo "all as expected" || echo "unexpected"
exit $failed
