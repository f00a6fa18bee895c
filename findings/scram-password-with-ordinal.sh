#!/bin/sh
# Does one password log in by PLAIN and by SCRAM, at Dovecot 2.3.19 by SMTP?
#
# RFC 5802, section 5.1, has both sides prepare the password by SASLprep (RFC 4013), and RFC 4616 has a server do it for
# PLAIN, so one would guess that the mechanism makes no difference. What was seen with msmtp 1.8.23 and mutt 2.2.12,
# which have SCRAM from GNU SASL 2.2.0:
#   a password in ASCII, or with an umlaut as one character: both log in.
#   a password with the ordinal of Spanish and Portuguese keyboards (U+00AA), with a no-break space (U+00A0), or with an
#     umlaut as two characters, as macOS may write it: PLAIN logs in, SCRAM-SHA-1 and SCRAM-SHA-256 are refused. The
#     programs send a proof of what SASLprep makes of it (`a`, a space, one character); Dovecot has hashed what it was given.
#   stored as SASLprep leaves it, the same password logs in by SCRAM, and no more by PLAIN.
# A client that gets its user in has PLAIN, within TLS, as another try for a password that SASLprep changes.
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
    libraries='libassuan0 libcap2 libffi8 libglib2.0-0 libgnutls30 libgpgme11 libgsasl18=2.2.0-1+deb12u2
        libgssapi-krb5-2 libgssglue1 libidn12 libk5crypto3 libkrb5-3 libkrb5support0 liblz4-1 libntlm0
        libp11-kit0 libsecret-1-0 libsexp1 libsodium23 libssl3 libtokyocabinet9 libunwind8'
    # shellcheck disable=SC2086
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download dovecot-core=1:2.3.19.1+dfsg1-2.1+deb12u7 \
        dovecot-submissiond=1:2.3.19.1+dfsg1-2.1+deb12u7 msmtp=1.8.23-1 mutt=2.2.12-0.1~deb12u2 \
        $libraries >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    [ ! -d "$tmp/root/lib" ] || cp -a "$tmp/root/lib/." "$tmp/root/usr/lib/"
    unshare -n -m "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
mount --make-rprivate /
{ cat /etc/passwd; printf 'dovecot:x:64997:64997::/:/bin/false\ndovenull:x:64998:64998::/:/bin/false\n'; } >"$tmp/passwd"
{ cat /etc/group; printf 'dovecot:x:64997:\ndovenull:x:64998:\n'; } >"$tmp/group"
mount --bind "$tmp/passwd" /etc/passwd
mount --bind "$tmp/group" /etc/group
PATH=/usr/sbin:/usr/bin:$PATH
mount -t overlay packages -o "lowerdir=$tmp/root/usr:/usr" /usr
cd "$tmp"
mkdir -p run mail
chown nobody mail
cat >dovecot.conf <<CONF
base_dir = $tmp/run
log_path = $tmp/log
protocols = submission
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain scram-sha-1 scram-sha-256
auth_failure_delay = 0
first_valid_uid = 1
hostname = test
mail_location = maildir:$tmp/mail
submission_relay_host = 127.0.0.1
submission_relay_port = 7525
passdb {
  driver = passwd-file
  args = scheme=PLAIN $tmp/users
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=$tmp/mail
}
service submission-login {
  chroot =
  inet_listener submission {
    port = 7587
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
CONF
cat >sink.py <<'PY'
# The server that Dovecot hands its mails to.
import socketserver

class Sink(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            self.serve()
        except OSError:
            pass

    def serve(self):
        self.wfile.write(b"220 sink\r\n")
        for line in self.rfile:
            word = line.split()[0].upper()
            self.wfile.write(b"354 go ahead\r\n" if word == b"DATA" else b"250 taken\r\n")
            if word == b"DATA":
                while self.rfile.readline() != b".\r\n":
                    pass
                self.wfile.write(b"250 taken\r\n")

socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(("127.0.0.1", 7525), Sink).serve_forever()
PY
umlaut=$(printf 'k\303\244se') ordinal=$(printf 'cl\302\252') space=$(printf 'no\302\240break') two=$(printf 'ka\314\210se')
cat >users <<USERS
ascii:{PLAIN}plain
umlaut:{PLAIN}$umlaut
ordinal:{PLAIN}$ordinal
space:{PLAIN}$space
two:{PLAIN}$two
prepared:{PLAIN}cla
USERS
printf 'From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\n\r\nx\r\n' >letter
python3 sink.py &
sink=$!
/usr/sbin/dovecot -F -c "$tmp/dovecot.conf" >said 2>&1 &
dovecot=$!
trap 'kill $dovecot $sink 2>/dev/null || true; wait $dovecot' EXIT
# PROGRAM USER PASSWORD MECHANISM
send() {
    printf '%s\n' "$3" >password
    case $1 in
    msmtp)
        msmtp --host=127.0.0.1 --port=7587 --tls=off --auth="$4" --user="$2" --passwordeval='cat password' \
            --from=a@b.example c@d.example <letter
        ;;
    *)
        HOME=$tmp "$1" -n -F /dev/null -e "set ssl_starttls=no ssl_force_tls=no copy=no from=a@b.example" \
            -e "set smtp_url=smtp://$2@127.0.0.1:7587/ smtp_authenticators=$4 smtp_pass='$3'" \
            -s x c@d.example <letter
        ;;
    esac
}
tries=0
until send msmtp ascii plain plain 2>/dev/null; do
    tries=$((tries + 1))
    kill -0 $dovecot 2>/dev/null && [ $tries -lt 300 ] || { cat said log; exit 2; }
    sleep 0.1
done
failed=0
# NAME USER PASSWORD EXPECTED
try() {
    for program in msmtp mutt; do
        seen=
        for mechanism in plain scram-sha-1 scram-sha-256; do
            if send $program "$2" "$3" $mechanism >out 2>&1; then seen="$seen in"; else seen="$seen refused"; fi
        done
        mark=
        [ "$seen" = " $4" ] || { failed=1; mark='   UNEXPECTED'; tail -n 2 out; }
        printf '%-26s%-9s%s%s\n' "$1" $program "$seen" "$mark"
    done
}
printf '%-36sPLAIN, SCRAM-SHA-1, SCRAM-SHA-256\n' ''
try 'ASCII' ascii plain 'in in in'
try 'umlaut, one character' umlaut "$umlaut" 'in in in'
try 'umlaut, two characters' two "$two" 'in refused refused'
try 'ordinal' ordinal "$ordinal" 'in refused refused'
try 'no-break space' space "$space" 'in refused refused'
try 'ordinal, stored prepared' prepared "$ordinal" 'refused in in'
[ $failed = 0 ] && echo "all as expected" || echo "unexpected"
exit $failed
