//! What the server says to a request: a function of the plan and of bytes that may be anything.

use std::net::Ipv4Addr;

use dhcproto::{
    Decodable, Decoder, Encodable, Name,
    v4::{DhcpOption, Message, MessageType, Opcode, OptionCode},
};
use wardian_model::mac::MacAddress;
use wardian_plan::network::{DhcpPlan, LeasePlan};

/// Longest UDP payload every client must take: the 576 bytes of RFC 2131, section 2, less the headers of IP and UDP.
const LEAST_ROOM: usize = 548;
/// Clients of old drop what is shorter than a BOOTP message.
const BOOTP: usize = 300;

/// An answer and who shall have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) message: Vec<u8>,
    pub(super) receiver: Receiver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiver {
    All,
    One(MacAddress, Ipv4Addr),
}

/// The answer to `bytes`, if they are a request of a machine of the plan that deserves one.
pub(super) fn answer(plan: &DhcpPlan, bytes: &[u8]) -> Option<Reply> {
    let request = Message::decode(&mut Decoder::new(&sound(bytes)?)).ok()?;
    // The length is checked first: `chaddr` takes it at its word.
    if request.opcode() != Opcode::BootRequest || request.hlen() != 6 {
        return None;
    }
    let mac = MacAddress::new(request.chaddr().try_into().ok()?).ok()?;
    let lease = plan.leases.iter().find(|l| l.mac == mac)?;
    let Some(DhcpOption::MessageType(kind)) = request.opts().get(OptionCode::MessageType) else { return None };
    // A relay would stand in another subnet; there is none.
    if !request.giaddr().is_unspecified() {
        return None;
    }

    let kind = match kind {
        MessageType::Discover => MessageType::Offer,
        MessageType::Request => confirm(plan, lease, &request)?,
        MessageType::Inform => MessageType::Ack,
        MessageType::Decline => {
            tracing::warn!(machine = %lease.hostname, address = %lease.address, "a machine says that somebody else uses its address");
            return None;
        }
        MessageType::Release => {
            tracing::debug!(machine = %lease.hostname, address = %lease.address, "a machine gives its address back");
            return None;
        }
        _ => return None,
    };
    let informed =
        matches!(request.opts().get(OptionCode::MessageType), Some(DhcpOption::MessageType(MessageType::Inform)));
    let room = room(&request);
    let reply = [true, false]
        .into_iter()
        .find_map(|all| write(plan, lease, &request, kind, informed, all).filter(|m| !all || m.len() <= room))?;
    Some(Reply { message: reply, receiver: receiver(lease, &request, kind) })
}

/// Header and magic cookie (RFC 2131, section 2, and RFC 2132, section 2).
const HEADER: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// The message with only those options that are read here, each once and of a length that is right for it.
///
/// The codec asserts the lengths of some options instead of checking them, and a guest may send anything.
fn sound(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = bytes.split_at_checked(HEADER)?;
    if header[HEADER - 4..] != COOKIE {
        return None;
    }
    let mut sound = header.to_vec();
    let mut seen = Vec::new();
    while let [code, after @ ..] = rest {
        match *code {
            0 => rest = after,
            255 => break,
            code => {
                let [length, after @ ..] = after else { return None };
                let length = usize::from(*length);
                let (value, after) = after.split_at_checked(length)?;
                let right = match code {
                    // Message type.
                    53 => length == 1,
                    // Requested address, server.
                    50 | 54 => length == 4,
                    // Longest message.
                    57 => length == 2,
                    // Client.
                    61 => length >= 2,
                    _ => false,
                };
                if right && !seen.contains(&code) {
                    seen.push(code);
                    sound.extend([code, value.len() as u8]);
                    sound.extend(value);
                }
                rest = after;
            }
        }
    }
    sound.push(255);
    Some(sound)
}

/// Whether a REQUEST is right, and if it is for us at all (RFC 2131, section 4.3.2).
fn confirm(plan: &DhcpPlan, lease: &LeasePlan, request: &Message) -> Option<MessageType> {
    if let Some(DhcpOption::ServerIdentifier(server)) = request.opts().get(OptionCode::ServerIdentifier)
        && *server != plan.server
    {
        // Selecting, and it chose another server.
        return None;
    }
    let asked = match request.opts().get(OptionCode::RequestedIpAddress) {
        // Selecting, or starting again with an address it remembers.
        Some(DhcpOption::RequestedIpAddress(address)) => *address,
        // Renewing or rebinding.
        _ => request.ciaddr(),
    };
    Some(if asked == lease.address { MessageType::Ack } else { MessageType::Nak })
}

/// RFC 2131, section 4.1.
fn receiver(lease: &LeasePlan, request: &Message, kind: MessageType) -> Receiver {
    if kind == MessageType::Nak {
        Receiver::All
    } else if !request.ciaddr().is_unspecified() {
        // It answers to this address now; whether it is the right one was checked, or it only wants to be informed.
        Receiver::One(lease.mac, request.ciaddr())
    } else if request.flags().broadcast() {
        Receiver::All
    } else {
        Receiver::One(lease.mac, lease.address)
    }
}

fn room(request: &Message) -> usize {
    match request.opts().get(OptionCode::MaxMessageSize) {
        Some(DhcpOption::MaxMessageSize(size)) => usize::from(*size).saturating_sub(28).clamp(LEAST_ROOM, 1472),
        _ => LEAST_ROOM,
    }
}

/// The message; `all` with the option that can be spared when room is short.
fn write(
    plan: &DhcpPlan,
    lease: &LeasePlan,
    request: &Message,
    kind: MessageType,
    informed: bool,
    all: bool,
) -> Option<Vec<u8>> {
    let none = Ipv4Addr::UNSPECIFIED;
    let yours = if informed || kind == MessageType::Nak { none } else { lease.address };
    let keep = if kind == MessageType::Ack { request.ciaddr() } else { none };
    let mut reply = Message::new_with_id(request.xid(), keep, yours, none, none, &lease.mac.bytes());
    reply.set_opcode(Opcode::BootReply).set_htype(request.htype()).set_flags(request.flags());

    let options = reply.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(plan.server));
    // RFC 6842: a client may know itself only by this.
    if let Some(id) = request.opts().get(OptionCode::ClientIdentifier) {
        options.insert(id.clone());
    }
    if kind != MessageType::Nak {
        if !informed {
            options.insert(DhcpOption::AddressLeaseTime(plan.lease_seconds));
            options.insert(DhcpOption::Renewal(plan.lease_seconds / 2));
            options.insert(DhcpOption::Rebinding(plan.lease_seconds / 8 * 7));
        }
        options.insert(DhcpOption::SubnetMask(plan.subnet.netmask()));
        options.insert(DhcpOption::BroadcastAddr(plan.subnet.broadcast()));
        if let Some(router) = plan.router {
            options.insert(DhcpOption::Router(vec![router]));
        }
        options.insert(DhcpOption::Hostname(lease.hostname.to_string()));
        if let Some(server) = plan.name_server {
            options.insert(DhcpOption::DomainNameServer(vec![server]));
            options.insert(DhcpOption::DomainName(plan.domain.to_string()));
        }
        options.insert(DhcpOption::InterfaceMtu(plan.mtu));
        // No option 121: the one route there is, the default route, is what option 3 says.
        if all
            && plan.name_server.is_some()
            && let Ok(domain) = Name::from_ascii(format!("{}.", plan.domain))
        {
            options.insert(DhcpOption::DomainSearch(vec![domain]));
        }
    }
    let mut bytes = reply.to_vec().ok()?;
    if bytes.len() < BOOTP {
        bytes.resize(BOOTP, 0);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
