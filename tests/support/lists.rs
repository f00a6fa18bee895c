//! Authorities made by OpenSSL, and revocation lists of every form, also such as no tool writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::certs::Pair;
use super::openssl;

/// A DER element.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => bytes.push(short),
        _ => {
            let long = length.to_be_bytes();
            let long = &long[long.iter().take_while(|byte| **byte == 0).count()..];
            bytes.push(0x80 | long.len() as u8);
            bytes.extend_from_slice(long);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// A name of one common name, in a string type.
pub fn common_name(tag: u8, text: &str) -> Vec<u8> {
    let attribute = [element(6, &[0x55, 4, 3]), element(tag, text.as_bytes())].concat();
    element(0x30, &element(0x31, &element(0x30, &attribute)))
}

/// An extension under 2.5.29.
pub fn extension(which: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = element(6, &[0x55, 0x1d, which]);
    if critical {
        content.extend(element(1, &[0xff]));
    }
    content.extend(element(4, value));
    element(0x30, &content)
}

/// An issuingDistributionPoint of these parts, critical.
pub fn scope(parts: &[u8]) -> Vec<u8> {
    extension(28, true, &element(0x30, parts))
}

/// A distribution point's name: one URI.
pub fn uri(uri: &str) -> Vec<u8> {
    element(0xa0, &element(0xa0, &element(0x86, uri.as_bytes())))
}

/// An entry, with its extensions.
pub fn entry(serial: u8, extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut content = element(2, &[serial]);
    content.extend(element(0x17, b"250101000000Z"));
    if !extensions.is_empty() {
        content.extend(element(0x30, &extensions.concat()));
    }
    element(0x30, &content)
}

/// What is in a list.
#[derive(Clone)]
pub struct Listed {
    /// A Name; `None`: the authority's.
    pub issuer: Option<Vec<u8>>,
    /// Version 2.
    pub second: bool,
    /// UTCTime
    pub this: &'static str,
    /// UTCTime
    pub next: Option<&'static str>,
    pub entries: Vec<Vec<u8>>,
    pub extensions: Vec<Vec<u8>>,
    /// The digest that is signed.
    pub digest: &'static str,
}

impl Listed {
    /// A list of version 1 that is in force, with these revoked.
    pub fn revoked(serials: &[u8]) -> Listed {
        Listed {
            issuer: None,
            second: false,
            this: "250601000000Z",
            next: Some("490101000000Z"),
            entries: serials.iter().map(|serial| entry(*serial, &[])).collect(),
            extensions: Vec::new(),
            digest: "sha256",
        }
    }

    /// The same of version 2 with these extensions.
    pub fn with(self, extensions: &[Vec<u8>]) -> Listed {
        Listed {
            second: true,
            extensions: extensions.to_vec(),
            ..self
        }
    }
}

/// An authority with an RSA key.
pub struct Authority {
    folder: TempDir,
    name: String,
}

impl Authority {
    /// A root with these lines of an extension file.
    pub fn root(name: &str, extensions: &str) -> Authority {
        Authority::root_of(2048, name, extensions, &[])
    }

    /// The same with a key of that many bits, and further arguments of `openssl x509`.
    pub fn root_of(bits: u32, name: &str, extensions: &str, arguments: &[&str]) -> Authority {
        let authority = Authority::keyed(name, bits);
        authority.certify(&authority, name, "authority", "1", extensions, arguments);
        authority
    }

    /// One that another issued, with this serial number, and further arguments of `openssl x509`.
    pub fn below(
        &self,
        name: &str,
        serial: &str,
        extensions: &str,
        arguments: &[&str],
    ) -> Authority {
        let authority = Authority::keyed(name, 2048);
        self.certify(&authority, name, "authority", serial, extensions, arguments);
        authority
    }

    fn keyed(name: &str, bits: u32) -> Authority {
        let folder = tempfile::Builder::new()
            .prefix("adit-lists-")
            .tempdir()
            .expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let authority = Authority {
            folder,
            name: name.to_owned(),
        };
        authority.make_key("authority", bits);
        authority
    }

    /// The folder of all that it has made.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its certificate.
    pub fn cert(&self) -> PathBuf {
        self.path("authority.pem")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    fn make_key(&self, file: &str, bits: u32) {
        openssl::run(
            Command::new("openssl")
                .args(["genrsa", "-traditional", "-out"])
                .arg(self.path(&format!("{file}.key")))
                .arg(bits.to_string()),
        );
    }

    /// A certificate with this serial number, for localhost, in `FILE.pem`; without extensions of version 1.
    pub fn issue(&self, file: &str, serial: &str, extensions: &str) -> Pair {
        self.issue_as(file, serial, extensions, &[], 2048)
    }

    /// The same with further arguments of `openssl x509`, and a key of this size.
    pub fn issue_as(
        &self,
        file: &str,
        serial: &str,
        extensions: &str,
        arguments: &[&str],
        bits: u32,
    ) -> Pair {
        self.make_key(file, bits);
        self.certify(self, "localhost", file, serial, extensions, arguments);
        Pair {
            cert: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
        }
    }

    fn certify(
        &self,
        whose: &Authority,
        name: &str,
        file: &str,
        serial: &str,
        extensions: &str,
        arguments: &[&str],
    ) {
        let request = whose.path(&format!("{file}.csr"));
        openssl::run(
            Command::new("openssl")
                .args(["req", "-new", "-subj", &format!("/CN={name}"), "-key"])
                .arg(whose.path(&format!("{file}.key")))
                .arg("-out")
                .arg(&request),
        );
        let itself = std::ptr::eq(self, whose) && file == "authority";
        let mut command = Command::new("openssl");
        command.args(["x509", "-req", "-sha256", "-days", "3000"]);
        // The last one of each counts.
        command.args(arguments).arg("-set_serial");
        command.arg(serial).arg("-in").arg(&request);
        match itself {
            true => command.arg("-signkey").arg(self.path("authority.key")),
            false => command
                .arg("-CA")
                .arg(self.cert())
                .arg("-CAkey")
                .arg(self.path("authority.key")),
        };
        if !extensions.is_empty() {
            let path = whose.path(&format!("{file}.ext"));
            fs::write(&path, extensions).expect("writing");
            command.arg("-extfile").arg(path);
        }
        openssl::run(command.arg("-out").arg(whose.path(&format!("{file}.pem"))));
    }

    /// A list as PEM.
    pub fn list(&self, listed: &Listed) -> String {
        let digest = match listed.digest {
            "sha1" => 5,
            _ => 11,
        };
        let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, digest];
        let algorithm = element(0x30, &[element(6, &oid), element(5, &[])].concat());
        let mut body = Vec::new();
        if listed.second {
            body.extend(element(2, &[1]));
        }
        body.extend(&algorithm);
        let issuer = listed.issuer.clone();
        body.extend(issuer.unwrap_or_else(|| common_name(0x0c, &self.name)));
        for time in [Some(listed.this), listed.next].into_iter().flatten() {
            body.extend(element(0x17, time.as_bytes()));
        }
        if !listed.entries.is_empty() {
            body.extend(element(0x30, &listed.entries.concat()));
        }
        if !listed.extensions.is_empty() {
            let extensions = element(0x30, &listed.extensions.concat());
            body.extend(element(0xa0, &extensions));
        }
        let body = element(0x30, &body);
        let signature = self.sign(&body, listed.digest);
        let signature = element(3, &[&[0][..], &signature].concat());
        let list = element(0x30, &[body, algorithm, signature].concat());
        pem::encode(&pem::Pem::new("X509 CRL", list))
    }

    fn sign(&self, message: &[u8], digest: &str) -> Vec<u8> {
        let (from, to) = (self.path("to-sign"), self.path("signature"));
        fs::write(&from, message).expect("writing");
        openssl::run(
            Command::new("openssl")
                .args(["dgst", &format!("-{digest}"), "-sign"])
                .arg(self.path("authority.key"))
                .arg("-out")
                .arg(&to)
                .arg(&from),
        );
        fs::read(to).expect("a signature")
    }
}
