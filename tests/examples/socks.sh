# A machine behind the gate: a web server that only the gate knows by its name.
server() {
    certificate gate.example.com 127.0.0.2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=anna -keyout /etc/adit/anna.key 2>/dev/null |
        openssl x509 -req -CA /etc/adit/ca.pem -CAkey /root/ca.key -days 90 -out /etc/adit/anna.pem 2>/dev/null
    chmod 640 /etc/adit/anna.key
    mkdir /srv/web
    echo 'from the inside' >/srv/web/page
    ip address add 198.51.100.7/32 dev lo
    echo '198.51.100.7 intranet.example.com' >>/etc/hosts
    start web 198.51.100.7 80 python3 -m http.server --bind 198.51.100.7 --directory /srv/web 80
}
