//! Certificates for one test, from an authority of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SigningKey,
};
use tempfile::TempDir;

use super::openssl;

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Pair {
    /// PEM certificate.
    pub cert: PathBuf,
    /// PEM key, mode 0600.
    pub key: PathBuf,
}

impl Pair {
    /// `cert = …` and `key = …`.
    pub fn lines(&self) -> String {
        format!(
            "cert = {}\nkey = {}\n",
            self.cert.display(),
            self.key.display()
        )
    }
}

/// What kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// P-256
    Ecdsa,
    /// 2048 bits
    Rsa,
    /// Ed25519
    Ed25519,
}

/// The content of a certificate.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// Common name.
    pub name: &'a str,
    /// DNS names and addresses.
    pub subjects: &'a [&'a str],
    /// Mail address.
    pub email: Option<&'a str>,
    /// Organizational unit.
    pub unit: Option<&'a str>,
    /// URIs.
    pub uris: &'a [&'a str],
    /// Key.
    pub kind: Kind,
    /// First and last year of validity.
    pub years: (i32, i32),
    /// It ends in so many seconds, whatever `years` says.
    pub ends_in: Option<u64>,
    /// Serial number; 0: any.
    pub serial: u8,
    /// The responder that it names.
    pub responder: Option<&'a str>,
    /// It demands a stapled response (RFC 7633).
    pub must_staple: bool,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Wish {
            name: "localhost",
            subjects: &["localhost", "127.0.0.1"],
            email: None,
            unit: None,
            uris: &[],
            kind: Kind::Ecdsa,
            years: (2024, 2049),
            ends_in: None,
            serial: 0,
            responder: None,
            must_staple: false,
        }
    }
}

/// An authority, and a folder for what it issues.
pub struct Certs {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Certs {
    /// A new authority.
    pub fn new() -> Certs {
        Certs::named("adit test CA")
    }

    /// A new authority with this name.
    pub fn named(name: &str) -> Certs {
        let folder = tempfile::Builder::new()
            .prefix("adit-certs-")
            .tempdir()
            .expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2049, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("writing");
        Certs {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// Writes the authority's key to `ca.key` beside its certificate.
    pub fn write_key(&self) {
        let pem = self.issuer.key().serialize_pem();
        fs::write(self.folder().join("ca.key"), pem).expect("writing");
    }

    /// The authority's signature, ECDSA with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(message).expect("a signature")
    }

    /// A certificate with its issuer behind it, in one file.
    pub fn chained(&self, pair: Pair) -> Pair {
        let chain = [&pair.cert, &self.ca()].map(|file| fs::read(file).expect("reading"));
        fs::write(&pair.cert, chain.concat()).expect("writing");
        pair
    }

    /// `CAfile = …`
    pub fn ca_line(&self) -> String {
        format!("CAfile = {}\n", self.ca().display())
    }

    /// For a server: localhost, 127.0.0.1, ECDSA.
    pub fn server(&self) -> Pair {
        self.issue("server", Wish::default())
    }

    /// For a client, with the common name `client`.
    pub fn client(&self) -> Pair {
        self.issue(
            "client",
            Wish {
                name: "client",
                subjects: &["client.test"],
                ..Wish::default()
            },
        )
    }

    /// As wished, in `NAME.pem` and `NAME.key`.
    pub fn issue(&self, file: &str, wish: Wish<'_>) -> Pair {
        let (params, key) = request(&wish);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(file, &certificate.pem(), &key)
    }

    /// The same without an authority.
    pub fn self_signed(&self, file: &str, wish: Wish<'_>) -> Pair {
        let (params, key) = request(&wish);
        let certificate = params.self_signed(&key).expect("a certificate");
        self.write(file, &certificate.pem(), &key)
    }

    /// The private number of a P-256 PEM key, in the byte order of files, and in that of a process
    /// which uses it.
    pub fn scalar(pem: &str) -> [Vec<u8>; 2] {
        let der = KeyPair::from_pem(pem).expect("a key").serialize_der();
        // RFC 5915 in RFC 5208: the 32 bytes follow the first `04 20`; the public key, which comes
        // later, may contain another.
        let at = der.windows(2).position(|two| two == [4, 0x20]);
        let at = at.filter(|at| at + 34 <= der.len()).expect("a P-256 key") + 2;
        let scalar = der[at..at + 32].to_vec();
        let reversed = scalar.iter().rev().copied().collect();
        [scalar, reversed]
    }

    /// A server's certificate, the authority's and the key in `NAME.p12`, with a pass phrase.
    pub fn pkcs12(&self, name: &str, phrase: &str) -> PathBuf {
        let pair = self.issue(name, Wish::default());
        let file = self.folder().join(format!("{name}.p12"));
        // Renamed into place, since a reload may read it at any time.
        let new = self.folder().join(format!("{name}.p12.new"));
        openssl::run(
            Command::new("openssl")
                .args(["pkcs12", "-export", "-passout", &format!("pass:{phrase}")])
                .arg("-in")
                .arg(&pair.cert)
                .arg("-inkey")
                .arg(&pair.key)
                .arg("-certfile")
                .arg(self.ca())
                .arg("-out")
                .arg(&new),
        );
        fs::rename(new, &file).expect("rename");
        file
    }

    fn write(&self, file: &str, certificate: &str, key: &KeyPair) -> Pair {
        let pair = Pair {
            cert: self.folder().join(format!("{file}.pem")),
            key: self.folder().join(format!("{file}.key")),
        };
        fs::write(&pair.cert, certificate).expect("writing");
        fs::write(&pair.key, key.serialize_pem()).expect("writing");
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600)).expect("chmod");
        pair
    }
}

