//! STUN Binding messages as an ICE-lite agent needs them (RFC 8489, RFC 8445). The hub parses each
//! request, verifies it with the viewer's password and answers with `success` or `error`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;

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
    header: &'a [u8; HEADER],
    /// All, or those before MESSAGE-INTEGRITY where that is there.
    attributes: &'a [u8],
    integrity: Option<&'a [u8; SHA1]>,
}

const HEADER: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_a442;
const BINDING: u16 = 0x0001;
const CLASS_BITS: u16 = 0x0110;
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
    let (header, attributes) = datagram
        .split_first_chunk::<HEADER>()
        .ok_or(Error::NotStun)?;
    let &[t0, t1, l0, l1, c0, c1, c2, c3, transaction_id @ ..] = header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let fits = length == attributes.len() && length.is_multiple_of(4) && t0 & 0xc0 == 0;
    if !fits || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
        return Err(Error::NotStun);
    }
    let kind = u16::from_be_bytes([t0, t1]);
    if kind & !CLASS_BITS != BINDING {
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
        header,
        attributes,
        integrity: None,
    };
    let mut walk = Attributes { rest: attributes };
    loop {
        let before = attributes.len() - walk.rest.len();
        let Some(attribute) = walk.next() else {
            return Ok(message);
        };
        let (kind, value) = attribute?;
        let (before, _) = attributes
            .split_at_checked(before)
            .ok_or(Error::Attribute)?;
        message.take(kind, value, before)?;
    }
}

impl Class {
    const fn of(kind: u16) -> Self {
        match kind & CLASS_BITS {
            0x0000 => Self::Request,
            0x0010 => Self::Indication,
            0x0100 => Self::Success,
            _ => Self::Error,
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
    /// Takes in one attribute; `before` are those before it.
    fn take(&mut self, kind: u16, value: &'a [u8], before: &'a [u8]) -> Result<(), Error> {
        if self.fingerprint {
            // It is the last (RFC 8489, section 14.7).
            return Err(Error::Attribute);
        }
        match kind {
            attribute::FINGERPRINT => {
                let expected = fingerprint(&[self.header, before]);
                if value != expected.to_be_bytes() {
                    return Err(Error::Fingerprint);
                }
                self.fingerprint = true;
            }
            _ if self.integrity.is_some() => {}
            attribute::MESSAGE_INTEGRITY => {
                self.integrity = Some(value.try_into().map_err(|_| Error::Attribute)?);
                self.attributes = before;
            }
            _ => self.interpret(kind, value).ok_or(Error::Attribute)?,
        }
        Ok(())
    }

    fn interpret(&mut self, kind: u16, value: &'a [u8]) -> Option<()> {
        match kind {
            attribute::USERNAME => {
                self.username
                    .get_or_insert(std::str::from_utf8(value).ok()?);
            }
            attribute::PRIORITY => {
                self.priority
                    .get_or_insert(u32::from_be_bytes(value.try_into().ok()?));
            }
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLING => {
                self.ice_controlling
                    .get_or_insert(u64::from_be_bytes(value.try_into().ok()?));
            }
            attribute::ICE_CONTROLLED => {
                self.ice_controlled
                    .get_or_insert(u64::from_be_bytes(value.try_into().ok()?));
            }
            attribute::XOR_MAPPED_ADDRESS => {
                self.mapped_address
                    .get_or_insert(self.xored_address(value)?);
            }
            attribute::ERROR_CODE => {
                let (&[_, _, hundreds, rest], _) = value.split_first_chunk()?;
                self.error_code
                    .get_or_insert(u16::from(hundreds & 7) * 100 + u16::from(rest));
            }
            _ => {}
        }
        Some(())
    }

    /// RFC 8489, section 14.2.
    fn xored_address(&self, value: &[u8]) -> Option<SocketAddr> {
        let (&[_, family, p0, p1], address) = value.split_first_chunk()?;
        let ip = match family {
            1 => IpAddr::V4(xor_v4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?))),
            2 => {
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?);
                IpAddr::V6(xor_v6(address, &self.transaction_id))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, xor_port(u16::from_be_bytes([p0, p1]))))
    }

    /// The two halves of the username: ours, then the peer's.
    pub fn ufrags(&self) -> Option<(&'a str, &'a str)> {
        self.username?.split_once(':')
    }

    /// Whether MESSAGE-INTEGRITY is there at all.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this key; takes the same time for every
    /// wrong value.
    pub fn verify(&self, key: &Key) -> bool {
        let Some(integrity) = self.integrity else {
            return false;
        };
        // The length in the header counts up to MESSAGE-INTEGRITY (RFC 8489, section 14.5).
        let length = self.attributes.len() + ATTRIBUTE_HEADER + SHA1;
        let &[t0, t1, _, _, ref rest @ ..] = self.header;
        let [l0, l1] = (length as u16).to_be_bytes();
        let mac = key.mac(&[&[t0, t1, l0, l1], rest, self.attributes]);
        mac.verify(integrity.into()).is_ok()
    }

    /// Types of comprehension-required attributes that this module does not know; a request that
    /// has any is answered by `unknown_attributes`.
    pub fn unknown_required(&self) -> impl Iterator<Item = u16> + use<'a> {
        use attribute::*;
        let walk = Attributes {
            rest: self.attributes,
        };
        walk.map_while(Result::ok)
            .map(|(kind, _)| kind)
            .filter(|kind| {
                let known = [USERNAME, ERROR_CODE, UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS];
                let of_ice = [PRIORITY, USE_CANDIDATE];
                *kind < FIRST_OPTIONAL && !known.contains(kind) && !of_ice.contains(kind)
            })
    }
}

