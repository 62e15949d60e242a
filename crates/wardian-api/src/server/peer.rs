//! Who is at the other end of a connection, and whether they may be.

use std::{io, mem, os::fd::AsRawFd as _};

use nix::libc;
use tokio::net::UnixStream;

/// Who connected, as the kernel saw it at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The process; it may be gone by now.
    pub pid: Option<i32>,
    /// Its effective user id.
    pub uid: u32,
    /// Its effective group id.
    pub gid: u32,
    /// Its supplementary group ids.
    pub groups: Vec<u32>,
}

/// Who may use the daemon, besides root and the daemon's own user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// These users.
    pub uids: Vec<u32>,
    /// The members of these groups.
    pub gids: Vec<u32>,
}

impl Allowed {
    /// Whether `peer` may use a daemon that runs as `own_uid`.
    #[must_use]
    pub fn admits(&self, own_uid: u32, peer: &Peer) -> bool {
        peer.uid == 0
            || peer.uid == own_uid
            || self.uids.contains(&peer.uid)
            || self.gids.iter().any(|gid| *gid == peer.gid || peer.groups.contains(gid))
    }
}

impl Peer {
    /// Who is at the other end of `stream`.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            pid: credentials.pid(),
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups: supplementary_groups(stream)?,
        })
    }
}

/// The groups of the process, not those the user database knows today: a process may have fewer, or more.
fn supplementary_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let room = groups.len() * mem::size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open as long as `stream` is borrowed; `groups` is valid for writes of `length`
        // bytes, and `length` is exactly its size in bytes; the kernel writes whole `gid_t`s and says how many bytes.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / mem::size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // More groups than there was room for; the kernel has said how many.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32, groups: &[u32]) -> Peer {
        Peer { pid: Some(1), uid, gid, groups: groups.to_vec() }
    }

    #[test]
    fn root_and_the_daemons_own_user_come_in() {
        let nobody_else = Allowed::default();
        assert!(nobody_else.admits(500, &peer(0, 0, &[])));
        assert!(nobody_else.admits(500, &peer(500, 7, &[])));
        assert!(!nobody_else.admits(500, &peer(501, 500, &[0, 500])));
    }

    #[test]
    fn members_of_an_allowed_group_come_in_by_either_kind_of_group() {
        let allowed = Allowed { uids: vec![], gids: vec![77] };
        assert!(allowed.admits(0, &peer(1000, 77, &[])));
        assert!(allowed.admits(0, &peer(1000, 1000, &[4, 77])));
        assert!(!allowed.admits(0, &peer(77, 1000, &[4, 78])));
    }

    #[test]
    fn allowed_users_come_in() {
        let allowed = Allowed { uids: vec![1000], gids: vec![] };
        assert!(allowed.admits(0, &peer(1000, 1000, &[])));
        assert!(!allowed.admits(0, &peer(1001, 1000, &[1000])));
    }

    #[tokio::test]
    async fn the_kernel_tells_who_connected() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
        let mut own: Vec<u32> = nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        let mut seen = peer.groups;
        own.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, own);
    }
}