/// authorityInfoAccess (RFC 5280, section 4.2.2.1) with one OCSP responder.
fn authority_info_access(url: &str) -> CustomExtension {
    /// 1.3.6.1.5.5.7.48.1, as an element
    const OCSP: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let element = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("a short one");
        assert!(length < 0x80);
        [&[tag, length], content].concat()
    };
    let place = element(0x86, url.as_bytes());
    let access = element(0x30, &[OCSP, &place].concat());
    let content = element(0x30, &access);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

fn request(wish: &Wish<'_>) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = wish.subjects.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params
        .distinguished_name
        .push(DnType::CommonName, wish.name);
    if let Some(email) = wish.email {
        let email = Ia5String::try_from(email).expect("an address in ASCII");
        params.subject_alt_names.push(SanType::Rfc822Name(email));
    }
    if let Some(unit) = wish.unit {
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationalUnitName, unit);
    }
    for uri in wish.uris {
        let uri = Ia5String::try_from(*uri).expect("a URI in ASCII");
        params.subject_alt_names.push(SanType::URI(uri));
    }
    if wish.serial != 0 {
        params.serial_number = Some(SerialNumber::from(vec![wish.serial]));
    }
    if let Some(url) = wish.responder {
        params.custom_extensions.push(authority_info_access(url));
    }
    if wish.must_staple {
        let features = [0x30, 3, 2, 1, 5].to_vec();
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 24];
        (params.custom_extensions).push(CustomExtension::from_oid_content(&oid, features));
    }
    params.not_before = rcgen::date_time_ymd(wish.years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(wish.years.1, 1, 1);
    if let Some(seconds) = wish.ends_in {
        params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into();
    }
    params.use_authority_key_identifier_extension = true;
    let key = match wish.kind {
        Kind::Ecdsa => KeyPair::generate().expect("a key"),
        Kind::Rsa => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key"),
        // rcgen writes the newer form of RFC 5958, which OpenSSL 3.0 does not read.
        Kind::Ed25519 => {
            let made =
                openssl::run(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]));
            let pem = String::from_utf8(made.stdout).expect("PEM");
            KeyPair::from_pem(&pem).expect("a key")
        }
    };
    (params, key)
}
