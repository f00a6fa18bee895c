//! A network of our own, in which every port is free and every address is this machine's. Never in here: anything
//! that the machine's own network would notice.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// rtnetlink(7).
const RTM_NEWLINK: u16 = 16;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
/// NLM_F_REQUEST, NLM_F_ACK.
const ASK: u16 = 1 | 4;
const CREATE: u16 = 0x400;
const HEADER: usize = 16;
/// The index of `lo` in a new namespace.
const LO: u32 = 1;
const RTA_OIF: u16 = 4;
/// RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL.
const LOCAL: [u8; 4] = [255, 3, 254, 2];

/// Moves this process, and what it starts from now on, to a network of its own.
///
/// # Errors
/// The kernel refuses, as in a container.
pub(super) fn enter() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )?;
    bring_up()?;
    every_address_is_ours(AddressFamily::Inet)?;
    // There may be no IPv6.
    let _ = every_address_is_ours(AddressFamily::Inet6);
    for version in ["ipv4", "ipv6"] {
        let _ = fs::write(format!("/proc/sys/net/{version}/ip_nonlocal_bind"), "1");
    }
    // Root is not the only one who may need a low port: `setuid` comes after the ports are bound in both.
    Ok(())
}

/// Gives names their addresses, in this process and in what it starts; `folder` keeps the file.
///
/// # Errors
/// The file cannot be written, or not be mounted.
pub(super) fn name(hosts: &BTreeMap<String, IpAddr>, folder: &Path) -> io::Result<()> {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for (host, address) in hosts {
        text += &format!("{address} {host}\n");
    }
    let file = folder.join("hosts");
    fs::write(&file, text)?;
    let nothing = None::<&str>;
    mount(
        Some(&file),
        "/etc/hosts",
        nothing,
        MsFlags::MS_BIND,
        nothing,
    )?;
    Ok(())
}

fn bring_up() -> io::Result<()> {
    let (up, index) = (1u32.to_ne_bytes(), LO.to_ne_bytes());
    // struct ifinfomsg: family, type, index, flags, and which flags change.
    let message = [&[0; 4][..], &index, &up, &up].concat();
    ask(RTM_NEWLINK, ASK, &message)
}

/// As `ip route add local default dev lo`.
fn every_address_is_ours(family: AddressFamily) -> io::Result<()> {
    // struct rtmsg: family, two lengths, tos, then table to type, then flags.
    let head = [family as u8, 0, 0, 0];
    let device = [8u16.to_ne_bytes(), RTA_OIF.to_ne_bytes()].concat();
    let message = [&head[..], &LOCAL, &[0; 4], &device, &LO.to_ne_bytes()].concat();
    ask(RTM_NEWROUTE, ASK | CREATE, &message)
}

/// Sends one request and reads whether it was obeyed.
fn ask(kind: u16, flags: u16, message: &[u8]) -> io::Result<()> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let length = (HEADER + message.len()) as u32;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    request.extend([0; 8]);
    request.extend(message);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 512];
    let n = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let kind = answer.get(4..6).filter(|_| n >= HEADER + 4);
    let code = answer[HEADER..]
        .first_chunk()
        .map(|code| i32::from_ne_bytes(*code));
    match (kind, code) {
        (Some(kind), Some(code)) if kind == NLMSG_ERROR.to_ne_bytes() => match code {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        },
        _ => Err(io::Error::other("no answer from the kernel")),
    }
}
