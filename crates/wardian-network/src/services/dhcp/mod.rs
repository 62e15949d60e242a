//! The DHCP server (RFC 2131) of an environment: it knows who gets which address before anybody asks, so it keeps no
//! leases. This file has the sockets; `answer` decides, `frame` writes what goes out.
//!
//! Requests come by an ordinary UDP socket, after the switch's rules and the kernel have checked them. Answers go out
//! as whole Ethernet frames: their receiver doesn't have the address yet to which they are sent, so the kernel could
//! not ask for its hardware address, and a frame of our own carries a complete checksum, which some clients insist on.

mod answer;
mod frame;

use std::{
    io,
    mem::{size_of, zeroed},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket,
    sockopt::{Broadcast, ReuseAddr},
};
use tokio::{net::UdpSocket, sync::watch, task::JoinSet};
use wardian_plan::network::NetworkPlan;

const SERVER_PORT: u16 = 67;

pub(super) struct Sockets {
    requests: OwnedFd,
    answers: OwnedFd,
}

impl Sockets {
    /// Opens both in the namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let requests = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        // A daemon that was just killed may still have its own.
        setsockopt(&requests, ReuseAddr, &true)?;
        setsockopt(&requests, Broadcast, &true)?;
        // Not bound to the switch, which may be made anew; the namespace's rules let requests in from nowhere else.
        bind(requests.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, SERVER_PORT)))?;
        // Without a protocol it receives nothing.
        let answers = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        Ok(Self { requests, answers })
    }
}

/// Starts the server.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    sockets: Sockets,
    plan: watch::Receiver<Arc<NetworkPlan>>,
) -> io::Result<()> {
    let requests = UdpSocket::from_std(sockets.requests.into())?;
    tasks.spawn(serve(requests, sockets.answers, plan));
    Ok(())
}

async fn serve(requests: UdpSocket, answers: OwnedFd, plan: watch::Receiver<Arc<NetworkPlan>>) {
    let mut buffer = vec![0; 2048];
    loop {
        let length = match requests.recv_from(&mut buffer).await {
            Ok((length, _)) => length,
            Err(error) => {
                tracing::warn!(%error, "the DHCP server can't receive");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let plan = plan.borrow().clone();
        // Whose hardware address it is decides which switch hears the answer: each interface has its own.
        let reply = plan.offers().find_map(|place| Some((place, answer::answer(place.2, &buffer[..length])?)));
        let Some(((switch, mac, dhcp), reply)) = reply else { continue };
        let sent = frame::build(&reply, mac, dhcp.server).and_then(|frame| send(&answers, switch, &frame));
        if let Err(error) = sent {
            tracing::warn!(environment = %plan.environment, %error, "the DHCP server can't send");
        }
    }
}

/// Sends a frame out of the switch. The index is asked each time: the switch may have been made anew.
fn send(socket: &OwnedFd, switch: &str, frame: &[u8]) -> io::Result<()> {
    // SAFETY: both are plain data, for which all zeroes is a valid value.
    let (mut request, mut to): (libc::ifreq, libc::sockaddr_ll) = unsafe { (zeroed(), zeroed()) };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(switch.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // SAFETY: the request is an ifreq that outlives the call; the kernel writes its index into it. It looks in the
    // namespace of the socket, not of the thread.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    to.sll_family = libc::AF_PACKET as libc::c_ushort;
    // SAFETY: the kernel has just written this member.
    to.sll_ifindex = unsafe { request.ifr_ifru.ifru_ifindex };
    // SAFETY: pointers and lengths are of live values of the types the kernel expects.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
