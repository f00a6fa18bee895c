#!/bin/bash
# Inside the sandbox, without systemd: the .deb is installed, runs by its init script, is reloaded,
# upgraded, removed and purged. /mnt has the packages.
set -u
export RESULTS=/mnt/results
# shellcheck source=tests/packaging/support.sh
. /mnt/support.sh
init=/etc/init.d/adit
conf=/etc/adit/adit.conf

snapshot >/tmp/before
start_tls_server

check "installing" bash -c 'dpkg -i /mnt/adit-1.deb >/root/said 2>&1'
check "starts no listener that was not asked for" status 3 $init status
check "not at the next boot either" bash -c '[ -e /etc/rc2.d/K01adit ] && ! ls /etc/rc?.d/S*adit'
check "and says how to start" grep -q 'update-rc.d adit enable; /etc/init.d/adit start' /root/said
check "which starts it" bash -c "update-rc.d adit enable && $init start && ls /etc/rc2.d/S*adit"
check "status is 0 while it runs" status 0 $init status
check "the shipped configuration is served" soon bash -c ': <>/dev/tcp/127.0.0.1/2110'
check "only root and adm may read what says who connects" [ "$(stat -c %a:%U:%G /var/log/adit)" = 750:root:adm ]
check "the jail is root's" [ "$(stat -c %a:%U:%G /var/lib/adit)" = 755:root:root ]
jailed() {
    local pid count=0
    for pid in $(pgrep -f 'adit: (master|worker)'); do
        [ "$(stat -c %U "/proc/$pid")" = nobody ] || grep -q '^Uid:.65534' "/proc/$pid/status" || return 1
        [ "$(readlink "/proc/$pid/root")" = /var/lib/adit ] || return 1
        count=$((count + 1))
    done
    [ "$count" -ge 2 ]
}
check "masters and workers are nobody, in the jail" jailed
check "the manual pages are found" bash -c 'man -w 8 adit && man -w 5 adit.conf'
check "a second start changes nothing and succeeds" status 0 $init start

configure $conf 2110 "output = /var/log/adit/adit.log" "debug = info"
check "reload takes a changed configuration over" status 0 $init reload
check "and relays to a TLS server that it verifies" soon relays 2110
check "force-reload does the same" status 0 $init force-reload

# As a stunnel.conf that was taken over.
sed -i '/^control/d' $conf
$init restart >/dev/null
check "without control in the file reload waits for its result" bash -c "
    $init reload && . /mnt/support.sh && is_generation 2 $conf"
configure $conf 2110 "output = /var/log/adit/adit.log" "debug = info"
$init restart >/dev/null
check "and relays" soon relays 2110

first=$(supervisor)
sed -i 's/^connect/conect/' $conf
check "a wrong configuration fails a reload with 6" status 6 $init reload
check "and a restart" status 6 $init restart
check "while the running one goes on" bash -c "[ $(supervisor) = $first ] && . /mnt/support.sh && relays 2110"
configure $conf 7443
check "a port that is taken fails a reload with 1" status 1 $init reload
check "while the running one goes on" relays 2110
configure $conf 2110 "output = /var/log/adit/adit.log" "debug = info"
check "and the next good one is taken" status 0 $init reload

relays 2110
check "the log can be rotated" logrotate -f /etc/logrotate.d/adit
check "every process changes over" soon grep -q 'Log file reopened' /var/log/adit/adit.log
cp /var/log/adit/adit.log.1 /tmp/old.log
relays 2110
check "later connections are in the new file" soon grep -q 'Service \[relay\] accepted' /var/log/adit/adit.log
check "and not in the old one" cmp /tmp/old.log /var/log/adit/adit.log.1
check "the new file has the old one's owner and mode" [ "$(stat -c %a:%U:%G /var/log/adit/adit.log)" = 640:root:adm ]

was=$(generation)
mkdir -p /etc/letsencrypt/live/mail.example.com
hook=/usr/share/doc/adit/examples/certbot-deploy-hook
check "certbot's hook passes certificates by that adit does not use" \
    env RENEWED_LINEAGE=/etc/letsencrypt/live/mail.example.com $hook
