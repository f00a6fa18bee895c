# PostgreSQL: one with TLS alone on another machine, one in plain on this; both know anna, by SCRAM.
database() {
    local name=$1 address=$2 kind=$3 folder=/var/lib/postgresql/$1
    install -d -o nobody -g nogroup /var/lib/postgresql "$folder"
    echo secret >"$folder/password"
    setpriv --reuid nobody --regid nogroup --clear-groups initdb --no-sync --auth=scram-sha-256 \
        --username=anna --locale=C --pwfile="$folder/password" "$folder/data" >/dev/null
    if [ "$kind" = hostssl ]; then
        install -o nobody -m 600 /etc/adit/db.example.com.key "$folder/key"
        echo "ssl = on
            ssl_cert_file = '/etc/adit/db.example.com.pem'
            ssl_key_file = '$folder/key'" >>"$folder/data/postgresql.conf"
    fi
    echo "$kind all all 127.0.0.0/8 scram-sha-256" >"$folder/data/pg_hba.conf"
    start "$name" "$address" 5432 setpriv --reuid nobody --regid nogroup --clear-groups postgres -D "$folder/data" \
        -c listen_addresses="$address" -c unix_socket_directories="$folder" -c fsync=off -c shared_buffers=1MB
}
server() {
    certificate db.example.com 127.0.0.2
    certificate base.example.com 127.0.0.1
    database far 127.0.0.2 hostssl
    database near 127.0.0.1 host
}
