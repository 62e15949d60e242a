//! How rules are written: reads them word by word, and says which word is wrong.

use std::{
    fmt,
    net::Ipv4Addr,
    num::NonZeroU16,
    str::{FromStr, SplitWhitespace},
};

use ipnet::Ipv4Net;

use super::{AclAction, AclDirection, AclEnd, AclPeer, AclPorts, AclProtocol, AclRule};
use crate::name::MachineName;

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// It does not begin with what shall be done.
    #[error(
        "{text:?} doesn't say what shall be done; write allow or deny first, as in `deny udp from any to any port 53`"
    )]
    Action {
        /// The text.
        text: String,
    },
    /// Something else than this word was expected.
    #[error("{text:?} has {found} where it wants {wanted}; write {form}")]
    Word {
        /// The word, in quotes, or that there is none.
        found: Found,
        /// What should be there.
        wanted: &'static str,
        /// The whole text.
        text: String,
        /// How a rule is written.
        form: &'static str,
    },
    /// A range whose last port comes before its first.
    #[error("the ports {first}-{last} go backwards; write {last}-{first}")]
    Backwards {
        /// As written.
        first: NonZeroU16,
        /// As written.
        last: NonZeroU16,
    },
    /// Bits of an address behind its prefix.
    #[error("{written} is an address in a network, not a network; write {meant}")]
    NotANetwork {
        /// As written.
        written: Ipv4Net,
        /// The network it is in.
        meant: Ipv4Net,
    },
    /// Ports of a protocol that has none.
    #[error("icmp has no ports; write tcp or udp, or leave the ports away")]
    NoPorts,
    /// Said in two places.
    #[error("{text:?} names the ports of the destination twice; write them once, after `to`")]
    PortsTwice {
        /// The text.
        text: String,
    },
}

/// A word, or the end of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found(Option<String>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(f, "{word:?}"),
            None => f.write_str("nothing"),
        }
    }
}

const FORM: &str = "allow|deny [in|out] [tcp|udp|icmp|any] [from WHO [port N]] [to WHO [port N]]";
const WHO: &str = "any, gateway, the name of a machine, an address or a prefix";
const PORTS: &str = "a port (1 to 65535) or a range, as in 8000-8080";

struct Words<'a> {
    text: &'a str,
    rest: std::iter::Peekable<SplitWhitespace<'a>>,
}

impl Words<'_> {
    fn wrong(&self, found: Option<&str>, wanted: &'static str) -> AclError {
        let found = Found(found.map(str::to_owned));
        AclError::Word { found, wanted, text: self.text.to_owned(), form: FORM }
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, word: &str) -> bool {
        self.rest.next_if(|next| *next == word).is_some()
    }

    fn one_of<T: Copy>(&mut self, words: &[(&str, T)]) -> Option<T> {
        let meaning = |next: &str| words.iter().find(|(word, _)| *word == next).map(|(_, meaning)| *meaning);
        let found = meaning(self.rest.peek()?)?;
        self.rest.next();
        Some(found)
    }

    fn ports(&mut self) -> Result<Option<AclPorts>, AclError> {
        if !self.take("port") {
            return Ok(None);
        }
        let word = self.rest.next();
        let wrong = || self.wrong(word, PORTS);
        let written = word.ok_or_else(wrong)?;
        let (first, last) = written.split_once('-').unwrap_or((written, written));
        // `parse` alone would take a sign.
        let port = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse::<NonZeroU16>().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        let (first, last) = (port(first)?, port(last)?);
        if last < first {
            return Err(AclError::Backwards { first, last });
        }
        Ok(Some(AclPorts { first, last }))
    }

    fn end(&mut self) -> Result<AclEnd, AclError> {
        let word = self.rest.next();
        let written = word.ok_or_else(|| self.wrong(word, WHO))?;
        let peer = match written {
            "any" => AclPeer::Any,
            "gateway" => AclPeer::Gateway,
            _ => {
                if let Ok(address) = written.parse::<Ipv4Addr>() {
                    AclPeer::from(address)
                } else if let Ok(net) = written.parse::<Ipv4Net>() {
                    if net.trunc() != net {
                        return Err(AclError::NotANetwork { written: net, meant: net.trunc() });
                    }
                    AclPeer::Network(net)
                } else {
                    AclPeer::Machine(MachineName::new(written).map_err(|_| self.wrong(word, WHO))?)
                }
            }
        };
        Ok(AclEnd { peer, ports: self.ports()? })
    }
}