check "without a reload" [ "$(generation)" = "$was" ]
cp /root/server.crt /root/server.key /etc/letsencrypt/live/mail.example.com/
cat >>$conf <<'EOF'
[server]
accept = 127.0.0.1:2993
connect = 127.0.0.1:7443
cert = /etc/letsencrypt/live/mail.example.com/server.crt
key = /etc/letsencrypt/live/mail.example.com/server.key
EOF
check "and takes over those that it does" env RENEWED_LINEAGE=/etc/letsencrypt/live/mail.example.com $hook
check "with one reload" [ "$(generation)" = $((was + 1)) ]
cat >/root/acme.sh <<'EOF'
#!/bin/sh
# What acme.sh does with --install-cert: copy the files, then run the command.
while [ $# -gt 0 ]; do
    case $1 in
    --fullchain-file) cp /root/server.crt "$2" && shift ;;
    --key-file) cp /root/server.key "$2" && shift ;;
    --reloadcmd) command=$2 && shift ;;
    esac
    shift
done
eval "$command"
EOF
chmod +x /root/acme.sh
check "acme.sh is told where certificates go" \
    env ACME_SH=/root/acme.sh sh /usr/share/doc/adit/examples/acme.sh-reload mail.example.com
check "and reloads once" [ "$(generation)" = $((was + 2)) ]
check "the key stays root's alone" [ "$(stat -c %a:%U /etc/adit/mail.example.com.key)" = 600:root ]

