//! Asking for the pass phrases of keys, on the terminal, before the program leaves it. A child does
//! it, since it must open the keys to know whether a pass phrase is right: the supervisor never does.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{getpgrp, tcgetpgrp};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use zeroize::Zeroizing;

use crate::config::{Config, Service};
use crate::log::{self, Log};
use crate::process::{self, Fresh, OneThread};
use crate::signals::Signals;
use crate::sys::quiet::Quiet;
use crate::tls::{self, PassPhrases};

/// How often one is asked for, as in stunnel.
const ATTEMPTS: usize = 3;
/// A pass phrase is never longer, in bytes; as OpenSSL's.
const MAX_PHRASE: usize = 1024;
/// All of them together, with their lengths.
const MAX_ALL: u64 = 16384;

/// Why no one can be asked now: there is no terminal, or another process group has it. The terminal stops a
/// process that asks from the background (SIGTTOU, termios(3)) until it comes to the foreground, which
/// never happens in a script that runs `timeout 60 adit check`.
pub(crate) fn obstacle() -> Option<&'static str> {
    let Ok(terminal) = open_terminal() else {
        return Some("there is no terminal to ask for its pass phrase");
    };
    let in_front = tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp());
    (!in_front).then_some("its pass phrase cannot be asked for from the background")
}

/// Asks for what the configuration's keys need, if there is a terminal; whatever cannot be opened
/// with what comes back is for loading to complain about.
///
/// # Errors
/// No process or descriptor to be had; it was interrupted.
pub(crate) fn ask(config: &Config, log: &Log) -> io::Result<PassPhrases> {
    let mut phrases = PassPhrases::none();
    let has_keys = config
        .services
        .iter()
        .flat_map(Service::each_tls)
        .any(|tls| tls.cert.is_some());
    let terminal = match open_terminal() {
        Ok(terminal) if has_keys => terminal,
        _ => return Ok(phrases),
    };
    // What is typed to interrupt reaches both processes: this one must not die before the child has
    // given the terminal its echo back.
    let mut before = SigSet::empty();
    let typed = SigSet::from_iter([Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP]);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&typed), Some(&mut before))?;
    let asked = ask_in_a_child(config, log, terminal, &mut phrases);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    asked.map(|()| phrases)
}

fn ask_in_a_child(
    config: &Config,
    log: &Log,
    terminal: File,
    phrases: &mut PassPhrases,
) -> io::Result<()> {
    let (answers, told) = io::pipe()?;
    let child = process::spawn(&OneThread::prove()?, |fresh| {
        let asked = live(config, log, terminal, told, fresh);
        if let Err(error) = &asked {
            crate::error!(*log, "The pass phrases: {}", log::Reason(error));
        }
        process::exit(asked.is_err().into())
    });
    let mut all = Zeroizing::new(Vec::with_capacity(MAX_ALL as usize));
    let read = child.and_then(|child| {
        let read = answers.take(MAX_ALL).read_to_end(&mut all);
        waitpid(child, None)?;
        read
    });
    read?;
    let mut rest = all.as_slice();
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_ne_bytes(*length));
        let Some((phrase, behind)) = behind.split_at_checked(length) else {
            return Err(io::Error::other("the pass phrases were not told whole"));
        };
        phrases.push(phrase);
        rest = behind;
    }
    Ok(())
}

/// The child's life, from the fork to `_exit`.
#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn live(
    config: &Config,
    log: &Log,
    terminal: File,
    mut told: io::PipeWriter,
    fresh: Fresh,
) -> io::Result<()> {
    let mut kept = log::descriptors();
    kept.extend([terminal.as_raw_fd(), told.as_raw_fd()]);
    // SAFETY: this role ends in `exit`, and owns and uses nothing but what it keeps.
    unsafe { process::close_all_but(&kept) }?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    let mut terminal = Terminal {
        file: terminal,
        signals: fresh.hear(&[SIGINT, SIGQUIT, SIGTERM, SIGHUP])?,
    };
    // The parent's mask, but for the stop: a stopped terminal would be left without its echo.
    SigSet::from_iter([Signal::SIGINT, Signal::SIGQUIT]).thread_unblock()?;
    let phrases = ask_for_all(config, log, |path| terminal.ask(path))?;
    for phrase in phrases.iter() {
        // As long as a terminal's line at most.
        let length = u16::try_from(phrase.len()).map_err(io::Error::other)?;
        told.write_all(&length.to_ne_bytes())?;
        told.write_all(phrase)?;
    }
    Ok(())
}

