# A broker with TLS alone on another machine, one in plain on this.
server() {
    certificate broker.example.com 127.0.0.2
    certificate mqtt.example.com 127.0.0.1
    printf '%s\n' 'listener 8883 127.0.0.2' 'allow_anonymous true' 'user root' \
        'certfile /etc/adit/broker.example.com.pem' 'keyfile /etc/adit/broker.example.com.key' >/root/far.conf
    start far 127.0.0.2 8883 mosquitto -c /root/far.conf
    printf '%s\n' 'listener 1883 127.0.0.1' 'allow_anonymous true' 'user root' >/root/near.conf
    start near 127.0.0.1 1883 mosquitto -c /root/near.conf
}
