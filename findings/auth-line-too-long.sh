#!/bin/sh
# Does an access token of 2.4 kB, or of 5.6 kB, log in where a short one does, at Dovecot 2.3.19 by SMTP?
#
# RFC 4954, section 4, leaves AUTH's own line at SMTP's 512 bytes: a client whose initial response makes it longer MUST
# NOT use one, and waits for the empty challenge; the line behind that has 12288 bytes. So one would guess that the length
# of a token does not matter. What was seen:
#   with a token of some 400 bytes all log in: curl 7.88.1, msmtp 1.8.23, mutt 2.2.12, neomutt 20220429, nodemailer
#     7.0.13, PHPMailer 6.6.3 and smtplib of Python 3.11.2.
#   with a good one of 2.4 kB, as Microsoft's are, curl logs in, and msmtp and mutt do by XOAUTH2: these wait for the
#     challenge. By OAUTHBEARER, in the same program, msmtp and mutt put the token into AUTH's own line, as the other four
#     always do. Dovecot answers "500 5.5.2 Line too long".
#   with a good one of 5.6 kB msmtp refuses by XOAUTH2 too: it sends no line beyond 4094 bytes.
# A user of mutt is helped by XOAUTH2. A server that wants all of these takes AUTH lines far beyond the RFC's.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, node, npm, python3, util-linux, and root: for mounts and a network of its own.
# Prints a table and fails if one behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    chmod 755 "$tmp"
    libraries='libargon2-1 libassuan0 libbrotli1 libcap2 libexpat1 libffi8 libglib2.0-0 libgmime-3.0-0 libgnutls30 libgpgme11
        libgsasl18=2.2.0-1+deb12u2 libgssapi-krb5-2 libgssglue1 libicu72 libidn12 libk5crypto3 libkrb5-3 libkrb5support0
        libldap-2.5-0 liblua5.4-0 liblz4-1 libnghttp2-14 libnotmuch5 libntlm0 libp11-kit0 libpsl5 librtmp1 libsasl2-2
        libsecret-1-0 libsexp1 libsodium23 libsqlite3-0 libssh2-1 libssl3 libtalloc2 libtokyocabinet9 libunwind8 libxapian30 libxml2'
    # shellcheck disable=SC2086
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download curl=7.88.1-10+deb12u15 libcurl4=7.88.1-10+deb12u15 \
        dovecot-core=1:2.3.19.1+dfsg1-2.1+deb12u7 dovecot-submissiond=1:2.3.19.1+dfsg1-2.1+deb12u7 msmtp=1.8.23-1 \
        mutt=2.2.12-0.1~deb12u2 neomutt=20220429+dfsg1-4.1 libphp-phpmailer=6.6.3-1 php8.2-cli php8.2-common \
        python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
        libpython3.11-stdlib=3.11.2-6+deb12u9 $libraries >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    [ ! -d "$tmp/root/lib" ] || cp -a "$tmp/root/lib/." "$tmp/root/usr/lib/"
    npm install --silent --prefix "$tmp" nodemailer@7.0.13
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
mkdir -p run mail keys/default/HS256
chown nobody mail
printf key | base64 >keys/default/HS256/default
cat >dovecot.conf <<CONF
base_dir = $tmp/run
log_path = $tmp/log
protocols = submission
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = xoauth2 oauthbearer
auth_failure_delay = 0
first_valid_uid = 1
hostname = test
mail_location = maildir:$tmp/mail
submission_relay_host = 127.0.0.1
submission_relay_port = 7525
passdb {
  driver = oauth2
  args = $tmp/oauth2
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
cat >oauth2 <<CONF
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$tmp/keys/
username_attribute = sub
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
cat >jwt.py <<'PY'
# A JWT that is good for an hour.
import base64, hashlib, hmac, json, sys, time

def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")

now = int(time.time())
claims = {"sub": "user", "iat": now, "nbf": now - 60, "exp": now + 3600, "scope": "mail", "groups": "g" * int(sys.argv[1])}
head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "default"}).encode())
signed = head + b"." + part(json.dumps(claims).encode())
print((signed + b"." + part(hmac.new(b"key", signed, hashlib.sha256).digest())).decode(), end="")
PY
cat >node.js <<'JS'
const [port, accessToken] = [7587, require('fs').readFileSync('token', 'utf8')];
const transport = require('nodemailer').createTransport({ host: '127.0.0.1', port, secure: false, ignoreTLS: true,
    auth: { type: 'OAuth2', user: 'user', accessToken } });
