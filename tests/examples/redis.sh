# Redis: one with TLS alone on another machine, one in plain on this.
server() {
    certificate redis.example.com 127.0.0.2
    certificate cache.example.com 127.0.0.1
    start far 127.0.0.2 6380 redis-server --bind 127.0.0.2 --port 0 --tls-port 6380 --save '' --dir /root \
        --tls-cert-file /etc/adit/redis.example.com.pem --tls-key-file /etc/adit/redis.example.com.key \
        --tls-auth-clients no
    start near 127.0.0.1 6379 redis-server --bind 127.0.0.1 --port 6379 --save '' --dir /root
}
