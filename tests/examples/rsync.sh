# An rsync daemon in plain on this machine; TLS comes from adit on both sides.
server() {
    certificate backup.example.com 127.0.0.2
    mkdir -p /srv/share
    echo 'from the module' >/srv/share/file
    printf '%s\n' 'use chroot = no' 'uid = nobody' 'gid = nogroup' '[share]' 'path = /srv/share' >/etc/rsyncd.conf
    start rsyncd 127.0.0.1 873 rsync --daemon --no-detach --address 127.0.0.1 --config /etc/rsyncd.conf
}
