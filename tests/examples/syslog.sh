# Two rsyslogd: one that collects within TLS on another machine, and the one of this machine, as the page configures
# it; and one that collects in plain behind adit.
rsyslog() {
    env LD_LIBRARY_PATH="$unpacked/usr/lib/$(uname -m)-linux-gnu" rsyslogd -n -M "$unpacked/usr/lib/$(uname -m)-linux-gnu/rsyslog" "$@"
}
server() {
    certificate logs.example.com 127.0.0.2
    certificate collect.example.com 127.0.0.1
    cat >/root/far.conf <<'EOF'
global(workDirectory="/root" DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="/etc/adit/ca.pem"
    DefaultNetstreamDriverCertFile="/etc/adit/logs.example.com.pem" DefaultNetstreamDriverKeyFile="/etc/adit/logs.example.com.key")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.2" port="6514")
action(type="omfile" file="/var/log/far.log")
EOF
    start far 127.0.0.2 6514 rsyslog -i /root/far.pid -f /root/far.conf
    printf '%s\n' 'module(load="imuxsock" SysSock.Use="off")' 'input(type="imuxsock" socket="/run/log.sock")' \
        'include(file="/etc/rsyslog.d/*.conf")' >/root/near.conf
    # In a mount namespace of another's /dev nothing is made: its socket is here.
    start near 127.0.0.1 514 rsyslog -i /root/near.pid -f /root/near.conf
    soon test -S /run/log.sock
}
