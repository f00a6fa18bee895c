//! The cases: what is in a list, which leaf is looked up, and what that comes to.

use std::fs;
use std::path::{Path, PathBuf};

use super::{
    Bench, GOOD, NONE, OF_MIDDLE, OF_MUTE, PLAIN, REVOKED, ROOT, SERIAL, SOME_REASONS, WITH_POINT,
};
use crate::support::lists::{
    Authority, Listed, common_name, element, entry, extension, scope, uri,
};

/// Every form of one list, and of several.
pub(super) fn forms(bench: &mut Bench) {
    let empty = || Listed::revoked(&[2]);
    let older = |listed: Listed| Listed {
        this: "250101000000Z",
        ..listed
    };
    let number = || extension(20, false, &element(2, &[1]));
    let good = empty();
    let bad = Listed::revoked(&[2, SERIAL, 9]);
    bench.add("version 1", PLAIN, std::slice::from_ref(&good), GOOD);
    bench.add(
        "version 1, revoked",
        PLAIN,
        std::slice::from_ref(&bad),
        REVOKED,
    );
    let second = [number()];
    bench.add("version 2", PLAIN, &[good.clone().with(&second)], GOOD);
    bench.add(
        "version 2, revoked",
        PLAIN,
        &[bad.clone().with(&second)],
        REVOKED,
    );
    let none = Listed::revoked(&[]);
    bench.add("without entries", PLAIN, &[none], GOOD);
    for (what, next, expected) in [
        ("without nextUpdate", None, GOOD),
        ("past nextUpdate", Some("250701000000Z"), "CRL has expired"),
    ] {
        bench.add(what, PLAIN, &[Listed { next, ..empty() }], expected);
    }
    let this = "480101000000Z";
    let future = Listed { this, ..empty() };
    bench.add("not yet", PLAIN, &[future], "CRL is not yet valid");
    let old = Listed {
        next: Some("250701000000Z"),
        ..bad.clone()
    };
    bench.add("past and revoked", PLAIN, &[old], "CRL has expired");
    for (what, list, expected) in [("SHA-1", &good, GOOD), ("SHA-1, revoked", &bad, REVOKED)] {
        let digest = "sha1";
        let list = Listed {
            digest,
            ..list.clone()
        };
        bench.add(what, PLAIN, &[list], expected);
    }
    for (what, issuer) in [
        ("another string type", common_name(0x13, "the root")),
        ("another case, and blanks", common_name(0x0c, " The  ROOT")),
    ] {
        let issuer = Some(issuer);
        let list = Listed {
            issuer,
            ..bad.clone()
        };
        bench.add(what, PLAIN, &[list], REVOKED);
    }
    let other = common_name(0x0c, "another root");
    let other = Listed {
        issuer: Some(other),
        ..empty()
    };
    bench.add("of another issuer", PLAIN, &[other], NONE);
    bench.add(
        "older good, newer bad",
        PLAIN,
        &[older(good.clone()), bad.clone()],
        REVOKED,
    );
    bench.add(
        "newer bad, older good",
        PLAIN,
        &[bad.clone(), older(good.clone())],
        REVOKED,
    );
    bench.add(
        "older bad, newer good",
        PLAIN,
        &[older(bad.clone()), good.clone()],
        GOOD,
    );
    let over = Listed {
        next: Some("250701000000Z"),
        ..good.clone()
    };
    let long_ago = older(bad);
    bench.add(
        "one in force before a newer that is over",
        PLAIN,
        &[over, long_ago],
        REVOKED,
    );
}

