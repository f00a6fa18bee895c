//! `socket = a|l|r:OPTION=VALUE[:VALUE]`: the socket options that stunnel knows on Linux.

use std::time::Duration;

use super::diagnostic::nearest;
use super::option::{Fault, number, yes_no};

/// `socket = a|l|r:OPTION=VALUE[:VALUE]`, stored per option for setsockopt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketOption {
    /// `a` accept, `l` local, `r` remote.
    pub on: char,
    /// The system's name, as `TCP_NODELAY`.
    pub name: &'static str,
    /// setsockopt's level.
    pub level: i32,
    /// setsockopt's option.
    pub option: i32,
    /// setsockopt's value.
    pub value: SocketOptionValue,
}

/// A socket option's value by the type that setsockopt wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SocketOptionValue {
    /// An int, or a flag as 0/1.
    Int(i32),
    /// SO_LINGER: on, seconds.
    Linger(bool, i32),
    /// SO_RCVTIMEO and its like.
    Duration(Duration),
    /// SO_BINDTODEVICE
    Text(String),
}

#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Int,
    Linger,
    Duration,
    Text,
}

/// Names, setsockopt(2)'s level and option, and how the value is written.
const KNOWN: &[(&str, i32, i32, Kind)] = &[
    ("SO_DEBUG", libc::SOL_SOCKET, libc::SO_DEBUG, Kind::Flag),
    (
        "SO_DONTROUTE",
        libc::SOL_SOCKET,
        libc::SO_DONTROUTE,
        Kind::Flag,
    ),
    (
        "SO_KEEPALIVE",
        libc::SOL_SOCKET,
        libc::SO_KEEPALIVE,
        Kind::Flag,
    ),
    ("SO_LINGER", libc::SOL_SOCKET, libc::SO_LINGER, Kind::Linger),
    (
        "SO_OOBINLINE",
        libc::SOL_SOCKET,
        libc::SO_OOBINLINE,
        Kind::Flag,
    ),
    ("SO_RCVBUF", libc::SOL_SOCKET, libc::SO_RCVBUF, Kind::Int),
    ("SO_SNDBUF", libc::SOL_SOCKET, libc::SO_SNDBUF, Kind::Int),
    (
        "SO_RCVLOWAT",
        libc::SOL_SOCKET,
        libc::SO_RCVLOWAT,
        Kind::Int,
    ),
    (
        "SO_SNDLOWAT",
        libc::SOL_SOCKET,
        libc::SO_SNDLOWAT,
        Kind::Int,
    ),
    (
        "SO_RCVTIMEO",
        libc::SOL_SOCKET,
        libc::SO_RCVTIMEO,
        Kind::Duration,
    ),
    (
        "SO_SNDTIMEO",
        libc::SOL_SOCKET,
        libc::SO_SNDTIMEO,
        Kind::Duration,
    ),
    (
        "SO_REUSEADDR",
        libc::SOL_SOCKET,
        libc::SO_REUSEADDR,
        Kind::Flag,
    ),
    (
        "SO_BINDTODEVICE",
        libc::SOL_SOCKET,
        libc::SO_BINDTODEVICE,
        Kind::Text,
    ),
    (
        "TCP_KEEPCNT",
        libc::IPPROTO_TCP,
        libc::TCP_KEEPCNT,
        Kind::Int,
    ),
    (
        "TCP_KEEPIDLE",
        libc::IPPROTO_TCP,
        libc::TCP_KEEPIDLE,
        Kind::Int,
    ),
    (
        "TCP_KEEPINTVL",
        libc::IPPROTO_TCP,
        libc::TCP_KEEPINTVL,
        Kind::Int,
    ),
    ("TCP_MAXSEG", libc::IPPROTO_TCP, libc::TCP_MAXSEG, Kind::Int),
    (
        "TCP_NODELAY",
        libc::IPPROTO_TCP,
        libc::TCP_NODELAY,
        Kind::Flag,
    ),
    ("IP_TOS", libc::IPPROTO_IP, libc::IP_TOS, Kind::Int),
    ("IP_TTL", libc::IPPROTO_IP, libc::IP_TTL, Kind::Int),
    (
        "IP_FREEBIND",
        libc::IPPROTO_IP,
        libc::IP_FREEBIND,
        Kind::Flag,
    ),
    (
        "IPV6_V6ONLY",
        libc::IPPROTO_IPV6,
        libc::IPV6_V6ONLY,
        Kind::Flag,
    ),
];

/// The names that `socket` takes, for `adit -sockets`.
pub(crate) fn socket_option_names() -> impl Iterator<Item = &'static str> + Clone {
    KNOWN.iter().map(|known| known.0)
}

/// Longest name of a network device, without the NUL (netdevice(7), IFNAMSIZ).
const DEVICE_NAME_MAX: usize = 15;