impl FromStr for AclRule {
    type Err = AclError;

    fn from_str(text: &str) -> Result<Self, AclError> {
        let mut words = Words { text, rest: text.split_whitespace().peekable() };
        let action = words.one_of(&[("allow", AclAction::Allow), ("deny", AclAction::Deny)]);
        let action = action.ok_or_else(|| AclError::Action { text: text.to_owned() })?;
        let direction = words.one_of(&[("in", AclDirection::In), ("out", AclDirection::Out)]);
        let protocols = [AclProtocol::Any, AclProtocol::Tcp, AclProtocol::Udp, AclProtocol::Icmp];
        let named = protocols.map(|protocol| (protocol.to_string(), protocol));
        let named: Vec<_> = named.iter().map(|(word, protocol)| (word.as_str(), *protocol)).collect();
        let said = words.one_of(&named);
        let protocol = said.unwrap_or(AclProtocol::Any);
        let early = words.ports()?;
        let from = if words.take("from") { Some(words.end()?) } else { None };
        let to = if words.take("to") { Some(words.end()?) } else { None };
        if let Some(left) = words.rest.next() {
            let wanted = match (&from, &to, said) {
                (None, None, None) => "a protocol, `from`, `to` or `port`",
                (None, None, Some(_)) => "`from`, `to` or `port`",
                (Some(_), None, _) => "`to` or `port`",
                (_, Some(_), _) => "the end of the rule",
            };
            return Err(words.wrong(Some(left), wanted));
        }
        if direction.is_none() && said.is_none() && early.is_none() && from.is_none() && to.is_none() {
            return Err(words.wrong(None, "what it is about"));
        }
        let (from, mut to) = (from.unwrap_or(AclEnd::ANY), to.unwrap_or(AclEnd::ANY));
        if let Some(early) = early
            && to.ports.replace(early).is_some()
        {
            return Err(AclError::PortsTwice { text: text.to_owned() });
        }
        if protocol == AclProtocol::Icmp && (from.ports.is_some() || to.ports.is_some()) {
            return Err(AclError::NoPorts);
        }
        Ok(Self { action, direction, protocol, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back() {
        for text in [
            "deny any",
            "allow in any",
            "deny out udp",
            "deny icmp",
            "allow tcp from web to db port 5432",
            "deny udp to any port 53",
            "deny from 10.0.0.0/8 port 1024-65535",
            "allow to 192.0.2.7",
            "deny out to gateway",
        ] {
            assert_eq!(text.parse::<AclRule>().unwrap().to_string(), text);
        }
        for (text, short) in [
            ("deny udp from any to any port 53", "deny udp to any port 53"),
            ("  allow  tcp port 80-80 from web ", "allow tcp from web to any port 80"),
            ("deny any from any to any", "deny any"),
            ("deny any from web", "deny from web"),
            ("deny in", "deny in any"),
            ("allow to 192.0.2.7/32", "allow to 192.0.2.7"),
        ] {
            assert_eq!(text.parse::<AclRule>().unwrap().to_string(), short);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |text: &str| text.parse::<AclRule>().unwrap_err().to_string();
        let wrong = [
            "",
            "block any",
            "deny",
            "deny tpc from web",
            "deny tcp from",
            "deny tcp from web at 80",
            "deny tcp port",
            "deny tcp to db port 0",
            "deny tcp to db port +80",
            "deny tcp to db port 90-80",
            "deny tcp to db port 80-",
            "deny icmp to db port 8",
            "deny from 10.1.2.3/8",
            "deny from Web",
            "deny tcp port 80 to db port 81",
            "deny tcp to db from web",
            "deny tcp to db port 80 81",
        ];
        insta::assert_snapshot!(wrong.map(said).join("\n"));
    }
}
