#!/bin/bash
# Inside the sandbox, as a service of a systemd that is process 1: the .deb's units.
set -u
export RESULTS=/mnt/results
# shellcheck source=tests/packaging/support.sh
. /mnt/support.sh
conf=/etc/adit/adit.conf

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

check "installing" dpkg -i /mnt/adit-1.deb
check "enables it" is enabled systemctl is-enabled adit
check "and starts it" is active systemctl is-active adit
check "it says that it serves" is "Accepting new connections" property StatusText
check "the units are without fault" bash -c '
    found=$(systemd-analyze verify adit.service adit@two.service 2>&1)
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
configure $conf 7443
check "a port that is taken fails it too" status 1 systemctl reload adit
check "the status says that the last reload failed" \
    is "Configuration failed: the running configuration goes on" property StatusText
check "still the running configuration" relays 2110
configure $conf 2110
check "the next good one is taken" systemctl reload adit

new_pid() {
    local now
    now=$(property MainPID)
    [ "$now" != 0 ] && [ "$now" != "$first" ] && [ "$(property ActiveState)" = active ]
}
systemctl kill --kill-whom=main -s KILL adit
check "a supervisor that is killed is started again" soon new_pid
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
check "an instance has a file of its own" systemctl start adit@two
check "and relays beside the other" relays 2220
both=$(property MainPID),$(property MainPID adit@two)
check "an upgrade" dpkg -i --force-confold /mnt/adit-2.deb
check "restarts both" [ "$(property MainPID)" != "${both%,*}" -a "$(property MainPID adit@two)" != "${both#*,}" ]
check "which serve" bash -c '. /mnt/support.sh; relays 2110 && relays 2220'
both=$(property MainPID),$(property MainPID adit@two)
sed -i 's/^connect/conect/' /etc/adit/two.conf
check "an upgrade whose new version cannot read one's configuration" dpkg -i --force-confold /mnt/adit-3.deb
check "leaves that one as it is" is "${both#*,}" property MainPID adit@two
check "and restarts the other" [ "$(property MainPID)" != "${both%,*}" ]
check "both serve" bash -c '. /mnt/support.sh; relays 2110 && relays 2220'

check "stop ends it with success" bash -c 'systemctl stop adit && [ "$(systemctl show --value -p Result adit)" = success ]'
check "an upgrade of what is stopped" dpkg -i --force-confold /mnt/adit-2.deb
check "does not start it" is inactive systemctl is-active adit
systemctl start adit
check "removing" dpkg -r adit
check "stops all of it" not pgrep -f 'adit: (supervisor|master|worker)'
check "purging" dpkg -P adit
snapshot >/root/after
check "leaves nothing" diff /root/before /root/after
