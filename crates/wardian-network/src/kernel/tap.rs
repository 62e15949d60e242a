//! Taps: the host's end of a machine's interface.
//!
//! They are not persistent: a tap lives as long as somebody, in the end QEMU, holds its file. A machine that is gone,
//! in whatever way, leaves no interface behind, and one interface can't have two machines. The price is that a tap is
//! made a port of the bridge anew at every start, a matter of microseconds; the rules that pin it go by its name and
//! wait for it.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

// linux/if_tun.h
nix::ioctl_write_ptr_bad!(set_interface, nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()), libc::ifreq);
nix::ioctl_write_int!(set_owner, b'T', 204);

/// Makes tap `name` in the namespace of the calling thread. `ErrorKind::ResourceBusy` when somebody holds it.
///
/// With `IFF_VNET_HDR`, each frame starts with a header that tells of checksums and segments still to be done, so that
/// big segments cross the switch whole; QEMU sets its size.
pub(crate) fn open(name: &str, owner: u32) -> io::Result<OwnedFd> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an ifreq is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of an interface has 15 bytes at most"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: the descriptor is a tun file, and the pointer is to an ifreq that outlives the call.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }?;
    // SAFETY: the argument is a plain number.
    unsafe { set_owner(file.as_raw_fd(), libc::c_ulong::from(owner)) }?;
    Ok(file.into())
}