/// Asks for each locked file until a pass phrase opens it, or it was asked for often enough.
fn ask_for_all(
    config: &Config,
    log: &Log,
    mut ask: impl FnMut(&Path) -> io::Result<Zeroizing<Vec<u8>>>,
) -> io::Result<PassPhrases> {
    let mut phrases = PassPhrases::none();
    let mut given_up: Vec<&Path> = Vec::new();
    for options in config.services.iter().flat_map(Service::each_tls) {
        // A certificate and its key may be two locked files, one after the other.
        let (mut last, mut asked) = (None, 0);
        while let Some(path) = tls::locked_file(options, &phrases) {
            if given_up.contains(&path) {
                break;
            }
            if last.replace(path) != Some(path) {
                asked = 0;
            }
            if asked > 0 {
                phrases.pop();
            }
            if asked == ATTEMPTS {
                given_up.push(path);
                break;
            }
            if asked > 0 {
                crate::error!(*log, "Wrong passphrase: retrying");
            }
            phrases.push(&ask(path)?);
            asked += 1;
        }
    }
    Ok(phrases)
}

/// The terminal that this process was started on, whatever standard input is.
struct Terminal {
    file: File,
    signals: Signals,
}

fn open_terminal() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

impl Terminal {
    /// Asks in stunnel's words; nothing of the answer is shown.
    fn ask(&mut self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let Terminal { file, signals } = self;
        let quiet = Quiet::new(file)?;
        write!(&*file, "Enter {} pass phrase:", path.display())?;
        let answer = read_line(file, signals);
        drop(quiet);
        // The one that ended the answer was not shown.
        writeln!(&*file)?;
        answer
    }
}

/// A line, without its end.
fn read_line(mut file: &File, signals: &mut Signals) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PHRASE));
    loop {
        let ready = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [ready(signals.as_fd()), ready(file.as_fd())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let readable = fds[1].any().unwrap_or(false);
        if !signals.take().is_empty() {
            return Err(io::Error::other("interrupted"));
        }
        let mut byte = Zeroizing::new([0]);
        if !readable {
            continue;
        }
        if file.read(byte.as_mut_slice())? == 0 {
            return Err(io::Error::other("the terminal was closed"));
        }
        match byte[0] {
            b'\n' => return Ok(line),
            _ if line.len() == MAX_PHRASE => {
                return Err(io::Error::other("longer than a pass phrase can be"));
            }
            byte => line.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use crate::log::Id;

    const LOG: Log = Log {
        level: 0,
        id: Id::Main,
        from: None,
    };

    /// What was asked for, in order, when these are the answers, and how many are kept.
    fn asked(answers: &[&str]) -> (Vec<String>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cert"), made.cert.pem()).unwrap();
        std::fs::write(path("plain"), made.signing_key.serialize_pem()).unwrap();
        let mut text = String::new();
        for (service, phrase) in [("one", "first"), ("two", "second"), ("three", "first")] {
            let key = path(service);
            let made = std::process::Command::new("openssl")
                .args(["pkcs8", "-topk8", "-passout", &format!("pass:{phrase}")])
                .arg("-in")
                .arg(path("plain"))
                .arg("-out")
                .arg(&key)
                .status();
            assert!(made.unwrap().success());
            let (cert, key) = (path("cert"), key.display().to_string());
            let cert = cert.display();
            text += &format!(
                "[{service}]\naccept = 127.0.0.1:0\nconnect = 1\ncert = {cert}\nkey = {key}\n"
            );
        }
        let sources = Sources {
            text: Some(("test".into(), text.into())),
            ..Sources::default()
        };
        let config = load(&sources).unwrap().config;
        let mut answers = answers.iter();
        let mut names = Vec::new();
        let kept = ask_for_all(&config, &LOG, |path| {
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            Ok(Zeroizing::new(answers.next().unwrap().as_bytes().to_vec()))
        });
        (names, kept.unwrap().iter().count())
    }

    #[test]
    fn each_pass_phrase_is_asked_for_once_and_tried_everywhere() {
        let (names, kept) = asked(&["first", "second"]);
        assert_eq!((names, kept), (vec!["one".into(), "two".into()], 2));
    }

    #[test]
    fn a_wrong_one_is_asked_for_again_and_not_kept() {
        let (names, kept) = asked(&["", "wrong", "first", "wrong", "again", "no", "wrong", "no"]);
        let expected = ["one", "one", "one", "two", "two", "two"];
        assert_eq!((names, kept), (expected.map(String::from).to_vec(), 1));
    }
}
