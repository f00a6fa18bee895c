//! PKCS#12 whose MAC is PBMAC1 (RFC 9579).

use super::*;

/// A file of OpenSSL's, its MAC replaced by PBMAC1 (RFC 9579) as defined: PBKDF2 with `derivation` over
/// `phrase`, HMAC with `hash`; both are the last number of 1.2.840.113549.2.
fn with_pbmac1(
    p12: &[u8],
    phrase: &str,
    derivation: u8,
    hash: u8,
    length: Option<usize>,
) -> Vec<u8> {
    use crate::tls::der::{self, SEQUENCE};
    use aws_lc_rs::{hmac, pbkdf2};
    let parts = der::all(der::only(p12, SEQUENCE).unwrap()).unwrap();
    let [version, content, _mac] = parts[..] else {
        panic!("{} parts", parts.len());
    };
    let data = der::all(content.content).unwrap()[1].content;
    let safes = der::only(data, 4).unwrap();
    let salt = b"sixteen bytes...";
    let algorithm = |last: u8| {
        let identifier = [6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, last, 5, 0];
        der::element(SEQUENCE, &identifier)
    };
    let pbkdf2_hash = match derivation {
        7 => pbkdf2::PBKDF2_HMAC_SHA1,
        9 => pbkdf2::PBKDF2_HMAC_SHA256,
        _ => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    let hmac_hash = match hash {
        7 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        8 => hmac::HMAC_SHA224,
        9 => hmac::HMAC_SHA256,
        10 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    let mut key = vec![0; length.unwrap_or(32)];
    let times = std::num::NonZeroU32::new(2).unwrap();
    pbkdf2::derive(pbkdf2_hash, times, salt, phrase.as_bytes(), &mut key);
    let tag = hmac::sign(&hmac::Key::new(hmac_hash, &key), safes);
    let mut parameters = der::element(4, salt);
    parameters.extend([2, 1, 2]);
    if let Some(length) = length {
        parameters.extend([2, 2, (length >> 8) as u8, length as u8]);
    }
    // SHA-1 is the default, which DER omits.
    if derivation != 7 {
        parameters.extend(algorithm(derivation));
    }
    let pkcs5 = |last: u8, parameters: &[u8]| {
        let identifier = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, last];
        der::element(SEQUENCE, &[&identifier[..], parameters].concat())
    };
    let derived = pkcs5(12, &der::element(SEQUENCE, &parameters));
    let pbmac1 = pkcs5(
        14,
        &der::element(SEQUENCE, &[derived, algorithm(hash)].concat()),
    );
    let information = [pbmac1, der::element(4, tag.as_ref())].concat();
    let mac = [
        der::element(SEQUENCE, &information),
        der::element(4, b"NOT USED"),
        vec![2, 1, 1],
    ];
    let mac = der::element(SEQUENCE, &mac.concat());
    der::element(SEQUENCE, &[version.whole, content.whole, &mac].concat())
}

#[test]
fn pbmac1_is_checked_with_every_hash_and_a_wrong_or_changed_one_opens_nothing() {
    let files = Files::new();
    let options = files.export("old.p12", "Zażółć", &[]);
    let old = std::fs::read(files.pki.path("old.p12")).unwrap();
    let write = |bytes: &[u8]| std::fs::write(files.pki.path("old.p12"), bytes).unwrap();
    for derivation in [7, 9, 11] {
        for hash in [7, 8, 9, 10, 11] {
            let new = with_pbmac1(&old, "Zażółć", derivation, hash, Some(32));
            write(&new);
            assert_eq!(chain(&options, &["wrong", "Zażółć"])[0], files.leaf);
            refused(&options, &["wrong"], &["no pass phrase at hand"]);
            // The last bit of the last certificate bag, covered by the MAC.
            let mut changed = new.clone();
            let at = changed.len() * 2 / 3;
            changed[at] ^= 1;
            write(&changed);
            assert!(loaded(&options, &["Zażółć"]).is_err());
        }
    }
    write(&with_pbmac1(&old, "another", 9, 9, Some(32)));
    refused(&options, &["Zażółć"], &["no pass phrase at hand"]);
    write(&with_pbmac1(&old, "Zażółć", 9, 9, Some(64)));
    assert_eq!(chain(&options, &["Zażółć"])[0], files.leaf);
    // RFC 9579, sections 4 and 9.
    for length in [None, Some(16), Some(2000)] {
        write(&with_pbmac1(&old, "Zażółć", 9, 9, length));
        refused(&options, &["Zażółć"], &["damaged"]);
    }
    write(&with_pbmac1(&old, "Zażółć", 9, 12, Some(32)));
    let remedy = "openssl pkcs12 -legacy -nomacver -in";
    refused(
        &options,
        &["Zażółć"],
        &["PBMAC1 with an uncommon hash", remedy],
    );
    // This works with an OpenSSL that does not know PBMAC1.
    let convert = [
        "pkcs12",
        "-legacy",
        "-nomacver",
        "-nodes",
        "-passin",
        "pass:Zażółć",
    ];
    let paths = ["-in", "old.p12", "-out", "new.pem"];
    openssl(&files.pki, &[&convert[..], &paths].concat());
    assert_eq!(chain(&files.options("new.pem"), &[])[0], files.leaf);
}

/// `openssl pkcs12 -export -pbmac1_pbkdf2`, by OpenSSL 3.6.3.
#[test]
fn pbmac1_is_read_as_openssl_writes_it() {
    let files = Files::new();
    let options = files.options("new.p12");
    let file = options.cert.as_deref().unwrap();
    std::fs::write(file, include_bytes!("../pbmac1.p12")).unwrap();
    let (found, _) = loaded(&options, &["geheim"]).unwrap_or_else(|e| panic!("{e:#?}"));
    assert!(found.pkcs12);
    assert_eq!(found.key.cert.len(), 1);
    refused(&options, &["another"], &["no pass phrase at hand"]);
}
