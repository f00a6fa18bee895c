# OpenLDAP's slapd: one with STARTTLS on another machine, one in plain on this.
directory() {
    local name=$1 address=$2 folder=/var/lib/ldap-$1
    shift 2
    install -d "$folder"
    printf '%s\n' "$@" "include $unpacked/etc/ldap/schema/core.schema" "modulepath $unpacked/usr/lib/ldap" \
        'moduleload back_mdb' 'database mdb' 'suffix dc=example,dc=com' 'rootdn cn=admin,dc=example,dc=com' \
        'rootpw secret' "directory $folder" >"$folder.conf"
    start "$name" "$address" 389 env LD_LIBRARY_PATH="$unpacked/usr/lib/$(uname -m)-linux-gnu" slapd -d 0 -f "$folder.conf" -h "ldap://$address:389"
    ldapadd -x -H "ldap://$address" -D cn=admin,dc=example,dc=com -w secret >/dev/null <<EOF
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: $name
EOF
}
server() {
    certificate directory.example.com 127.0.0.2
    certificate people.example.com 127.0.0.1
    directory far 127.0.0.2 'TLSCertificateFile /etc/adit/directory.example.com.pem' \
        'TLSCertificateKeyFile /etc/adit/directory.example.com.key'
    directory near 127.0.0.1
}
