#!/bin/bash
# Inside the sandbox, as a service of a systemd that is process 1: the .deb's units.
set -u
export RESULTS=/mnt/results
# shellcheck source=tests/packaging/support.sh
. /mnt/support.sh
conf=/etc/adit/adit.conf

# What is started later waits for this; it makes users and folders of its own.
systemctl start sysinit.target
snapshot >/root/before
start_tls_server

property() {
    systemctl show --value -p "$1" "${2:-adit}"
}
is() {
    local got
    got=$("${@:2}")
    [ "$got" = "$1" ] || { echo "$got, not $1"; return 1; }
}

check "installing" bash -c 'dpkg -i /mnt/adit-1.deb >/root/said 2>&1'
check "does not enable it" is disabled systemctl is-enabled adit
check "nor start it" is inactive systemctl is-active adit
check "but says how to" grep -q 'systemctl enable --now adit' /root/said
check "an upgrade does not either" bash -c '
    dpkg -i --force-confold /mnt/adit-2.deb && ! systemctl is-enabled adit && ! systemctl is-active adit'
dpkg -i /mnt/adit-1.deb >/dev/null 2>&1
check "which does both" systemctl enable --now adit
check "so it is active" is active systemctl is-active adit
check "it says that it serves" is "Accepting new connections" property StatusText
check "the units are without fault" bash -c '
    found=$(systemd-analyze verify adit.service adit@two.service adit-restart-check.service adit-restart-check@two.service 2>&1)
    [ -z "$found" ] || { echo "$found"; exit 1; }'
check "systemd finds them hardened: 3.0 or less" bash -c '
    systemd-analyze security --no-pager --threshold=30 adit.service | tail -n 1
    exit "${PIPESTATUS[0]}"'
check "init.d/adit passes on to systemd" status 0 /etc/init.d/adit status
check "tmpfiles makes the jail again" bash -c '
    systemctl stop adit && rm -rf /var/lib/adit && systemd-tmpfiles --create adit.conf &&
    [ "$(stat -c %a:%U:%G /var/lib/adit /var/log/adit | xargs)" = "755:root:root 750:root:adm" ] &&
    systemctl start adit'
mkdir -p /root/other/etc /root/other/usr/lib
cp -r /usr/lib/sysusers.d /root/other/usr/lib/
check "sysusers can make a user of its own" bash -c '
    systemd-sysusers --root=/root/other adit.conf && grep -q ^adit: /root/other/etc/passwd'

configure $conf 2110 "output = /var/log/adit/adit.log"
first=$(property MainPID)
check "systemctl reload takes a configuration over" systemctl reload adit
check "and returns when it is in force" is 2 generation
check "the status tells" is "Generation 2 serves" property StatusText
check "it relays, as hardened as it is" relays 2110
check "in the same supervisor" is "$first" property MainPID
sed -i 's/^connect/conect/' $conf
check "a wrong configuration fails systemctl reload" status 1 systemctl reload adit
check "and it is active still" is active systemctl is-active adit
check "with the running configuration" relays 2110
check "nor does systemctl restart end it: it fails" bash -c 'systemctl restart adit 2>&1 | grep "Job for adit.service canceled"'
soon systemctl --quiet is-active adit-restart-check
check "nor try-restart" not systemctl try-restart adit
check "it is the same process" is "$first" property MainPID
check "which relays" relays 2110
check "the journal says why" soon bash -c '
    journalctl --no-pager -u adit-restart-check | grep "adit.conf is wrong: the restart is cancelled"'
configure $conf 7443
check "a port that is taken fails it too" status 1 systemctl reload adit
check "the status says that the last reload failed" \
    bash -c 'systemctl show -p StatusText adit | grep -q "the running configuration stays in force"'
check "still the running configuration" relays 2110
configure $conf 2110
check "the next good one is taken" systemctl reload adit
check "a good one is restarted with" systemctl restart adit
check "in another process" not is "$first" property MainPID
first=$(property MainPID)
check "which relays" relays 2110
sed -i 's/^connect/conect/' $conf
check "stop is not held up by a wrong one" bash -c 'systemctl stop adit && ! systemctl is-active adit adit-restart-check'
check "which fails the start" not systemctl start adit
configure $conf 2110
systemctl stop adit
systemctl reset-failed adit
check "and the next start is good" systemctl start adit
first=$(property MainPID)

