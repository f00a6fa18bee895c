#!/bin/sh
# Does stunnel 5.68 log in at Exim 4.96 (`protocol = smtp`, client mode, protocolUsername and protocolPassword)?
#
# Exim offers AUTH PLAIN once TLS has begun, so one would guess that it takes the login. What was seen:
#   behind STARTTLS stunnel says HELO, not EHLO, and then AUTH PLAIN. RFC 4954, section 4, lets a server
#     offer AUTH in its answer to EHLO alone, and RFC 3207, section 4.2, has the client forget what it heard before TLS.
#   Exim answers "503 AUTH command used when not advertised". stunnel closes the connection, of which its client
#     has seen a greeting and learns no reason.
#   a client that says EHLO and the same AUTH PLAIN in the same TLS session is logged in.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, openssl, python3, util-linux, and root: Exim asks for a user of its own.
# Prints what was seen and fails if either behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    chmod 755 "$tmp"
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download stunnel4=3:5.68-2+deb12u1 libwrap0 \
        exim4-daemon-light=4.96-15+deb12u10 libidn12 libgnutls-dane0 libunbound8 libevent-2.1-7 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/pem" -subj /CN=localhost 2>/dev/null
    cat "$tmp/key" >>"$tmp/pem"
    unshare -n -m "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
{ cat /etc/passwd; echo 'Debian-exim:x:64999:64999::/:/usr/sbin/nologin'; } >"$tmp/passwd"
{ cat /etc/group; echo 'Debian-exim:x:64999:'; } >"$tmp/group"
mount --bind "$tmp/passwd" /etc/passwd
mount --bind "$tmp/group" /etc/group
mkdir "$tmp/spool"
chown 64999:64999 "$tmp/spool" "$tmp/pem"
cat >"$tmp/exim.conf" <<CONF
primary_hostname = mx.test
tls_certificate = $tmp/pem
tls_advertise_hosts = *
spool_directory = $tmp/spool
log_file_path = $tmp/spool/%slog
keep_environment =
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{\$auth2}{user}}{eq{\$auth3}{secret}}}}
  server_advertise_condition = \${if def:tls_in_cipher}
CONF
"$tmp/root/usr/sbin/exim4" -C "$tmp/exim.conf" -bdf -oX 127.0.0.1.7312 >"$tmp/exim" 2>&1 &
exim=$!
printf 'foreground = yes\npid =\ndebug = 7\n[t]\nclient = yes\naccept = 127.0.0.1:7313\nconnect = 127.0.0.1:7312\nprotocol = smtp\nprotocolUsername = user\nprotocolPassword = secret\n' >"$tmp/conf"
"$tmp/root/usr/bin/stunnel4" "$tmp/conf" >"$tmp/log" 2>&1 &
stunnel=$!
trap 'kill $stunnel $exim 2>/dev/null || true' EXIT
: >>"$tmp/log"
until grep -q 'Configuration successful' "$tmp/log"; do
    kill -0 $stunnel 2>/dev/null || { tail -n 3 "$tmp/log"; exit 2; }
done
python3 - "$tmp" <<'PY'
import smtplib, ssl, sys, time

tmp = sys.argv[1]
end = time.monotonic() + 30
while True:
    try:
        direct = smtplib.SMTP("127.0.0.1", 7312, timeout=10)
        break
    except OSError:
        if time.monotonic() > end:
            sys.exit(open(f"{tmp}/exim").read() + "exim does not answer")
context = ssl._create_unverified_context()
direct.starttls(context=context)
direct.ehlo()
direct.user, direct.password = "user", "secret"
code, _ = direct.auth("PLAIN", direct.auth_plain)
print("EHLO, then AUTH PLAIN, by smtplib:", code)
failed = code != 235
try:
    through = smtplib.SMTP("127.0.0.1", 7313, timeout=10)
    seen = f"answer {through.ehlo()[0]} to EHLO"
except (smtplib.SMTPServerDisconnected, OSError):
    seen = "a closed connection"
print("through stunnel the client sees:", seen)
failed |= seen != "a closed connection"
said = [line.split(": ", 1)[1].strip() for line in open(f"{tmp}/log") if " -> " in line or " <- " in line]
for line in said:
    print("   ", line)
failed |= not any("503 AUTH command used when not advertised" in line for line in said)
failed |= not any("HELO" in line for line in said)
print("unexpected" if failed else "all as expected")
sys.exit(failed)
PY
