//! A throw-away authority and the two server certificates, in files for the peers and in memory
//! for the load generator.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::rows::Key;

/// The TLS server's name, in its certificate and nowhere in DNS (RFC 2606).
pub const HOST: &str = "bench.example.org";

/// A server's certificate and key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Both in one file, for hitch and haproxy.
    pub both: PathBuf,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Identity {
    /// The chain that a rustls server sends.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.clone()]
    }

    /// The key that a rustls server signs with.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }
}

/// All certificates of a run.
#[derive(Debug)]
pub struct Pki {
    /// The authority's certificate, PEM.
    pub authority: PathBuf,
    p256: Identity,
    rsa2048: Identity,
}

impl Pki {
    /// Makes the keys, and the files in `dir`.
    ///
    /// # Errors
    /// A key that could not be made or a file that could not be written.
    pub fn make(dir: &Path) -> io::Result<Pki> {
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "throw-away CA of a benchmark");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let authority = dir.join("authority.pem");
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        fs::write(&authority, certificate.pem())?;
        let issuer = Issuer::new(params, key);
        let p256 = KeyPair::generate().map_err(io::Error::other)?;
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .map_err(io::Error::other)?;
        Ok(Pki {
            authority,
            p256: issue(dir, "p256", &p256, &issuer)?,
            rsa2048: issue(dir, "rsa2048", &rsa, &issuer)?,
        })
    }

    /// The server with this kind of key.
    pub fn identity(&self, key: Key) -> &Identity {
        match key {
            Key::P256 => &self.p256,
            Key::Rsa2048 => &self.rsa2048,
        }
    }
}

fn issue(
    dir: &Path,
    name: &str,
    key: &KeyPair,
    issuer: &Issuer<'_, KeyPair>,
) -> io::Result<Identity> {
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).map_err(io::Error::other)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name.push(DnType::CommonName, HOST);
    let certificate = params.signed_by(key, issuer).map_err(io::Error::other)?;
    let identity = Identity {
        cert: dir.join(format!("{name}.cert.pem")),
        key: dir.join(format!("{name}.key.pem")),
        both: dir.join(format!("{name}.pem")),
        der: certificate.der().clone(),
        key_der: key.serialize_der(),
    };
    let (cert_pem, key_pem) = (certificate.pem(), key.serialize_pem());
    fs::write(&identity.cert, &cert_pem)?;
    fs::write(&identity.key, &key_pem)?;
    fs::write(&identity.both, cert_pem + &key_pem)?;
    for secret in [&identity.key, &identity.both] {
        fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    Ok(identity)
}