# As a stunnel.conf that was taken over.
sed -i '/^control/d' $conf
systemctl restart adit
check "without control in the file systemctl reload works" systemctl reload adit
check "and status" is_generation 2 $conf
check "its socket is in the units' folder" bash -c 'ls /run/adit/*.sock'

# The configuration that README shows, as the package runs it; its hosts are this one.
cp /etc/hosts /root/hosts
echo '127.0.0.1 smtp.example.com pop.example.com imap.example.com' >>/etc/hosts
sed -n '/^```ini$/,/^```$/p; /^```$/q' /mnt/README.md | grep -v '^```' >$conf
rm -f /var/log/adit/adit.log
check "adit check has nothing to say of README's configuration" adit check --strict
check "which the unit serves" bash -c 'systemctl restart adit && : <>/dev/tcp/127.0.0.1/1587'
check "and has its log" [ -s /var/log/adit/adit.log ]
sed -i 's|^output = .*|output = /var/log/adit.log|' $conf
check "check warns of a log that the unit may not write" bash -c '
    adit check 2>&1 | grep "systemd does not let adit.service write to /var/log$" && ! adit check --strict'
mkdir -p /run/systemd/system/adit.service.d
printf '[Service]\nReadWritePaths=/var/log\n' >/run/systemd/system/adit.service.d/log.conf
systemctl daemon-reload
check "unless the administrator allowed it" bash -c 'adit check --strict && systemctl restart adit && [ -s /var/log/adit.log ]'
rm -r /run/systemd/system/adit.service.d /var/log/adit.log
systemctl daemon-reload
cp /root/hosts /etc/hosts
configure $conf 2110
systemctl restart adit
first=$(property MainPID)

new_pid() {
    local now
    now=$(property MainPID)
    [ "$now" != 0 ] && [ "$now" != "$first" ] && [ "$(property ActiveState)" = active ]
}
systemctl kill --kill-whom=main -s KILL adit
check "a supervisor that is killed is started again" soon new_pid
check "and relays" soon relays 2110
first=$(property MainPID)
mkdir -p /run/systemd/system/adit.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/adit.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart adit
first=$(property MainPID)
# Longer than the watchdog gives it: so it is fed.
check "a supervisor whose loop turns is left alone" not bash -c '
    end=$((SECONDS + 6)); while [ $SECONDS -lt $end ]; do
        [ "$(systemctl show --value -p MainPID adit)" = '"$first"' ] || exit 0; sleep 0.1; done; exit 1'
kill -STOP "$first"
check "one that hangs is replaced" soon new_pid
check "for the watchdog's sake" bash -c 'journalctl -u adit --no-pager | grep -q -i watchdog'
rm -r /run/systemd/system/adit.service.d
systemctl daemon-reload

configure /etc/adit/two.conf 2220
check "an instance has a file of its own" systemctl enable --now adit@two
check "and relays beside the other" relays 2220
both=$(property MainPID),$(property MainPID adit@two)
keep 2110
check "an upgrade" dpkg -i --force-confold /mnt/adit-2.deb
check "has the new binary run in one" soon is_new "${both%,*}"
check "and in the other" soon is_new "${both#*,}"
check "in the same processes" is "$both" bash -c 'systemctl show --value -p MainPID adit adit@two | xargs | tr " " ,'
check "and cuts no connection" still_there
exec 8>&-
check "both serve" bash -c '. /mnt/support.sh; relays 2110 && relays 2220'
both=$(property MainPID),$(property MainPID adit@two)
sed -i 's/^connect/conect/' /etc/adit/two.conf
check "an upgrade whose new version cannot read one's configuration" dpkg -i --force-confold /mnt/adit-3.deb
check "leaves that one as it is" bash -c "readlink /proc/${both#*,}/exe | grep -q deleted"
check "and not the other" soon is_new "${both%,*}"
check "both serve" bash -c '. /mnt/support.sh; relays 2110 && relays 2220'
check "nor does a restart end the wrong one" not systemctl restart adit@two
check "which goes on" relays 2220
configure '/etc/adit/a\x2db.conf' 2230
check "an instance may have a name that systemd escapes" systemctl start 'adit@a\x2db'
check "and relays" relays 2230
check "and is restarted" systemctl restart 'adit@a\x2db'
sed -i 's/^connect/conect/' '/etc/adit/a\x2db.conf'
check "but not to end for a wrong configuration" not systemctl restart 'adit@a\x2db'
check "so it goes on" relays 2230
systemctl stop 'adit@a\x2db'
rm '/etc/adit/a\x2db.conf'
check "one that stops leaves the other's control socket" bash -c '
    touch /run/adit/of-another && systemctl stop adit@two && [ -e /run/adit/of-another ]'
