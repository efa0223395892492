//! STUN Binding messages as an ICE-lite agent needs them (RFC 8489, RFC 8445). The hub parses each request, verifies
//! it with the viewer's password and answers with `success` or `error`.

use std::net::SocketAddr;

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
    /// An attribute runs past the end or has a length that its type does not allow.
    Attribute,
    /// FINGERPRINT is there and wrong.
    Fingerprint,
}

/// A parsed Binding message, borrowed from its datagram. Nothing in it is to be trusted before `verify`.
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
    raw: &'a [u8],
}

/// Parses a datagram; checks FINGERPRINT where present, MESSAGE-INTEGRITY not at all.
pub fn parse(_datagram: &[u8]) -> Result<Message<'_>, Error> {
    todo!()
}

impl<'a> Message<'a> {
    /// The two halves of the username: ours, then the peer's.
    pub fn ufrags(&self) -> Option<(&'a str, &'a str)> {
        self.username?.split_once(':')
    }

    /// Whether MESSAGE-INTEGRITY is there at all.
    pub fn has_integrity(&self) -> bool {
        todo!()
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this key; takes the same time for every wrong value.
    pub fn verify(&self, _key: &Key) -> bool {
        todo!()
    }

    /// Types of comprehension-required attributes that this module does not know; a request that has any is
    /// answered by `unknown_attributes`.
    pub fn unknown_required(&self) -> impl Iterator<Item = u16> + use<'a> {
        std::iter::empty()
    }
}

/// The prepared HMAC-SHA1 key of an ICE password (RFC 8489, section 9.1.1, short-term).
pub struct Key {}

impl Key {
    pub fn new(_password: &str) -> Self {
        todo!()
    }
}

/// Appends a Binding success response with XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY and FINGERPRINT.
pub fn success(_id: TransactionId, _mapped: SocketAddr, _key: &Key, _out: &mut Vec<u8>) {
    todo!()
}

/// Appends a Binding error response, code 300 to 699, authenticated where there is a key (400 and 401 have none).
pub fn error(
    _id: TransactionId,
    _code: u16,
    _reason: &str,
    _key: Option<&Key>,
    _out: &mut Vec<u8>,
) {
    todo!()
}

/// Appends the 420 response to a request with attributes it requires to be understood.
pub fn unknown_attributes(
    _id: TransactionId,
    _types: impl Iterator<Item = u16>,
    _key: &Key,
    _out: &mut Vec<u8>,
) {
    todo!()
}