/// Extensions of lists, entries and leaves.
pub(super) fn extensions(bench: &mut Bench) {
    let with = |serials: &[u8], extensions: &[Vec<u8>]| Listed::revoked(serials).with(extensions);
    let reason = |code: u8| extension(21, false, &element(10, &[code]));
    let entries = |extensions: &[Vec<u8>]| Listed {
        entries: vec![entry(SERIAL, extensions)],
        ..Listed::revoked(&[]).with(&[])
    };
    bench.add("removeFromCRL", PLAIN, &[entries(&[reason(8)])], GOOD);
    bench.add("keyCompromise", PLAIN, &[entries(&[reason(1)])], REVOKED);
    bench.add("certificateHold", PLAIN, &[entries(&[reason(6)])], REVOKED);
    let unknown = "unhandled critical CRL extension";
    let strange = || extension(99, true, &[5, 0]);
    bench.add(
        "a critical entry extension",
        PLAIN,
        &[entries(&[strange()])],
        unknown,
    );
    bench.add(
        "a critical extension",
        PLAIN,
        &[with(&[], &[strange()])],
        unknown,
    );
    let both = [
        with(&[], &[strange()]),
        Listed {
            this: "250101000000Z",
            ..Listed::revoked(&[])
        },
    ];
    bench.add(
        "a critical extension, and an older list",
        PLAIN,
        &both,
        GOOD,
    );
    let strange = extension(99, false, &[5, 0]);
    bench.add(
        "an extension that is not critical",
        PLAIN,
        &[with(&[], &[strange])],
        GOOD,
    );
    let number = extension(20, false, &element(2, &[2]));
    let delta = extension(27, true, &element(2, &[1]));
    let changes = |serials: &[u8]| with(serials, &[number.clone(), delta.clone()]);
    bench.add("a delta alone", PLAIN, &[changes(&[])], NONE);
    let other = "different CRL scope";
    let flag = |tag: u8| scope(&element(tag, &[0xff]));
    bench.add("for users alone", PLAIN, &[with(&[], &[flag(0x81)])], GOOD);
    bench.add(
        "for users alone, revoked",
        PLAIN,
        &[with(&[SERIAL], &[flag(0x81)])],
        REVOKED,
    );
    bench.add(
        "for authorities alone",
        PLAIN,
        &[with(&[], &[flag(0x82)])],
        other,
    );
    bench.add(
        "for attributes alone",
        PLAIN,
        &[with(&[], &[flag(0x85)])],
        other,
    );
    bench.add("indirect", PLAIN, &[with(&[], &[flag(0x84)])], NONE);
    let reasons = scope(&element(0x83, &[6, 0x40]));
    bench.add("for some reasons", PLAIN, &[with(&[], &[reasons])], NONE);
    let at = |place: &str| scope(&element(0xa0, &uri(place)[2..]));
    let (here, there) = (at("http://lists.test/a"), at("http://lists.test/b"));
    bench.add(
        "at a place, a leaf without",
        PLAIN,
        &[with(&[], std::slice::from_ref(&here))],
        other,
    );
    bench.add(
        "at the leaf's place",
        WITH_POINT,
        &[with(&[], &[here])],
        GOOD,
    );
    bench.add(
        "at another place",
        WITH_POINT,
        &[with(&[], &[there])],
        other,
    );
    bench.add(
        "a leaf with a place",
        WITH_POINT,
        &[Listed::revoked(&[])],
        GOOD,
    );
    bench.add(
        "a leaf with some reasons",
        SOME_REASONS,
        &[Listed::revoked(&[])],
        NONE,
    );
    let key = |id: u8| extension(35, false, &element(0x30, &element(0x80, &[id; 20])));
    bench.add("of another key", PLAIN, &[with(&[], &[key(1)])], NONE);
}

