//! `certWatch = yes`: a renewed certificate is served, however it was renewed, without a signal.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::reload::{Scene, require_jail};
use crate::support::{Plan, wait_for};

#[test]
fn certwatch_reloads_by_itself_once_a_renewed_certificate_has_settled() {
    require_jail!();
    let scene = Scene::of(Plan::new().global("certWatch = yes"));
    let before = scene.certificate();
    let generations = scene.adit.count_in_log("Configuration reloaded");
    scene.certs.server();
    wait_for("the new certificate", || {
        (scene.certificate() != before).then_some(())
    });
    // A reload's last message comes when the old generation has stopped accepting.
    scene
        .adit
        .wait_for_log_times("Configuration reloaded", generations + 1);
    // Certificate and key are two files, renewed one after the other, with one reload.
    assert_eq!(
        scene.adit.count_in_log("Configuration reloaded"),
        generations + 1
    );
    scene.survives();
}

/// Renews a watched certificate in the given way, twice, and waits for each.
#[track_caller]
fn renewed_by(lay_out: impl Fn(&Path, &Path), renew: impl Fn(&Path, &Path)) {
    let scene = Scene::of(Plan::new().global("certWatch = yes"));
    // Where the renewing program keeps them; the configuration names them there from now on.
    let home = scene.adit.plan.folder().join("renewed");
    fs::create_dir(&home).expect("mkdir");
    let issued = scene.pair.cert.parent().expect("a folder").to_owned();
    lay_out(&issued, &home);
    let (old, new) = (
        issued.display().to_string(),
        home.join("live").display().to_string(),
    );
    scene
        .adit
        .rewrite(|text| text.replace(&format!("{old}/server."), &format!("{new}/server.")));
    scene.adit.reload(2);
    for _ in 0..2 {
        let before = scene.certificate();
        let reloads = scene.adit.count_in_log("certWatch: a file has changed");
        // For the renewing program; adit does not know this folder.
        scene.certs.server();
        renew(&issued, &home);
        wait_for("the new certificate", || {
            (scene.certificate() != before).then_some(())
        });
        let after = scene.adit.count_in_log("certWatch: a file has changed");
        assert_eq!(after, reloads + 1);
    }
    scene.survives();
}

const FILES: [&str; 2] = ["server.pem", "server.key"];

#[test]
fn certwatch_sees_files_that_are_renamed_over_the_old_ones() {
    require_jail!();
    let copy = |issued: &Path, home: &Path| {
        fs::create_dir_all(home.join("live")).expect("mkdir");
        for name in FILES {
            let new = home.join("live").join(name).with_extension("new");
            fs::copy(issued.join(name), &new).expect("copy");
            fs::rename(&new, home.join("live").join(name)).expect("rename");
        }
    };
    renewed_by(copy, copy);
}

#[test]
fn certwatch_sees_links_that_certbot_makes_anew() {
    require_jail!();
    // live/NAME is a link to archive/NAME-N; a renewal removes and recreates it.
    let archive = |issued: &Path, home: &Path| {
        fs::create_dir_all(home.join("live")).expect("mkdir");
        fs::create_dir_all(home.join("archive")).expect("mkdir");
        let count = fs::read_dir(home.join("archive")).expect("archive").count();
        for name in FILES {
            let kept = format!("archive/{count}-{name}");
            fs::copy(issued.join(name), home.join(&kept)).expect("copy");
            let link = home.join("live").join(name);
            let _ = fs::remove_file(&link);
            symlink(Path::new("..").join(kept), link).expect("symlink");
        }
    };
    renewed_by(archive, archive);
}

#[test]
fn certwatch_sees_a_folder_that_becomes_another_by_its_link() {
    require_jail!();
    // As container secrets are mounted: one link, renamed over, changes all files at once.
    let mount = |issued: &Path, home: &Path| {
        let version = format!("version-{}", fs::read_dir(home).expect("home").count());
        fs::create_dir(home.join(&version)).expect("mkdir");
        for name in FILES {
            fs::copy(issued.join(name), home.join(&version).join(name)).expect("copy");
        }
        symlink(version, home.join("new")).expect("symlink");
        fs::rename(home.join("new"), home.join("live")).expect("rename");
    };
    renewed_by(mount, mount);
}
