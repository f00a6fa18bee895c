//! Configurations of Debian's nginx.

use std::fmt::Write as _;

use super::peers::{Site, host, root};
use super::pki::HOST;
use super::rows::Mode;

/// A proxy by its stream module.
pub fn proxy_conf(site: &Site<'_>) -> String {
    let Site { pki, row, .. } = site;
    let (listen, tls) = match row.mode {
        Mode::Server => {
            let identity = pki.identity(row.key);
            let (cert, key) = (identity.cert.display(), identity.key.display());
            let tls = format!(
                "ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
            );
            (" ssl", tls)
        }
        Mode::Client => {
            let mut tls = format!(
                "proxy_ssl on; proxy_ssl_server_name on; proxy_ssl_name {HOST}; \
                 proxy_ssl_protocols TLSv1.2 TLSv1.3;"
            );
            if row.verify {
                let authority = pki.authority.display();
                let _ = write!(
                    tls,
                    " proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority};"
                );
            }
            ("", tls)
        }
    };
    let (accept, connect) = (site.accept, site.connect);
    let mut text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n{}stream {{ access_log off;\n",
        head(site)
    );
    for number in 0..site.shape.services {
        let host = host(number);
        // A session that resumes is kept with the upstream: each service has its own.
        let _ = write!(
            text,
            "upstream back-{number} {{ server 127.0.0.1:{connect}; }}\n\
             server {{ listen {host}:{accept}{listen}; {tls} proxy_pass back-{number}; }}\n"
        );
    }
    text += "}\n";
    text
}

/// What both kinds of nginx have in common.
fn head(site: &Site<'_>) -> String {
    let user = match root() {
        true => "user nobody nogroup;\n",
        false => "",
    };
    let dir = site.dir.display();
    format!(
        "{user}worker_processes 2;\ndaemon off;\npid {dir}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n"
    )
}

/// A web server that speaks TLS itself and answers every request by a byte.
pub fn web_server_conf(site: &Site<'_>) -> String {
    let identity = site.pki.identity(site.row.key);
    let (cert, key) = (identity.cert.display(), identity.key.display());
    let (head, accept) = (head(site), site.accept);
    format!(
        "{head}http {{ access_log off;\n\
         server {{ listen 127.0.0.1:{accept} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; \
         ssl_protocols TLSv1.2 TLSv1.3; location / {{ return 200 \"m\"; }} }}\n}}\n"
    )
}