/// Signatures, and where lists are.
pub(super) fn places(bench: &mut Bench) {
    let imitation = Authority::root("the root", ROOT);
    let forged = imitation.list(&Listed::revoked(&[]));
    bench.add_text("forged", PLAIN, &forged, "CRL signature failure");
    let mute = bench.mute.list(&Listed::revoked(&[]));
    let forbidden = "key usage does not include CRL signing";
    bench.add_text(
        "an authority that may not sign it",
        OF_MUTE,
        &mute,
        forbidden,
    );
    let of_middle = |serials: &[u8]| bench.middle.list(&Listed::revoked(serials));
    let of_root = bench.root.list(&Listed::revoked(&[]));
    let below = [of_middle(&[]), of_middle(&[SERIAL]), of_root];
    for (text, expected) in below.iter().zip([GOOD, REVOKED, NONE]) {
        bench.add_text("below an authority", OF_MIDDLE, text, expected);
    }
    let folder = |name: &str| {
        let folder = bench.root.folder().join(name);
        fs::create_dir(&folder).expect("mkdir");
        folder
    };
    let write = |folder: &Path, name: &str, list: &Listed| {
        fs::write(folder.join(name), bench.root.list(list)).expect("writing");
    };
    let (good, bad) = (Listed::revoked(&[]), Listed::revoked(&[SERIAL]));
    let older = Listed {
        this: "250101000000Z",
        ..good.clone()
    };
    let hash = hash_of(&bench.root.cert());
    let paths = ["nothing", "two", "unlinked", "one"].map(folder);
    write(&paths[1], &format!("{hash}.r0"), &older);
    write(&paths[1], &format!("{hash}.r1"), &bad);
    write(&paths[2], "list.pem", &good);
    write(&paths[2], &format!("{hash}.r1"), &good);
    write(&paths[3], &format!("{hash}.r0"), &older);
    let line = |path: &PathBuf| format!("verifyChain = yes\nCRLpath = {}\n", path.display());
    let [nothing, two, unlinked, one] = &paths;
    let lines = [line(nothing), line(two), line(unlinked), line(one)];
    let [nothing, two, unlinked, one] = lines;
    let beside = bench.root.folder().join("beside.pem");
    let text =
        fs::read_to_string(bench.root.cert()).expect("a certificate") + &bench.root.list(&bad);
    fs::write(&beside, text).expect("writing");
    let trusted = format!("CAfile = {}\n", beside.display());
    bench.add_lines("an empty folder", PLAIN, nothing, NONE);
    bench.add_lines("two in a folder", PLAIN, two, REVOKED);
    bench.add_lines("without a link", PLAIN, unlinked, NONE);
    bench.add_lines("one in a folder", PLAIN, one.clone(), GOOD);
    bench.add_lines(
        "in CAfile alone",
        PLAIN,
        format!("verifyChain = yes\n{trusted}"),
        GOOD,
    );
    bench.add_lines("in CAfile too", PLAIN, one + &trusted, REVOKED);
    for (what, list, expected) in [
        ("verifyPeer", &good, GOOD),
        ("verifyPeer, revoked", &bad, REVOKED),
    ] {
        let file = bench.root.folder().join(format!("peer{expected}.crl"));
        fs::write(&file, bench.root.list(list)).expect("writing");
        let leaf = fs::read_to_string(&bench.leaves[PLAIN].cert).expect("a certificate");
        let known = bench.root.folder().join("known.pem");
        let root = fs::read_to_string(bench.root.cert()).expect("a certificate");
        fs::write(&known, leaf.clone() + &root).expect("writing");
        let lines = format!(
            "verifyPeer = yes\nCRLfile = {}\nCAfile = {}\n",
            file.display(),
            known.display()
        );
        bench.add_lines(what, PLAIN, lines.clone(), expected);
        if expected.is_empty() {
            let alone = &bench.leaves[PLAIN].cert;
            let lines = format!(
                "verifyPeer = yes\nCRLfile = {}\nCAfile = {}\n",
                file.display(),
                alone.display()
            );
            bench.add_lines("verifyPeer without the authority", PLAIN, lines, UNSIGNED);
        }
    }
}

const UNSIGNED: &str = "CRL signature failure";

fn hash_of(certificate: &Path) -> String {
    let mut command = std::process::Command::new("openssl");
    let command = command.args(["x509", "-noout", "-hash", "-in"]);
    let said = crate::support::openssl::run(command.arg(certificate)).stdout;
    String::from_utf8(said).expect("a number").trim().to_owned()
}