/// Reads a `socket` value and puts it into `options`, in place of an earlier one for the same
/// option of the same socket.
pub(super) fn set(options: &mut Vec<SocketOption>, value: &str) -> Result<(), Fault> {
    let illegal = || {
        Fault::new("Illegal socket option").help(
            "write a|l|r:OPTION=VALUE, as l:SO_LINGER=1:60; a is the accepting socket, \
             l the local one, r the remote one",
        )
    };
    let (on, rest) = match value.as_bytes() {
        [on @ (b'a' | b'l' | b'r'), b':', ..] => (char::from(*on), &value[2..]),
        _ => return Err(illegal()),
    };
    let (name, text) = rest.split_once('=').ok_or_else(illegal)?;
    let (name, text) = (name.trim_end(), text.trim_start());
    let Some(&(name, level, option, kind)) = KNOWN
        .iter()
        .find(|known| known.0.eq_ignore_ascii_case(name))
    else {
        let fault = Fault::new(format!("Illegal socket option: `{name}` is not known"));
        return Err(match nearest(name, KNOWN.iter().map(|known| known.0)) {
            Some(meant) => fault.help(format!("did you mean `{meant}`?")),
            None => {
                let names: Vec<_> = KNOWN.iter().map(|known| known.0).collect();
                fault.help(names.join(", "))
            }
        });
    };
    let value = read(kind, text).map_err(|fault| Fault {
        text: format!("Illegal socket option: the value of {name}: {}", fault.text),
        ..fault
    })?;
    let option = SocketOption {
        on,
        name,
        level,
        option,
        value,
    };
    options.retain(|old| (old.on, old.name) != (on, name));
    options.push(option);
    Ok(())
}

fn read(kind: Kind, text: &str) -> Result<SocketOptionValue, Fault> {
    let int = |text: &str| Ok(number(text, 0..=i32::MAX as u32)? as i32);
    // `first[:second]`, the second 0 unless given.
    let pair = |text: &str| match text.split_once(':') {
        Some((first, second)) => Ok((int(first)?, int(second)?)),
        None => Ok((int(text)?, 0)),
    };
    Ok(match kind {
        Kind::Flag => SocketOptionValue::Int(match text {
            "1" => 1,
            "0" => 0,
            _ => i32::from(yes_no(text)?),
        }),
        Kind::Int => SocketOptionValue::Int(int(text)?),
        Kind::Linger => {
            let (on, seconds) = pair(text)?;
            SocketOptionValue::Linger(on != 0, seconds)
        }
        Kind::Duration => {
            let (seconds, micros): (i32, i32) = pair(text)?;
            SocketOptionValue::Duration(
                Duration::from_secs(seconds.unsigned_abs().into())
                    + Duration::from_micros(micros.unsigned_abs().into()),
            )
        }
        Kind::Text if text.is_empty() || text.len() > DEVICE_NAME_MAX => {
            return Err(Fault::new(format!(
                "`{text}` is not the name of a network device"
            )));
        }
        Kind::Text => SocketOptionValue::Text(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_value() {
        use SocketOptionValue::{Duration as Time, Int, Linger, Text};
        for (value, on, name, expected) in [
            ("a:SO_REUSEADDR=no", 'a', "SO_REUSEADDR", Int(0)),
            ("a:SO_REUSEADDR=1", 'a', "SO_REUSEADDR", Int(1)),
            ("l:SO_LINGER=1:60", 'l', "SO_LINGER", Linger(true, 60)),
            ("l:SO_LINGER=0", 'l', "SO_LINGER", Linger(false, 0)),
            ("r:tcp_keepidle = 30", 'r', "TCP_KEEPIDLE", Int(30)),
            (
                "r:SO_RCVTIMEO=2:500000",
                'r',
                "SO_RCVTIMEO",
                Time(Duration::from_millis(2500)),
            ),
            (
                "a:SO_BINDTODEVICE=lo",
                'a',
                "SO_BINDTODEVICE",
                Text("lo".into()),
            ),
        ] {
            let mut options = Vec::new();
            assert_eq!(set(&mut options, value), Ok(()), "{value}");
            assert_eq!((options[0].on, options[0].name), (on, name));
            assert_eq!(options[0].value, expected, "{value}");
        }
    }

    #[test]
    fn a_later_value_replaces_the_same_option_of_the_same_socket() {
        let mut options = Vec::new();
        for value in ["l:TCP_NODELAY=yes", "r:TCP_NODELAY=yes", "l:TCP_NODELAY=no"] {
            set(&mut options, value).unwrap();
        }
        let shown: Vec<_> = options.iter().map(|o| (o.on, o.value.clone())).collect();
        assert_eq!(
            shown,
            [
                ('r', SocketOptionValue::Int(1)),
                ('l', SocketOptionValue::Int(0))
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, part) in [
            ("", "Illegal socket option"),
            ("x:TCP_NODELAY=1", "Illegal socket option"),
            ("l", "Illegal socket option"),
            ("é:TCP_NODELAY=1", "Illegal socket option"),
            ("lTCP_NODELAY=1", "Illegal socket option"),
            ("l:TCP_NODELAY", "Illegal socket option"),
            ("l:TCP_NODELY=1", "`TCP_NODELY` is not known"),
            ("l:TCP_NODELAY=maybe", "the value of TCP_NODELAY"),
            ("l:SO_LINGER=1:x", "the value of SO_LINGER"),
            ("l:SO_RCVBUF=-1", "the value of SO_RCVBUF"),
            ("a:SO_BINDTODEVICE=", "not the name of a network device"),
        ] {
            let fault = set(&mut Vec::new(), value).unwrap_err();
            assert!(fault.text.contains(part), "{value}: {}", fault.text);
        }
    }
}
