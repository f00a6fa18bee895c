//! A throw-away certificate authority and the mail server's certificate. Their keys stay in memory; the
//! authority's certificate goes into a file, for adit to trust.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The mail server's name, in its certificate and nowhere in DNS (RFC 2606).
pub(super) const HOST: &str = "mail.example.org";

/// The certificates of one demo.
pub(super) struct Identity {
    /// The authority's certificate, for CAfile.
    pub(super) authority_pem: String,
    /// The authority's certificate in DER.
    #[cfg(test)]
    pub(super) authority_der: Vec<u8>,
    /// The server's certificate in DER.
    pub(super) chain: Vec<Vec<u8>>,
    /// The server's private key, PKCS#8.
    pub(super) key: Vec<u8>,
}

impl Identity {
    pub(super) fn make() -> Result<Identity, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "adit demo: throw-away CA");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(vec![HOST.to_owned()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.distinguished_name.push(DnType::CommonName, HOST);
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;
        Ok(Identity {
            authority_pem: authority_certificate.pem(),
            #[cfg(test)]
            authority_der: authority_certificate.der().to_vec(),
            chain: vec![certificate.der().to_vec()],
            key: key.serialize_der(),
        })
    }
}
