nft -f - <<EOF
table inet adit_redirect {
    chain prerouting {
        type nat hook prerouting priority dstnat
        tcp dport 80 redirect to :8443
    }
}
EOF
