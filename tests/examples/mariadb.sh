# MariaDB: one that wants TLS on another machine, one in plain on this; both know anna.
database() {
    local name=$1 address=$2 folder=/var/lib/mysql-$1
    shift 2
    install -d -o nobody "$folder" "$folder/data" "$folder/data/mysql"
    {
        printf '%s\n' 'create database if not exists mysql;' 'use mysql;' 'set @auth_root_socket=NULL;'
        cat /usr/share/mysql/mysql_system_tables.sql /usr/share/mysql/mysql_system_tables_data.sql
        printf '%s\n' 'flush privileges;' "create user 'anna'@'%' identified by 'secret';" "grant all on *.* to 'anna'@'%';"
    } >"$folder/tables.sql"
    local program=(setpriv --reuid nobody --regid nogroup --clear-groups mariadbd --no-defaults --skip-innodb
        --default-storage-engine=Aria --datadir="$folder/data" --lc-messages-dir=/usr/share/mysql)
    "${program[@]}" --bootstrap <"$folder/tables.sql" >/root/tables.said 2>&1
    start "$name" "$address" 3306 "${program[@]}" --bind-address="$address" --socket="$folder/socket" \
        --pid-file="$folder/pid" --port=3306 --skip-name-resolve "$@"
}
server() {
    place usr/share/mysql
    certificate sql.example.com 127.0.0.2
    certificate base.example.com 127.0.0.1
    install -o nobody -m 600 /etc/adit/sql.example.com.key /var/lib/sql.key
    database far 127.0.0.2 --require-secure-transport=on --ssl-cert=/etc/adit/sql.example.com.pem --ssl-key=/var/lib/sql.key
    database near 127.0.0.1
}
