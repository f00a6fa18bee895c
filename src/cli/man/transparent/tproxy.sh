nft -f - <<EOF
table inet adit_tproxy {
    chain prerouting {
        type filter hook prerouting priority mangle
        meta l4proto tcp socket transparent 1 meta mark set 1 accept
        tcp dport 80 tproxy to :8443 meta mark set 1 accept
    }
}
EOF
ip rule add fwmark 1 lookup 100
ip route add local default dev lo table 100
ip -6 rule add fwmark 1 lookup 100
ip -6 route add local default dev lo table 100