rm /run/adit/of-another
configure /etc/adit/two.conf 2220
systemctl start adit@two

was=$(property MainPID)
check "an upgrade to a program that crashes when it is to serve says so" bash -c '
    dpkg -i --force-confold /mnt/adit-crash-serving.deb 2>&1 |
        grep "adit.service: the new program cannot take over, and the old one keeps running"'
check "leaves the old one running" not is_new "$was"
check "which relays" relays 2110
check "the next upgrade is taken" dpkg -i --force-confold /mnt/adit-2.deb
check "by the same process" soon is_new "$was"

systemctl stop adit
sed 's/:2143$/:2111/' /usr/share/doc/adit/examples/adit.socket >/etc/systemd/system/adit.socket
configure $conf none
sed -n '/^\[relay\]/,$p' $conf | sed 's/^\[relay\]/[second]/' >>$conf
sed -i '/^accept/d' $conf
check "the configuration is good for the example socket unit" adit check --passed 2
check "which is without fault" bash -c '
    found=$(systemd-analyze verify adit.socket 2>&1)
    [ -z "$found" ] || { echo "$found"; exit 1; }'
systemctl daemon-reload
check "and starts" systemctl start adit.socket
check "adit does not, before a client connects" is inactive systemctl is-active adit
check "who connects first is served" relays 2110
check "who connects to the second port too" relays 2111
check "adit runs then" is active systemctl is-active adit
check "systemctl reload counts on the sockets" systemctl reload adit
check "and the next generation has them" bash -c '. /mnt/support.sh; relays 2110 && relays 2111'
activated=$(property MainPID)
check "an upgrade" dpkg -i --force-confold /mnt/adit-3.deb
check "hands them on" soon is_new "$activated"
check "to one that serves" bash -c '. /mnt/support.sh; relays 2110 && relays 2111'
systemctl stop adit
check "a connection while adit is stopped has it started" relays 2110
systemctl stop adit.socket adit
rm /etc/systemd/system/adit.socket
systemctl daemon-reload
configure $conf 2110
systemctl start adit

check "stop ends it with success" bash -c 'systemctl stop adit && [ "$(systemctl show --value -p Result adit)" = success ]'
check "an upgrade of what is stopped" dpkg -i --force-confold /mnt/adit-2.deb
check "does not start it" is inactive systemctl is-active adit
systemctl start adit
check "an install after a removal" bash -c 'dpkg -r adit && dpkg -i --force-confold /mnt/adit-2.deb'
check "starts what was enabled" relays 2110
check "instances too" relays 2220
check "an upgrade of what is stopped then" bash -c '
    systemctl stop adit && dpkg -i --force-confold /mnt/adit-1.deb && ! systemctl is-active adit'
dpkg -r adit >/dev/null 2>&1
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
check "an install where policy-rc.d forbids it" dpkg -i --force-confold /mnt/adit-2.deb
rm /usr/sbin/policy-rc.d
check "starts nothing" not systemctl is-active adit adit@two
systemctl disable adit
dpkg -r adit >/dev/null 2>&1
check "an install of what was disabled" dpkg -i --force-confold /mnt/adit-2.deb
check "does not start it" not systemctl is-active adit
check "but an enabled instance" relays 2220
systemctl enable --now adit
check "removing" dpkg -r adit
check "stops all of it" not pgrep -f 'adit: (supervisor|master|worker)'
check "purging" bash -c 'dpkg -P adit >/root/said 2>&1'
check "leaves the administrator's file, and says so" bash -c 'grep -qx /etc/adit/two.conf /root/said && [ -s /etc/adit/two.conf ]'
rm -r /etc/adit
snapshot >/root/after
check "nothing else is left" diff /root/before /root/after
