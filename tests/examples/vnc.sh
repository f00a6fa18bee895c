# x11vnc with a picture in place of a screen, in plain on loopback.
server() {
    certificate desk.example.com 127.0.0.2
    head -c 256000 /dev/zero | tr '\0' 'x' >/root/picture
    mkdir -p /root/.vnc
    x11vnc -storepasswd secret /root/.vnc/passwd 2>/dev/null
    start x11vnc 127.0.0.1 5900 x11vnc -rawfb map:/root/picture@320x200x32 -localhost -rfbport 5900 -noipv6 \
        -forever -shared -q -rfbauth /root/.vnc/passwd
}
