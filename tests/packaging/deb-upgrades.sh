#!/bin/bash
# Inside the sandbox, without systemd: fifty upgrades while clients connect in a loop and one stays.
# Most are good; the programs of some crash at their start, hang, or are no adit at all.
set -u
export RESULTS=/mnt/results
# shellcheck source=tests/packaging/support.sh
. /mnt/support.sh
conf=/etc/adit/adit.conf
UPGRADES=50

install -d /etc/adit
configure $conf 2110 "output = /var/log/adit/adit.log" "debug = notice" "workers = 2"
# The server of those clients, beside that of the other tests.
sed -i 's/:7443$/:7444/' $conf
start_tls_server
dpkg -i --force-confold /mnt/adit-1.deb >/dev/null
first=$(supervisor)
python3 /mnt/load.py 2110 7444 /root/server.crt /root/server.key /root/report &
load=$!

upgrade() {
    # What other packages do with manual pages would be most of the time.
    dpkg -i --no-triggers --force-confold "/mnt/adit-$1.deb" >/root/dpkg 2>&1 || { cat /root/dpkg; return 1; }
}
taken_over() {
    grep -c 'has taken over' /var/log/adit/adit.log
}
good() {
    local before
    before=$(taken_over)
    upgrade "$1" && is_new "$first" && [ "$(taken_over)" = $((before + 1)) ]
}
# The package is installed, the program is not taken, and the upgrade reports it.
bad() {
    local before
    before=$(taken_over)
    upgrade "$1" && not is_new "$first" && [ "$(taken_over)" = "$before" ] && grep "$2" /root/dpkg
}
fifty() {
    local nth
    for nth in $(seq $UPGRADES); do
        case $nth in
        10) bad crash "the running adit is left alone" ;;
        20) bad crash-serving "the old one goes on" ;;
        30) bad other "the old one goes on" ;;
        40) bad hang "the old one goes on" ;;
        *) good $((nth % 2 + 1)) ;;
        esac || { echo "upgrade $nth"; return 1; }
    done
}
check "$UPGRADES upgrades under load, of which four to programs that cannot serve" fifty
check "each time in the same process" [ "$(supervisor)" = "$first" ]
kill -TERM $load
wait $load
result() {
    awk -v wanted="$1" '$1 == wanted { print $2 }' /root/report
}
none() {
    [ "$(result "$1")" = 0 ] || { cat /root/report; return 1; }
}
check "clients connected all the time" [ "$(result served)" -ge $((UPGRADES * 10)) ]
check "none was refused" none refused
check "none was cut" none cut
check "none had a wrong answer" none wrong
check "one connection lived through all of it" [ "$(result stayed)" = 1 ]
check "and carried its lines" [ "$(result lines)" -ge $((UPGRADES * 10)) ]
cat /root/report
check "the generations before have ended, but for that connection's" soon bash -c '
    [ "$(adit status --json | jq ".generations | length")" = 1 ]'