transport.sendMail({ from: 'a@b.example', to: 'c@d.example', subject: 'x', text: 'x' }).catch(() => process.exit(1));
JS
cat >mailer.php <<'PHP'
<?php
foreach (['OAuthTokenProvider', 'SMTP'] as $file) require "/usr/share/php/libphp-phpmailer/src/$file.php";
class Token implements PHPMailer\PHPMailer\OAuthTokenProvider {
    public function getOauth64() {
        return base64_encode("user=user\1auth=Bearer " . file_get_contents('token') . "\1\1");
    }
}
$smtp = new PHPMailer\PHPMailer\SMTP();
exit($smtp->connect('127.0.0.1', 7587, 30) && $smtp->hello('x') && $smtp->authenticate('user', '', 'XOAUTH2', new Token())
    ? 0 : 1);
PHP
cat >smtplib.script <<'PY'
import smtplib
smtp = smtplib.SMTP("127.0.0.1", 7587, timeout=30)
smtp.ehlo()
smtp.auth("XOAUTH2", lambda challenge=None: f"user=user\1auth=Bearer {open('token').read()}\1\1")
PY
printf 'From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\n\r\nx\r\n' >letter
python3 sink.py &
sink=$!
/usr/sbin/dovecot -F -c "$tmp/dovecot.conf" >said 2>&1 &
dovecot=$!
trap 'kill $dovecot $sink 2>/dev/null || true; wait $dovecot' EXIT
curls() {
    curl -s -m 30 --url smtp://127.0.0.1:7587 --mail-from a@b.example --mail-rcpt c@d.example -u user: \
        --oauth2-bearer "$(cat token)" -T letter
}
msmtps() {
    msmtp --host=127.0.0.1 --port=7587 --tls=off --auth="$1" --user=user --passwordeval='cat token; echo' \
        --from=a@b.example c@d.example <letter
}
mutts() {
    HOME=$tmp "$1" -n -F /dev/null -e "set ssl_starttls=no ssl_force_tls=no copy=no from=a@b.example" \
        -e "set smtp_url=smtp://user@127.0.0.1:7587/ smtp_authenticators=$2 smtp_oauth_refresh_command='cat token; echo'" \
        -s x c@d.example <letter
}
python3 jwt.py 100 >token
tries=0
until curls 2>/dev/null; do
    tries=$((tries + 1))
    kill -0 $dovecot 2>/dev/null && [ $tries -lt 300 ] || { cat said log; exit 2; }
    sleep 0.1
done
failed=0
try() {
    name=$1 expected=$2
    shift 2
    seen=
    for padding in 100 1600 4000; do
        python3 jwt.py $padding >token
        if "$@" >out 2>&1 </dev/null; then seen="$seen in"; else seen="$seen refused"; fi
    done
    mark=
    [ "$seen" = " $expected" ] || { failed=1; mark='   UNEXPECTED'; tail -n 2 out; }
    printf '%-24s%s%s\n' "$name" "$seen" "$mark"
}
printf '%-24s 400 bytes, 2.4 kB, 5.6 kB\n' ''
try 'curl OAUTHBEARER' 'in in in' curls
try 'msmtp XOAUTH2' 'in in refused' msmtps xoauth2
grep -q 'longer than 4094 characters' out || { tail -n 2 out; echo "another reason than was seen"; failed=1; }
try 'msmtp OAUTHBEARER' 'in refused refused' msmtps oauthbearer
try 'mutt XOAUTH2' 'in in in' mutts mutt xoauth2
try 'mutt OAUTHBEARER' 'in refused refused' mutts mutt oauthbearer
try 'neomutt XOAUTH2' 'in refused refused' mutts neomutt xoauth2
try 'neomutt OAUTHBEARER' 'in refused refused' mutts neomutt oauthbearer
try 'nodemailer XOAUTH2' 'in refused refused' node node.js
try 'PHPMailer XOAUTH2' 'in refused refused' php8.2 -n mailer.php
try 'smtplib XOAUTH2' 'in refused refused' python3.11 -I smtplib.script
grep -q "(500, b'5.5.2 Line too long')" out || { tail -n 1 out; echo "another answer than was seen"; failed=1; }
[ $failed = 0 ] && echo "all as expected" || echo "unexpected"
exit $failed
