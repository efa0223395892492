//! SRTP and SRTCP of one viewer (RFC 3711, RFC 7714): the viewer seals RTP and RTCP through a `Sender` and opens
//! the feedback it gets through a `Receiver`.
//!
//! Invariant: `seal_rtp` is a pure function of the key, the packet and its rollover counter. The caller numbers the
//! packets, and never gives one (SSRC, rollover counter, sequence number) to two different plaintexts.

use std::fmt;

/// A protection profile negotiated by DTLS (RFC 5764, section 4.1.2; RFC 7714, section 14.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    AeadAes128Gcm,
    AesCm128HmacSha1_80,
}

impl Profile {
    /// The profile that OpenSSL calls `SRTP_AEAD_AES_128_GCM` or `SRTP_AES128_CM_SHA1_80`.
    pub fn from_name(_name: &str) -> Option<Self> {
        todo!()
    }

    /// Bytes of a master key.
    pub const fn key_len(self) -> usize {
        16
    }

    /// Bytes of a master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::AesCm128HmacSha1_80 => 14,
        }
    }

    /// Bytes by which a sealed RTP packet is longer: its authentication tag.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::AesCm128HmacSha1_80 => 10,
        }
    }

    /// Bytes by which a sealed RTCP packet is longer: the tag and the word that holds E and the index.
    pub const fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + 4
    }
}

/// A master key or salt is not as long as its profile wants it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SRTP key or salt of the wrong length")
    }
}

impl std::error::Error for KeyError {}

/// All 2^31 SRTCP indices of a key are used up (RFC 3711, section 9.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exhausted;

/// Why an SRTCP packet was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// Shorter than an RTCP header, tag and index.
    Truncated,
    /// Forged, damaged, or sealed with another key; also one whose E bit is clear.
    Unauthentic,
    /// Authentic, but seen before or too old to tell.
    Replayed,
    /// Authentic, but from more SSRCs than a viewer has use for.
    TooManySources,
}

/// Seals what goes to one viewer.
pub struct Sender {}

impl Sender {
    /// Derives the session keys (RFC 3711, section 4.3) of one direction from its master key and salt.
    pub fn new(_profile: Profile, _key: &[u8], _salt: &[u8]) -> Result<Self, KeyError> {
        todo!()
    }

    pub fn profile(&self) -> Profile {
        todo!()
    }

    /// Encrypts and authenticates `packet` in place. It is header (CSRCs and extensions included, `header_len`
    /// bytes), payload, and room for the profile's `rtp_overhead()`; SSRC and sequence number are read from it.
    ///
    /// # Panics
    /// Where the packet is shorter than its header and the overhead: sending it on would leak the plaintext.
    pub fn seal_rtp(&self, _packet: &mut [u8], _header_len: usize, _roc: u32) {
        todo!()
    }

    /// Encrypts and authenticates a compound RTCP packet, which grows by the profile's `rtcp_overhead()`.
    /// At `Exhausted` the packet is cleared.
    ///
    /// # Panics
    /// Where the packet is shorter than an RTCP header and SSRC (8 bytes).
    pub fn seal_rtcp(&mut self, _packet: &mut Vec<u8>) -> Result<(), Exhausted> {
        todo!()
    }
}

/// Opens what comes from one viewer.
pub struct Receiver {}

impl Receiver {
    /// As `Sender::new`.
    pub fn new(_profile: Profile, _key: &[u8], _salt: &[u8]) -> Result<Self, KeyError> {
        todo!()
    }

    /// Authenticates and decrypts an SRTCP packet in place; returns the compound RTCP packet in it.
    pub fn open_rtcp<'a>(&mut self, _packet: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        todo!()
    }
}
