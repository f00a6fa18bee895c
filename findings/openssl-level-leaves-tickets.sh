#!/bin/sh
# Does an OpenSSL 3.0 server hand out session tickets at security level 3 and above?
#
# SSL_CTX_set_security_level(3) says of level 3 that session tickets are disabled. What was seen: in TLS 1.2 they are;
# in TLS 1.3 the server hands out two all the same, at every level, and the session is resumed by them. A program that
# wants none sets the number of tickets to 0 besides (SSL_CTX_set_num_tickets), or `options = NO_TICKET` and more.
#
# Each row: the level, the version, the tickets that a client received, whether the next session resumed.
#
# Needs Debian 12 (apt, dpkg-deb) and python3. Prints a table and fails if OpenSSL behaves otherwise.
set -eu
export LC_ALL=C
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
version=3.0.22-1~deb12u2
(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "openssl=$version" "libssl3=$version" >apt.log 2>&1) ||
    { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
export OPENSSL_CONF=/dev/null
openssl=$tmp/root/usr/bin/openssl
printf '[req]\ndistinguished_name = name\n[name]\n' >"$tmp/conf"
# Strong enough for level 4.
"$openssl" req -config "$tmp/conf" -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha384 -nodes -keyout "$tmp/key" \
    -out "$tmp/cert" -subj /CN=localhost 2>/dev/null

# asked VERSION ARGUMENTS...: one session, in which a line goes back and forth; the client's words into $tmp/said.
asked() {
    protocol=$1
    shift
    : >"$tmp/said"
    # The echo of the line comes behind the tickets. The client ends by Q.
    { echo hello; until grep -q olleh "$tmp/said" 2>/dev/null; do kill -0 "$server" || break; done; echo Q; } |
        "$openssl" s_client -connect "127.0.0.1:$port" "-$protocol" "$@" >"$tmp/said" 2>&1 || true
}

failed=0
echo 'level  version  tickets  resumed'
for level in 2 3 4; do
    : >"$tmp/port"
    "$openssl" s_server -accept 127.0.0.1:0 -cert "$tmp/cert" -key "$tmp/key" -cipher "DEFAULT:@SECLEVEL=$level" -rev \
        -no_cache >"$tmp/port" 2>&1 &
    server=$!
    until port=$(sed -n 's/^ACCEPT 127.0.0.1:\([0-9]*\)$/\1/p' "$tmp/port") && [ -n "$port" ]; do
        kill -0 "$server" || exit 2
    done
    for protocol in tls1_2 tls1_3; do
        asked $protocol -sess_out "$tmp/session"
        tickets=$(grep -c '^ *TLS session ticket:' "$tmp/said" || true)
        asked $protocol -sess_in "$tmp/session"
        resumed=no
        ! grep -q '^Reused, ' "$tmp/said" || resumed=yes
        case $level$protocol in
        *tls1_3) wanted='2 yes' ;;
        2*) wanted='1 yes' ;;
        *) wanted='0 no' ;;
        esac
        printf '%-6s %-8s %-8s %s' $level $protocol "$tickets" $resumed
        if [ "$tickets $resumed" = "$wanted" ]; then echo; else echo '  UNEXPECTED'; failed=1; fi
    done
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
done
[ $failed = 0 ] && echo 'all as expected'
exit $failed