# The profile refuses nothing by itself, and may: what a run opens, it allows.
$init stop >/dev/null
cat >/etc/apparmor.d/local/usr.bin.adit <<'EOF'
/root/server.crt r,
/etc/letsencrypt/live/** r,
EOF
apparmor_parser --preprocess /etc/apparmor.d/usr.bin.adit >/root/profile 2>/dev/null
traced() {
    strace -f -y -o "/root/trace.$1" -e trace=%file,connect,bind "${@:2}"
}
traced serve /usr/bin/adit $conf >/dev/null 2>&1 &
tracer=$!
soon relays 2110
traced check adit check $conf >/dev/null 2>&1
traced reload adit reload $conf >/dev/null 2>&1
kill -USR1 "$(supervisor)"
dpkg -i --no-triggers --force-confold /mnt/adit-2.deb >/dev/null 2>&1
soon relays 2110
kill -TERM "$(supervisor)"
wait $tracer
check "the AppArmor profile allows all that adit opens" \
    /mnt/apparmor-covers /root/profile /root/trace.serve /root/trace.check /root/trace.reload
dpkg -i --no-triggers --force-confold /mnt/adit-1.deb >/dev/null 2>&1
$init start >/dev/null

configure $conf 2110
kill -KILL "$(supervisor)"
soon not pgrep -f 'adit: '
check "status is 1 after a death that left the pid file" status 1 $init status
check "which stops no start" status 0 $init start
check "stop ends it" status 0 $init stop
check "and every process of it" not pgrep -f 'adit: '
check "status is 3 then" status 3 $init status
check "a second stop succeeds" status 0 $init stop
check "reload is 7 then" status 7 $init reload
check "force-reload too" status 7 $init force-reload
check "try-restart starts nothing" status 0 $init try-restart
check "so it is still not running" status 3 $init status
check "restart starts it" status 0 $init restart
check "a wrong action is 2" status 2 $init dance
check "none too" status 2 $init
check "who is not root gets 4" status 4 setpriv --reuid 65534 --clear-groups $init stop
mv $conf /tmp/away
check "without a configuration start is 6" status 6 $init start
check "and status 4, unknown" status 4 $init status
mv /tmp/away $conf
mv /usr/bin/adit /usr/bin/adit.away
check "without the program start is 5" status 5 $init start
mv /usr/bin/adit.away /usr/bin/adit
$init stop >/dev/null
configure $conf 7443
check "start fails when a port is taken" status 1 $init start
check "and leaves nothing behind" status 3 $init status
echo "pid =" >$conf
check "without a pid file start is 6" status 6 $init start

configure $conf 2110
$init start >/dev/null
before=$(supervisor)
keep 2110
check "an upgrade" dpkg -i --force-confold /mnt/adit-2.deb
check "has the new binary run in the same process" soon is_new "$before"
check "which init knows" status 0 $init status
check "and cuts no connection" still_there
exec 8>&-
check "which relays" soon relays 2110
before=$(supervisor)
sed -i 's/^connect/conect/' $conf
check "an upgrade whose new version cannot read the configuration" dpkg -i --force-confold /mnt/adit-3.deb
check "leaves the old one running" bash -c "[ $(supervisor) = $before ] && . /mnt/support.sh && relays 2110"
configure $conf 2110
check "the maintainer scripts can be run again" dpkg-reconfigure adit
check "and again" dpkg --configure --force-all -a
mv /var/log/adit /var/log/adit.away
install -d -m 755 /root/elsewhere
ln -s /root/elsewhere /var/log/adit
dpkg-reconfigure adit
check "they change no folder that the log folder was made a link to" \
    [ "$(stat -c %a:%U:%G /root/elsewhere)" = 755:root:root ]
rm /var/log/adit
mv /var/log/adit.away /var/log/adit
chmod 755 /var/log/adit
dpkg-reconfigure adit
check "but its own" [ "$(stat -c %a:%U:%G /var/log/adit)" = 750:root:adm ]
$init stop >/dev/null
check "an upgrade of what is stopped" dpkg -i --force-confold /mnt/adit-2.deb
check "does not start it" status 3 $init status

# As on a machine that ran stunnel: its file, in its jail, for its user.
mkdir -p /etc/stunnel /root/stunnel-jail /root/bin
cat >/etc/stunnel/stunnel.conf <<'EOF'
chroot = /root/stunnel-jail
setuid = nobody
setgid = nogroup
pid = /stunnel4.pid
options = NO_SSLv2
compression = zlib
RNDfile = /dev/urandom
[relay]
client = yes
accept = 127.0.0.1:2440
connect = 127.0.0.1:7443
CAfile = /root/server.crt
verifyChain = yes
checkHost = localhost
sni = localhost
EOF
check "adit check shows what changes for a stunnel.conf" bash -c '
    adit check /etc/stunnel/stunnel.conf 2>&1 | tee /root/changes
    grep -q "stunnel.conf:6: note: .compression. has no effect" /root/changes &&
        grep -q "stunnel.conf:7: note: .RNDfile. has no effect" /root/changes && grep -q "0 error(s)" /root/changes'
ln -s /usr/bin/adit /root/bin/stunnel
check "called as stunnel it serves that" /root/bin/stunnel
check "as stunnel would" relays 2440
kill -TERM "$(cat /root/stunnel-jail/stunnel4.pid)"
check "and ends" soon [ ! -e /root/stunnel-jail/stunnel4.pid ]

passed=/etc/adit/passed.conf
configure $passed none "foreground = yes"
sed -i '/^accept/d' $passed
systemd-socket-activate -l 127.0.0.1:2330 -E ADIT_SYSLOG=no adit $passed >/root/activated 2>&1 &
check "a socket that was passed takes the place of accept" soon relays 2330
check "reload knows of it" adit reload $passed
check "and status" is_generation 2 $passed
check "it relays after the reload" relays 2330
kill -TERM "$(supervisor passed)"
wait $!
ended=$?
check "it ends as told" [ $ended = 0 ]
rm $passed

systemd-sysusers adit.conf
$init start >/dev/null
check "removing" dpkg -r adit
check "stops it" not pgrep -f 'adit: '
check "and keeps the configuration" grep -q 'client = yes' $conf
check "its init script does no harm then" status 0 $init stop
check "an install after the removal" dpkg -i --force-confold /mnt/adit-2.deb
check "starts it again" relays 2110
check "and knows it" status 0 $init status
update-rc.d adit disable
dpkg -r adit >/dev/null 2>&1
dpkg -i --force-confold /mnt/adit-2.deb >/dev/null 2>&1
check "but not what was disabled" status 3 $init status
dpkg -r adit >/dev/null 2>&1
check "purging" bash -c 'dpkg -P adit >/root/said 2>&1'
check "leaves what the administrator put there" [ -s /etc/adit/mail.example.com.key -a -s /etc/adit/mail.example.com.crt ]
check "says so" bash -c 'grep -q "/etc/adit is kept" /root/said && grep -qx /etc/adit/mail.example.com.key /root/said'
check "and that keys are among it" grep -q 'there are private keys' /root/said
rm -r /etc/adit
rm -rf /etc/letsencrypt /etc/stunnel/stunnel.conf
rmdir /etc/stunnel 2>/dev/null
snapshot >/tmp/after
check "nothing else is left" diff /tmp/before /tmp/after
check "purging again is no error" dpkg -P adit
