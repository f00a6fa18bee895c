nft -f - <<EOF
table inet adit_here {
    chain output {
        type route hook output priority mangle
        tcp sport 80 meta mark set 1
    }
}
EOF
ip rule add fwmark 1 lookup 100
ip route add local default dev lo table 100
ip -6 rule add fwmark 1 lookup 100
ip -6 route add local default dev lo table 100
