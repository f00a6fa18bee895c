//! What `fuzz/` does here: a certificate, its issuer's, and a response of any bytes.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::der;
use super::subject::Subject;
use super::{Doubt, Terms, response};

/// 2027-01-01 in seconds since 1970: the seeds are valid then.
const NEW_YEAR_2027: i64 = 1_798_761_600;

/// A response is judged without a panic; what is accepted where more is demanded is accepted where it is not.
pub(crate) fn fuzz(input: &[u8]) {
    let Some((leaf, rest)) = der::first(input) else {
        return;
    };
    let Some((issuer, response)) = der::first(rest) else {
        return;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(leaf.whole) else {
        return;
    };
    let subject = Subject::new(0, &certificate, issuer.whole);
    let _ = subject.request(Some(&[0xad; 32]));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let judge = |nonce, delegated| {
        let terms = Terms {
            algorithms: provider.signature_verification_algorithms,
            delegated,
        };
        response::judge(response, &subject, nonce, &terms, NEW_YEAR_2027)
    };
    let told = judge(None, true);
    let strict = judge(None, false);
    if strict.is_ok() {
        assert_eq!(strict, told);
    }
    let fresh = judge(Some(&[0xad; 32]), true);
    if let Err(doubt) = fresh {
        assert!(told.is_err() || doubt == Doubt::Nonce, "{doubt}");
    } else {
        assert_eq!(fresh, told);
    }
}
