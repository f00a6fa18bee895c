//! Key exchanges on P-521, which rustls has not: by AWS-LC, as its others are. Never in here: a secret that is kept.

use aws_lc_rs::agreement::{ECDH_P521, PrivateKey, UnparsedPublicKey, agree};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// The first byte of a point with both its coordinates: the only form that TLS has (RFC 8446, section 4.2.8.2; RFC
/// 8422, section 5.4.1).
const UNCOMPRESSED: u8 = 4;

/// The group.
#[derive(Debug)]
pub(super) struct P521;

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let failed = |_| Error::General("no key for an exchange on P-521".into());
        let own = PrivateKey::generate(&ECDH_P521).map_err(failed)?;
        let public = own.compute_public_key().map_err(failed)?;
        let public = public.as_ref().to_vec();
        Ok(Box::new(Exchange { own, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

struct Exchange {
    own: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = || Error::from(PeerMisbehaved::InvalidKeyShare);
        if peer.first() != Some(&UNCOMPRESSED) {
            return Err(invalid());
        }
        // AWS-LC looks whether it is a point of the curve.
        let peer = UnparsedPublicKey::new(&ECDH_P521, peer);
        agree(&self.own, peer, invalid(), |secret| {
            Ok(SharedSecret::from(secret))
        })
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_one_secret_and_no_other_point_is_taken() {
        let (ours, theirs) = (P521.start().unwrap(), P521.start().unwrap());
        let (of_ours, of_theirs) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
        assert_eq!(of_ours.len(), 1 + 2 * 66);
        let secret = ours.complete(&of_theirs).unwrap();
        assert_eq!(secret.secret_bytes().len(), 66);
        let same = theirs.complete(&of_ours).unwrap();
        assert_eq!(secret.secret_bytes(), same.secret_bytes());
        // A byte off the curve, one short, in the shorter form, none.
        let mut off = of_ours.clone();
        off[20] ^= 1;
        let mut short_form = of_ours[..67].to_vec();
        short_form[0] = 2 + (of_ours[132] & 1);
        for wrong in [&off[..], &of_ours[..132], &short_form, &[]] {
            let begun = P521.start().unwrap();
            assert!(begun.complete(wrong).is_err(), "{} bytes", wrong.len());
        }
    }
}