/// The prepared HMAC-SHA1 key of an ICE password (RFC 8489, section 9.1.1: the short-term
/// credential's key is the password).
pub struct Key(Hmac<Sha1>);

impl Key {
    pub fn new(password: &str) -> Self {
        let Ok(mac) = Mac::new_from_slice(password.as_bytes()) else {
            unreachable!("HMAC takes keys of any length");
        };
        Self(mac)
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha1> {
        parts
            .iter()
            .fold(self.0.clone(), |mac, part| mac.chain_update(part))
    }
}

/// Appends a Binding success response with XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY and FINGERPRINT.
/// An IPv4 address in IPv6 clothes, as a dual-stack socket shows it, is reported as IPv4.
pub fn success(id: TransactionId, mapped: SocketAddr, key: &Key, out: &mut Vec<u8>) {
    let [p0, p1] = xor_port(mapped.port()).to_be_bytes();
    let mut writer = Writer::new(Class::Success, &id, out);
    match mapped.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let value = [&[0, 1, p0, p1], &xor_v4(ip).octets()[..]].concat();
            writer.attribute(attribute::XOR_MAPPED_ADDRESS, &value);
        }
        IpAddr::V6(ip) => {
            let value = [&[0, 2, p0, p1], &xor_v6(ip, &id).octets()[..]].concat();
            writer.attribute(attribute::XOR_MAPPED_ADDRESS, &value);
        }
    }
    writer.finish(Some(key));
}

/// Appends a Binding error response, code 300 to 699, with FINGERPRINT, authenticated where there
/// is a key (400 and 401 have none: RFC 8489, section 9.1.3).
pub fn error(
    id: TransactionId,
    code: u16,
    reason: &'static str,
    key: Option<&Key>,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer::new(Class::Error, &id, out);
    writer.error_code(code, reason);
    writer.finish(key);
}

/// Appends the 420 response to a request with attributes it requires to be understood; names the
/// first 16 of them.
pub fn unknown_attributes(
    id: TransactionId,
    types: impl Iterator<Item = u16>,
    key: &Key,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer::new(Class::Error, &id, out);
    writer.error_code(420, "Unknown Attribute");
    let types: Vec<u8> = types.take(16).flat_map(u16::to_be_bytes).collect();
    writer.attribute(attribute::UNKNOWN_ATTRIBUTES, &types);
    writer.finish(Some(key));
}

/// Appends one message to a buffer.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    fn new(class: Class, id: &TransactionId, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&(BINDING | class.bits()).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(id);
        Self { out, start }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.out.extend_from_slice(value);
        let padding = value.len().next_multiple_of(4) - value.len();
        self.out.extend(std::iter::repeat_n(0, padding));
    }

    fn error_code(&mut self, code: u16, reason: &'static str) {
        let code = [0, 0, (code / 100) as u8, (code % 100) as u8];
        self.attribute(attribute::ERROR_CODE, &[&code, reason.as_bytes()].concat());
    }

    /// Writes the length as if `more` bytes followed; returns the message so far.
    fn measured(&mut self, more: usize) -> &[u8] {
        let message = self.out.get_mut(self.start..).unwrap_or_default();
        let length = message.len() - HEADER + more;
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&(length as u16).to_be_bytes());
        }
        message
    }

    fn finish(mut self, key: Option<&Key>) {
        if let Some(key) = key {
            let mac = key.mac(&[self.measured(ATTRIBUTE_HEADER + SHA1)]);
            self.attribute(attribute::MESSAGE_INTEGRITY, &mac.finalize().into_bytes());
        }
        let crc = fingerprint(&[self.measured(ATTRIBUTE_HEADER + 4)]);
        self.attribute(attribute::FINGERPRINT, &crc.to_be_bytes());
    }
}

/// RFC 8489, section 14.7.
fn fingerprint(parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.finalize() ^ FINGERPRINT_XOR
}

fn xor_port(port: u16) -> u16 {
    port ^ (MAGIC_COOKIE >> 16) as u16
}

fn xor_v4(ip: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(ip.to_bits() ^ MAGIC_COOKIE)
}

fn xor_v6(ip: Ipv6Addr, id: &TransactionId) -> Ipv6Addr {
    let id = id
        .iter()
        .fold(0, |bits, &byte| bits << 8 | u128::from(byte));
    Ipv6Addr::from_bits(ip.to_bits() ^ (u128::from(MAGIC_COOKIE) << 96 | id))
}

#[cfg(test)]
mod tests;
