//! Frames of a capture file, and who they say they are from and for. Ethernet, ARP and IPv4 only; the rest is told by
//! its type.
//!
//! The file's format is pcap's (`pcap-savefile(5)`), as `tcpdump` writes it on a little-endian machine.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    time::{Duration, SystemTime},
};

/// A frame of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it was seen.
    pub at: SystemTime,
    /// The hardware address it is for, as `02:57:00:00:00:01`.
    pub to: String,
    /// The hardware address it is from.
    pub from: String,
    /// What it carries.
    pub what: What,
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An ARP question or answer.
    Arp {
        /// Whose hardware address it tells.
        mac: String,
        /// The address of that one.
        sender: Ipv4Addr,
        /// The address asked for or answered to.
        target: Ipv4Addr,
    },
    /// An IPv4 packet.
    Ipv4 {
        /// Its source.
        source: Ipv4Addr,
        /// Its destination.
        destination: Ipv4Addr,
        /// Its protocol's number.
        protocol: u8,
        /// Source and destination of the packet an ICMP error is about.
        about: Option<(Ipv4Addr, Ipv4Addr)>,
    },
    /// Anything else, by its `EtherType`.
    Other(u16),
}

/// The frames of a capture file.
#[track_caller]
pub(crate) fn read(file: &[u8]) -> Vec<Frame> {
    const HEADER: usize = 24;
    const RECORD: usize = 16;
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((number(0), number(20)), (0xa1b2_c3d4, 1), "not an Ethernet capture with microseconds");
    let (mut at, mut frames) = (HEADER, Vec::new());
    while at + RECORD <= file.len() {
        let time = Duration::new(number(at).into(), number(at + 4) * 1000);
        let length = number(at + 8) as usize;
        at += RECORD;
        assert!(at + length <= file.len(), "the capture ends within a frame");
        frames.push(frame(SystemTime::UNIX_EPOCH + time, &file[at..at + length]));
        at += length;
    }
    frames
}

fn frame(at: SystemTime, bytes: &[u8]) -> Frame {
    const HEADER: usize = 14;
    assert!(bytes.len() >= HEADER, "a frame of {} bytes", bytes.len());
    let payload = &bytes[HEADER..];
    let what = match u16::from_be_bytes([bytes[12], bytes[13]]) {
        // RFC 826, for Ethernet and IPv4.
        0x0806 if payload.len() >= 28 && payload[..6] == [0, 1, 8, 0, 6, 4] => {
            What::Arp { mac: mac(&payload[8..14]), sender: address(&payload[14..]), target: address(&payload[24..]) }
        }
        0x0800 => ipv4(payload).unwrap_or(What::Other(0x0800)),
        other => What::Other(other),
    };
    Frame { at, to: mac(&bytes[..6]), from: mac(&bytes[6..12]), what }
}

/// RFC 791; for errors, RFC 792.
fn ipv4(packet: &[u8]) -> Option<What> {
    const ICMP: u8 = 1;
    let length = usize::from(packet.first()? & 0xf) * 4;
    let head = packet.get(..length.max(20))?;
    let protocol = head[9];
    let first = u16::from_be_bytes([head[6], head[7]]) & 0x1fff == 0;
    let icmp = packet.get(length..).filter(|_| protocol == ICMP && first).unwrap_or_default();
    let error = matches!(icmp.first(), Some(3 | 4 | 5 | 11 | 12));
    let about = icmp.get(8..28).filter(|_| error).map(|inner| (address(&inner[12..]), address(&inner[16..])));
    Some(What::Ipv4 { source: address(&head[12..]), destination: address(&head[16..]), protocol, about })
}

fn address(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
}

fn mac(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in &bytes[..6] {
        let _ = write!(text, "{}{byte:02x}", if text.is_empty() { "" } else { ":" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(frames: &[&[u8]]) -> Vec<u8> {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
            file.extend([[7, 0, 0, 0], [1, 0, 0, 0], length, length].concat());
            file.extend_from_slice(frame);
        }
        file
    }

    const TO_FROM: [u8; 12] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x57, 0, 0, 0, 9];

    #[test]
    fn an_arp_question_says_who_asks_for_whom() {
        let body = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0x57, 0, 0, 0, 9, 10, 86, 0, 1, 0, 0, 0, 0, 0, 0, 10, 86, 0, 2];
        let frames = read(&capture(&[&[&TO_FROM[..], &[8, 6], &body].concat()]));
        let [frame] = &frames[..] else { panic!("{frames:?}") };
        let (sender, target) = (Ipv4Addr::new(10, 86, 0, 1), Ipv4Addr::new(10, 86, 0, 2));
        assert_eq!(frame.what, What::Arp { mac: frame.from.clone(), sender, target });
        assert_eq!((&*frame.to, &*frame.from), ("ff:ff:ff:ff:ff:ff", "02:57:00:00:00:09"));
        assert_eq!(frame.at, SystemTime::UNIX_EPOCH + Duration::new(7, 1000));
    }

    #[test]
    fn an_icmp_error_tells_what_it_is_about() {
        let head = |protocol: u8, from: u8, to: u8| {
            [0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 86, 0, from, 10, 86, 0, to]
        };
        let packet = [&head(1, 1, 2)[..], &[3, 1, 0, 0, 0, 0, 0, 0], &head(6, 3, 4)].concat();
        let frames =
            read(&capture(&[&[&TO_FROM[..], &[8, 0], &packet].concat(), &[&TO_FROM[..], &[0x86, 0xdd]].concat()]));
        let lab = |last| Ipv4Addr::new(10, 86, 0, last);
        let about = Some((lab(3), lab(4)));
        assert_eq!(frames[0].what, What::Ipv4 { source: lab(1), destination: lab(2), protocol: 1, about });
        assert_eq!(frames[1].what, What::Other(0x86dd));
    }
}
