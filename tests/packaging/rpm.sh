#!/bin/bash
# Inside the sandbox: the .rpm is installed into a root of its own, which has a C library, a shell and
# a few tools, and runs there in a chroot. No Fedora can be had here; dependencies are compared by name.
set -u
export RESULTS=/mnt/results
# shellcheck source=tests/packaging/support.sh
. /mnt/support.sh
R=/root/rpm
init="chroot $R /etc/init.d/adit"
conf=$R/etc/adit/adit.conf

mkdir -p $R/etc $R/dev $R/proc $R/run $R/tmp $R/var/lib $R/root
echo 'root:x:0:0::/root:/bin/sh
nobody:x:65534:65534::/:/bin/false' >$R/etc/passwd
echo 'root:x:0:
nobody:x:65534:' >$R/etc/group
echo 'hosts: files dns' >$R/etc/nsswitch.conf
echo '127.0.0.1 localhost' >$R/etc/hosts
mount -t proc none $R/proc
mount --rbind /dev $R/dev
put() {
    local file
    for file in "$@" $(ldd "$@" 2>/dev/null | grep -o '/[^ ]*' | grep -v ':$'); do
        [ -e "$R$file" ] || install -D "$(realpath "$file")" "$R$file"
    done
}
put /bin/sh /bin/cat /bin/rm /bin/sleep /usr/bin/timeout /usr/bin/readlink /bin/ls /bin/sed /usr/bin/awk /usr/bin/id /bin/grep \
    /lib/x86_64-linux-gnu/libnss_files.so.2 /lib/x86_64-linux-gnu/libgcc_s.so.1 2>/dev/null
for library in libc.so.6 libpthread.so.0 libdl.so.2 libm.so.6 librt.so.1 libgcc_s.so.1; do
    put "$(ldconfig -p | awk -v name=$library '$1 == name { print $NF; exit }')"
done
# Where Fedora has its authorities.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt $R/etc/pki/tls/certs/ca-bundle.crt
start_tls_server
rpm() {
    command rpm --root $R "$@"
}
rpm --initdb

# What the shell and the libraries of the root would bring; the rest is rpm's own.
needs() {
    local need
    rpm -qRp /mnt/adit-1.rpm | while read -r need _; do
        case $need in
        /bin/sh | libc.so.6* | libpthread.so.0* | libdl.so.2* | libgcc_s.so.1* | ca-certificates | coreutils | rpmlib* | rtld* | ld-linux* | 'config(adit)') ;;
        *) echo "$need" && exit 1 ;;
        esac
    done
}
check "it needs the C library, a shell and certificates, and nothing else" needs
check "installing" rpm -i --nodeps /mnt/adit-1.rpm
check "files are as the package has them" rpm -V --nodeps adit
check "the configuration is one that upgrades leave alone" \
    bash -c "rpm -qcp /mnt/adit-1.rpm | grep -qx /etc/adit/adit.conf"
check "it does not start by itself" status 3 $init status
check "the program runs" chroot $R /usr/bin/adit -version
check "the shipped configuration is good there" chroot $R /usr/bin/adit check
cp /root/server.crt $R/root/
configure $conf 2110
check "it starts" status 0 $init start
check "and relays" soon relays 2110
check "reload" status 0 $init reload
before=$(cat $R/var/lib/adit/adit.pid)
check "an upgrade" rpm -U --nodeps /mnt/adit-2.rpm
check "has the new binary run in the same process" [ "/proc/$(cat $R/var/lib/adit/adit.pid)/exe" -ef $R/usr/bin/adit ]
check "which is the same" [ "$(cat $R/var/lib/adit/adit.pid)" = "$before" ]
check "keeps the configuration" grep -q 2110 $conf
check "and relays" soon relays 2110
before=$(cat $R/var/lib/adit/adit.pid)
sed -i 's/^connect/conect/' $conf
check "an upgrade whose new version cannot read the configuration" rpm -U --nodeps /mnt/adit-3.rpm
check "leaves the old one running" [ ! "/proc/$before/exe" -ef $R/usr/bin/adit -a "$(cat $R/var/lib/adit/adit.pid)" = "$before" ]
check "which relays" relays 2110
configure $conf 2110
check "removing" rpm -e adit
check "stops it" not pgrep -f 'adit: '
check "and keeps the changed configuration" [ -e $conf.rpmsave ]
left() {
    local found
    found=$(find $R -xdev -path '*adit*' -not -name adit.conf.rpmsave -not -path $R/etc/adit)
    [ -z "$found" ] || { echo "$found"; return 1; }
}
check "and nothing else" left

# Once more with a systemctl that writes down what it is asked; what runs is in /running.
rm -f $conf.rpmsave
mkdir -p $R/run/systemd/system
cat >$R/usr/bin/systemctl <<'END'
#!/bin/sh
echo "$*" >>/calls
case $* in
*list-units*) cat /running ;;
*show*) echo 1 ;;
esac
END
chmod 755 $R/usr/bin/systemctl
touch $R/running
# asked COMMAND LINES: whether installing or removing asks systemctl for exactly these, in this order.
asked() {
    local found wanted=$1
    shift
    rm -f $R/calls
    "$@" || return
    # The old package's script and the new one's may ask for the same.
    found=$(grep -v -e '^list-units' -e '^show' $R/calls | uniq)
    [ "$found" = "$wanted" ] || { echo "$found"; return 1; }
}
check "with systemd installing presets it, and starts nothing" asked 'daemon-reload
--no-reload preset adit.service' rpm -i --nodeps /mnt/adit-1.rpm
configure $R/etc/adit/adit.conf 2110
configure $R/etc/adit/two.conf 2220
printf '%s loaded active running adit TLS relay\n' adit.service adit@two.service >$R/running
check "an upgrade has what runs take over, and enables nothing" asked 'daemon-reload
reload adit.service
reload adit@two.service' rpm -U --nodeps /mnt/adit-2.rpm
sed -i 's/^connect/conect/' $R/etc/adit/two.conf
check "but for what has a configuration that is wrong" asked 'daemon-reload
reload adit.service' rpm -U --nodeps /mnt/adit-3.rpm
check "removing disables and stops all" asked '--no-reload disable adit.service adit@.service
stop adit.service adit@*.service
daemon-reload' rpm -e adit
