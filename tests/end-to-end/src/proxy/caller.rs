//! Which process is at the other end of a local connection, and its sudden end.
//!
//! Linux: proc(5) has the sockets of the machine in `/proc/net/tcp` and those of a process in its
//! `fd` folder.

use std::fs;
use std::net::SocketAddr;
use std::process;

use rustix::process::{Pid, Signal, kill_process};

/// Kills the process that holds the connection from `peer` to `us`; says whether there was one.
pub(super) fn kill(peer: SocketAddr, us: SocketAddr) -> bool {
    let Some(pid) = inode(peer, us).and_then(|inode| holder(&inode)) else {
        return false;
    };
    // The proxy's own process is none of the callers.
    let pid = Pid::from_raw(pid).filter(|_| pid.unsigned_abs() != process::id());
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// The inode of the socket at the other end: its local port is the peer's, its remote one ours.
fn inode(peer: SocketAddr, us: SocketAddr) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let ends = |port: u16| format!(":{port:04X}");
    let (local, remote) = (ends(peer.port()), ends(us.port()));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(&local) && fields.get(2)?.ends_with(&remote);
        is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

fn holder(inode: &str) -> Option<i32> {
    let wanted = format!("socket:[{inode}]");
    let holds = |pid: &i32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        files.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|link| link.to_string_lossy() == wanted)
        })
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(holds)
}
