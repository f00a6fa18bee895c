//! The spare of a generation: what was read when the configuration was loaded, in a second process, in the jail
//! and idle. When the master dies it forks another at once, and stays what it is: so no death costs a look at a
//! file, a name or a folder, however many there are. Never in here: a listener, a connection.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::MsgFlags;

use super::post::{Own, Post};
use super::quotas::Older;
use super::zygote::Zygote;
use super::{Fatal, end, orders, serve};
use crate::helper::binder::Seal;
use crate::ipc::channel::Cut;
use crate::ipc::words::{FromMaster, ToMaster, hear, say};
use crate::jail::Jailed;
use crate::log;
use crate::memory;
use crate::process::{self, Fresh, OneThread};
use crate::sys::watch::{self, Interest, Watch};

/// The life of a spare, from the fork to `_exit`.
pub(super) fn run(post: Post, fresh: Fresh, jailed: &Jailed) -> Infallible {
    let log = post.workers.log;
    end("Spare", log, stand(post, fresh, jailed))
}

/// What both a spare and a master that it has forked do first.
#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn begin(post: &mut Post, role: &str) -> io::Result<()> {
    // SAFETY: this role ends in `exit`, and owns and uses only what it keeps.
    unsafe { process::close_all_but(&post.descriptors()) }?;
    // Before anything is forked.
    post.warrants.as_mut().map_or(Ok(()), Seal::settle)?;
    title(role, post.workers.generation);
    let pid = nix::unistd::getpid().as_raw();
    say(&post.supervisor, &FromMaster::Forked(pid), &[])?;
    // Only now, so that the supervisor knows what to kill where the zygote never answers.
    post.workers
        .zygote
        .as_mut()
        .map_or(Ok(()), Zygote::wait_until_it_is_there)
}

fn title(role: &str, generation: u64) {
    process::title(role, &format!(" of generation {generation}"));
}

fn stand(mut post: Post, fresh: Fresh, jailed: &Jailed) -> Result<(), Fatal> {
    begin(&mut post, "adit: spare")?;
    let zygote = post.workers.zygote.as_ref().and_then(Zygote::number);
    // Signals are the supervisor's business: a spare ignores them.
    let _signals = fresh.hear(&[])?;
    say(&post.supervisor, &FromMaster::Standing(zygote), &[])?;
    let watch = Watch::new()?;
    watch.add(&post.workers.leash, Source::Leash)?;
    watch.add(&post.supervisor, Source::Supervisor)?;
    if let Some(zygote) = &post.workers.zygote {
        watch.add(zygote, Source::Zygote)?;
    }
    memory::let_go();
    loop {
        let ready = watch.wait(None)?;
        if ready.contains(&Source::Leash) {
            return Ok(());
        }
        if ready.contains(&Source::Zygote) {
            return Err(Fatal::System(io::Error::other(
                "the process that forks old workers has died",
            )));
        }
        if ready.contains(&Source::Supervisor) && !obey(&mut post, jailed)? {
            return Ok(());
        }
    }
}

/// Does what the supervisor says; false: there is nothing more to stand ready for.
fn obey(post: &mut Post, jailed: &Jailed) -> Result<bool, Fatal> {
    let (word, mut descriptors) = match hear::<ToMaster>(&post.supervisor, MsgFlags::MSG_DONTWAIT) {
        Ok(Some(heard)) => heard,
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
        // As of a master: its descriptor did not fit into this process's table, or a newer program says what this one
        // does not know. That, sent again, would be known no better.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            if Cut::of(&error).is_some() {
                say(&post.supervisor, &FromMaster::Missed, &[])?;
            }
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    };
    match word {
        ToMaster::LogFile => {
            if let Some(file) = descriptors.pop() {
                if let Some(zygote) = &post.workers.zygote {
                    // One that is busy with so few messages stands still: it will be of no use.
                    zygote.replace_log(file.as_fd())?;
                }
                log::replace_file(file)?;
            }
        }
        ToMaster::Syslog => {
            if let Some(socket) = descriptors.pop() {
                if let Some(zygote) = &post.workers.zygote {
                    // As above.
                    zygote.replace_syslog(socket.as_fd())?;
                }
                // A generation without syslog does not need it.
                let _ = log::replace_syslog(socket);
            }
        }
        ToMaster::Helper(kind) => {
            if let Some(channel) = descriptors.pop() {
                post.workers.helpers.replace(kind, channel.into());
            }
        }
        ToMaster::Names(changed) => post.workers.names.add(changed),
        ToMaster::Replace(generation) => {
            if let Err(error) = replace(post, generation, descriptors, jailed) {
                let reason = log::Reason(&error).to_string();
                say(&post.supervisor, &FromMaster::NotForked(reason), &[])?;
            }
        }
        ToMaster::Cut | ToMaster::Drain => return Ok(false),
        word => return Err(Fatal::UnexpectedWord(word)),
    }
    Ok(true)
}

/// Forks a master in the place of the dead one.
fn replace(
    post: &mut Post,
    generation: u64,
    descriptors: Vec<OwnedFd>,
    jailed: &Jailed,
) -> io::Result<()> {
    let Ok([channel, board]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        return Err(io::Error::other("a master's channel did not arrive"));
    };
    let config = &mut post.workers;
    config.generation = generation;
    title("adit: spare", generation);
    let scoreboard = config.scoreboard.successor(&board)?;
    // The dead master's workers go on until their connections end.
    let before = std::mem::replace(&mut config.scoreboard, scoreboard.clone());
    config
        .older
        .push(Older::same(before.clone(), &config.services));
    config.older.retain(Older::lives);
    scoreboard.note_certificates_of(&before);
    let zygote = config.zygote.as_mut();
    let zygote = zygote.map(|zygote| zygote.copy(generation, Some(board.as_fd())));
    let own = Own {
        generation,
        scoreboard,
        zygote: zygote.transpose()?,
    };
    let master = post.for_another(channel.into(), own)?;
    process::spawn_away(&OneThread::prove()?, |fresh| {
        run_master(master, fresh, jailed)
    })
}

/// The life of a master that a spare has forked.
fn run_master(post: Post, fresh: Fresh, jailed: &Jailed) -> Infallible {
    let log = post.workers.log;
    end("Master", log, live(post, fresh, jailed))
}

fn live(mut post: Post, fresh: Fresh, jailed: &Jailed) -> Result<(), Fatal> {
    begin(&mut post, "adit: master")?;
    let workers = &mut post.workers;
    let (helpers, names) = (&mut workers.helpers, &mut workers.names);
    match orders(&post.supervisor, helpers, names, workers.zygote.as_ref())? {
        Some(orders) => serve(post, orders, fresh, jailed),
        None => Ok(()),
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Leash,
    Supervisor,
    Zygote,
}

impl watch::Source for Source {
    fn key(self) -> usize {
        self as usize
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Supervisor,
            _ => Source::Zygote,
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Supervisor | Source::Zygote => Interest::Read,
        }
    }
}
