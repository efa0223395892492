//! STUN Binding messages as an ICE-lite agent needs them (RFC 8489, RFC 8445). The hub parses each
//! request, verifies it with the viewer's password and answers with `success` or `error`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ring::hmac;
use subtle::ConstantTimeEq;

/// Identifies a transaction; random, made by the client.
pub type TransactionId = [u8; 12];

/// STUN message class (RFC 8489, section 5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// Why a datagram is no STUN Binding message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// Too short, a length that does not fit, or no magic cookie.
    NotStun,
    /// A method other than Binding.
    Method,
    /// An attribute runs past the end or has a value that its type does not allow.
    Attribute,
    /// FINGERPRINT is there and wrong.
    Fingerprint,
}

/// A parsed Binding message, borrowed from its datagram. Nothing in it is to be trusted before
/// `verify`. Where an attribute repeats, the first counts; behind MESSAGE-INTEGRITY none does but
/// FINGERPRINT (RFC 8489, sections 14 and 14.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    pub class: Class,
    pub transaction_id: TransactionId,
    /// As sent: `<ufrag of the receiver>:<ufrag of the sender>` (RFC 8445, section 7.2.2).
    pub username: Option<&'a str>,
    pub priority: Option<u32>,
    pub use_candidate: bool,
    /// Tie-breaker of a controlling agent.
    pub ice_controlling: Option<u64>,
    /// Tie-breaker of a controlled agent; an ICE-lite agent answers such a request with 487.
    pub ice_controlled: Option<u64>,
    /// XOR-MAPPED-ADDRESS of a response.
    pub mapped_address: Option<SocketAddr>,
    /// ERROR-CODE of a response.
    pub error_code: Option<u16>,
    /// Whether FINGERPRINT is there (and right).
    pub fingerprint: bool,
    integrity: Option<Integrity<'a>>,
    /// What lies before MESSAGE-INTEGRITY.
    attributes: &'a [u8],
}

/// MESSAGE-INTEGRITY and what it covers: the header as if the message ended with it, and all
/// attributes before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Integrity<'a> {
    header: [u8; HEADER],
    value: &'a [u8; SHA1],
}

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const BINDING: u16 = 0x0001;
/// Bytes of an attribute's type and length.
const ATTRIBUTE_HEADER: usize = 4;
/// Bytes of an HMAC-SHA1.
const SHA1: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Attribute types (RFC 8489, section 18.3; RFC 8445, section 16.1).
mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802a;
    /// From here on attributes may be ignored by who does not know them.
    pub const FIRST_OPTIONAL: u16 = 0x8000;
}

/// Walks over attributes; ends after the first that runs past the end.
#[derive(Clone)]
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let next = self.take_one();
        if next.is_none() {
            self.rest = &[];
        }
        Some(next.ok_or(Error::Attribute))
    }
}

impl<'a> Attributes<'a> {
    fn take_one(&mut self) -> Option<(u16, &'a [u8])> {
        let (&[t0, t1, l0, l1], rest) = self.rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (padded, rest) = rest.split_at_checked(length.next_multiple_of(4))?;
        self.rest = rest;
        Some((u16::from_be_bytes([t0, t1]), padded.get(..length)?))
    }
}

/// Parses a datagram; checks FINGERPRINT where present, MESSAGE-INTEGRITY not at all.
pub fn parse(datagram: &[u8]) -> Result<Message<'_>, Error> {
    let (header, attributes) = datagram.split_first_chunk::<HEADER>().ok_or(Error::NotStun)?;
    let [t0, t1, l0, l1, c0, c1, c2, c3, transaction_id @ ..] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let fits = length == attributes.len() && length.is_multiple_of(4) && t0 & 0xc0 == 0;
    if !fits || [c0, c1, c2, c3] != MAGIC_COOKIE {
        return Err(Error::NotStun);
    }
    let kind = u16::from_be_bytes([t0, t1]);
    if kind & 0x3eef != BINDING {
        return Err(Error::Method);
    }
    let mut message = Message {
        class: Class::of(kind),
        transaction_id,
        username: None,
        priority: None,
        use_candidate: false,
        ice_controlling: None,
        ice_controlled: None,
        mapped_address: None,
        error_code: None,
        fingerprint: false,
        integrity: None,
        attributes,
    };
    let mut walk = Attributes { rest: attributes };
    while !message.fingerprint {
        let before = attributes.len() - walk.rest.len();
        let Some(next) = walk.next() else { break };
        let (kind, value) = next?;
        message.read(kind, value, header, before)?;
    }
    // FINGERPRINT is the last attribute (RFC 8489, section 14.7).
    if walk.rest.is_empty() { Ok(message) } else { Err(Error::Attribute) }
}

impl Class {
    const fn of(kind: u16) -> Self {
        match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
            (false, false) => Self::Request,
            (false, true) => Self::Indication,
            (true, false) => Self::Success,
            (true, true) => Self::Error,
        }
    }

    const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }
}

impl<'a> Message<'a> {
    /// Takes in one attribute, `before` bytes after the header.
    fn read(
        &mut self,
        kind: u16,
        value: &'a [u8],
        header: &[u8; HEADER],
        before: usize,
    ) -> Result<(), Error> {
        if kind == attribute::FINGERPRINT {
            let covered = self.attributes_up_to(before)?;
            let crc = fingerprint(header, covered);
            self.fingerprint = number(value)? == crc;
            return if self.fingerprint { Ok(()) } else { Err(Error::Fingerprint) };
        }
        if self.integrity.is_some() {
            return Ok(());
        }
        match kind {
            attribute::MESSAGE_INTEGRITY => {
                let length = before + ATTRIBUTE_HEADER + SHA1;
                self.integrity = Some(Integrity {
                    header: with_length(header, length),
                    value: value.try_into().map_err(|_| Error::Attribute)?,
                    covered: self.attributes_up_to(before)?,
                });
            }
            attribute::USERNAME => {
                let username = std::str::from_utf8(value).map_err(|_| Error::Attribute)?;
                self.username.get_or_insert(username);
            }
            _ => todo!(),
        }
        Ok(())
    }
}
