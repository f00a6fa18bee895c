# A cloud's file system: NFS 4 within TLS on port 2049, by a user-space server and stunnel. libnfs' programs are
# the client, since not every machine that runs tests may mount.
server() {
    certificate files.example.com 127.0.0.2
    cat >/root/ganesha.conf <<EOF
NFS_CORE_PARAM {
    Protocols = 4;
    NFS_Port = 2050;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Plugins_Dir = "$unpacked/usr/lib/$(uname -m)-linux-gnu/ganesha";
}
NFSV4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = /root; }
# Or it reads what was not written.
MEM { Inode_Size = 4096; }
EXPORT {
    Export_Id = 1;
    Path = /root;
    Pseudo = /share;
    Access_Type = RW;
    Squash = None;
    SecType = sys;
    FSAL { Name = MEM; }
}
EOF
    mkdir -p /run/ganesha
    start ganesha 127.0.0.1 2050 env LD_LIBRARY_PATH="$unpacked/usr/lib/ganesha" ganesha.nfsd -F -L /dev/stderr \
        -f /root/ganesha.conf -p /run/ganesha.pid
    printf '%s\n' 'foreground = yes' '[nfs]' 'accept = 127.0.0.2:2049' 'connect = 127.0.0.1:2050' \
        'cert = /etc/adit/files.example.com.pem' 'key = /etc/adit/files.example.com.key' >/root/stunnel.conf
    start stunnel 127.0.0.2 2049 stunnel4 /root/stunnel.conf
}
