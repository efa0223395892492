//! SRTP and SRTCP of one viewer (RFC 3711, RFC 7714): the viewer seals RTP and RTCP through a
//! `Sender` and opens the feedback it gets through a `Receiver`.
//!
//! Invariant: `seal_rtp` is a pure function of the key, the packet and its rollover counter. The
//! caller numbers the packets, and never gives one (SSRC, rollover counter, sequence number) to two
//! different plaintexts.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;

use aes::Aes128Enc;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::{CtrCore, flavors::Ctr128BE};
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

/// A protection profile negotiated by DTLS (RFC 5764, section 4.1.2; RFC 7714, section 14.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    AeadAes128Gcm,
    AesCm128HmacSha1_80,
}

impl Profile {
    /// The profile that OpenSSL calls `SRTP_AEAD_AES_128_GCM` or `SRTP_AES128_CM_SHA1_80`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "SRTP_AEAD_AES_128_GCM" => Some(Self::AeadAes128Gcm),
            "SRTP_AES128_CM_SHA1_80" => Some(Self::AesCm128HmacSha1_80),
            _ => None,
        }
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

    /// Bytes by which a sealed RTCP packet is longer: the tag and the word that holds E and the
    /// index.
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

/// The fixed part of an RTP header (RFC 3550, section 5.1).
const RTP_HEADER: usize = 12;
/// The part of an RTCP packet that stays in the clear: header and sender's SSRC.
const RTCP_HEADER: usize = 8;
/// Bytes of the word with E and the SRTCP index.
const RTCP_INDEX: usize = 4;
/// Of that word: set where the packet is encrypted.
const E: u32 = 1 << 31;

/// Master key and salt, padded to 112 bits as RFC 7714, section 11 has it.
struct Master {
    cipher: Aes128Enc,
    salt: [u8; 14],
}

impl Master {
    fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        if salt.len() != profile.salt_len() {
            return Err(KeyError);
        }
        let mut padded = [0; 14];
        padded
            .iter_mut()
            .zip(salt)
            .for_each(|(to, from)| *to = *from);
        let cipher = Aes128Enc::new_from_slice(key).map_err(|_| KeyError)?;
        Ok(Self {
            cipher,
            salt: padded,
        })
    }

    /// Key derivation (RFC 3711, section 4.3), rate 0.
    fn derive<const N: usize>(&self, label: u8) -> [u8; N] {
        let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13] = self.salt;
        let iv = [
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7 ^ label,
            s8,
            s9,
            s10,
            s11,
            s12,
            s13,
            0,
            0,
        ];
        let mut derived = [0; N];
        apply_keystream(&self.cipher, &iv, &mut derived);
        derived
    }
}

/// AES in counter mode (RFC 3711, section 4.1.1).
fn apply_keystream(cipher: &Aes128Enc, iv: &[u8; 16], data: &mut [u8]) {
    let core = CtrCore::<&Aes128Enc, Ctr128BE>::inner_iv_init(cipher, iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
}

/// Counter-mode IV of an RTP or RTCP packet, `index` being 48 bits long (RFC 3711, section 4.1.1).
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv.iter_mut().zip(salt).for_each(|(to, from)| *to = *from);
    let numbers = u128::from(ssrc) << 64 | u128::from(index) << 16;
    (u128::from_be_bytes(iv) ^ numbers).to_be_bytes()
}

/// GCM nonce of an RTP or RTCP packet, `index` being 48 bits long (RFC 7714, sections 8.1, 9.1).
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let [_, _, _, _, numbers @ ..] = (u128::from(ssrc) << 48 | u128::from(index)).to_be_bytes();
    let mut nonce = *salt;
    nonce
        .iter_mut()
        .zip(numbers)
        .for_each(|(to, from)| *to ^= from);
    Nonce::assume_unique_for_key(nonce)
}

fn gcm_key(key: &[u8; 16]) -> Result<LessSafeKey, KeyError> {
    let key = UnboundKey::new(&AES_128_GCM, key).map_err(|_| KeyError)?;
    Ok(LessSafeKey::new(key))
}

/// What HMAC-SHA1 gives; its first 80 bits are the tag (RFC 3711, section 4.2.1).
type Tag = hmac::digest::Output<Sha1>;

fn sha1_mac(key: &[u8; 20]) -> Hmac<Sha1> {
    let Ok(mac) = Mac::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length");
    };
    mac
}

/// Session keys for RTP in the form in which sealing is fastest.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what nearly every viewer has"
)]
enum RtpKeys {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    Cm(Box<CmKeys>),
}

struct CmKeys {
    cipher: Aes128Enc,
    auth: Hmac<Sha1>,
    salt: [u8; 14],
}

impl RtpKeys {
    fn derive(profile: Profile, master: &Master) -> Result<Self, KeyError> {
        Ok(match profile {
            Profile::AeadAes128Gcm => Self::Gcm {
                key: gcm_key(&master.derive(0))?,
                salt: master.derive(2),
            },
            Profile::AesCm128HmacSha1_80 => Self::Cm(Box::new(CmKeys {
                cipher: Aes128Enc::new(&master.derive::<16>(0).into()),
                auth: sha1_mac(&master.derive(1)),
                salt: master.derive(2),
            })),
        })
    }
}

impl CmKeys {
    /// Encrypts `payload`; returns the tag before it is cut.
    fn seal(&self, header: &[u8], payload: &mut [u8], ssrc: u32, roc: u32, seq: u16) -> Tag {
        let index = u64::from(roc) << 16 | u64::from(seq);
        apply_keystream(&self.cipher, &counter_iv(&self.salt, ssrc, index), payload);
        let mut mac = self.auth.clone();
        mac.update(header);
        mac.update(payload);
        mac.update(&roc.to_be_bytes());
        mac.finalize().into_bytes()
    }
}

/// Session keys for RTCP. Ciphers are set up for each packet: a few a second do not pay for the
/// half KiB that a prepared one takes.
struct RtcpKeys {
    profile: Profile,
    key: [u8; 16],
    auth: [u8; 20],
    salt: [u8; 14],
}

impl RtcpKeys {
    fn derive(profile: Profile, master: &Master) -> Self {
        Self {
            profile,
            key: master.derive(3),
            auth: master.derive(4),
            salt: master.derive(5),
        }
    }

    fn gcm(&self, ssrc: u32, index: u32) -> Option<(LessSafeKey, Nonce)> {
        // A derived salt of 96 bits is the start of one of 112.
        let salt = self.salt.first_chunk()?;
        Some((
            gcm_key(&self.key).ok()?,
            gcm_nonce(salt, ssrc, index.into()),
        ))
    }

    fn apply_keystream(&self, ssrc: u32, index: u32, body: &mut [u8]) {
        let cipher = Aes128Enc::new(&self.key.into());
        apply_keystream(&cipher, &counter_iv(&self.salt, ssrc, index.into()), body);
    }
}

/// What GCM authenticates of an RTCP packet beside its ciphertext (RFC 7714, section 9.2).
fn rtcp_aad(header: &[u8; RTCP_HEADER], word: u32) -> Aad<[u8; RTCP_HEADER + RTCP_INDEX]> {
    let [h0, h1, h2, h3, h4, h5, h6, h7] = *header;
    let [w0, w1, w2, w3] = word.to_be_bytes();
    Aad::from([h0, h1, h2, h3, h4, h5, h6, h7, w0, w1, w2, w3])
}

fn rtcp_ssrc(header: &[u8; RTCP_HEADER]) -> u32 {
    let [_, _, _, _, ssrc @ ..] = *header;
    u32::from_be_bytes(ssrc)
}

/// Seals what goes to one viewer.
pub struct Sender {
    rtp: RtpKeys,
    rtcp: RtcpKeys,
    /// Of the next RTCP packet, over all its SSRCs.
    index: u32,
}

impl Sender {
    /// Derives the session keys (RFC 3711, section 4.3) of one direction from its master key and
    /// salt.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        let master = Master::new(profile, key, salt)?;
        Ok(Self {
            rtp: RtpKeys::derive(profile, &master)?,
            rtcp: RtcpKeys::derive(profile, &master),
            index: 0,
        })
    }

    pub fn profile(&self) -> Profile {
        self.rtcp.profile
    }

    /// Room that `seal_rtp` needs behind the payload.
    pub fn rtp_overhead(&self) -> usize {
        self.profile().rtp_overhead()
    }

    /// Encrypts and authenticates `packet` in place. It is header (CSRCs and extensions included,
    /// `header_len` bytes), payload, and room for the profile's `rtp_overhead()`; SSRC and sequence
    /// number are read from it.
    ///
    /// # Panics
    /// Where the packet is shorter than its header and the overhead: sending it on would leak the
    /// plaintext.
    pub fn seal_rtp(&self, packet: &mut [u8], header_len: usize, roc: u32) {
        let overhead = self.rtp_overhead();
        assert!(
            header_len >= RTP_HEADER && packet.len() >= header_len + overhead,
            "no room to seal {header_len} bytes of header in {}",
            packet.len()
        );
        let (header, body) = packet.split_at_mut(header_len);
        let (payload, room) = body.split_at_mut(body.len() - overhead);
        let &mut [_, _, s0, s1, _, _, _, _, c0, c1, c2, c3, ..] = header else {
            unreachable!("asserted above");
        };
        let seq = u16::from_be_bytes([s0, s1]);
        let ssrc = u32::from_be_bytes([c0, c1, c2, c3]);
        match &self.rtp {
            RtpKeys::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, ssrc, u64::from(roc) << 16 | u64::from(seq));
                let Ok(tag) = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
                else {
                    unreachable!("GCM seals up to 64 GiB");
                };
                room.copy_from_slice(tag.as_ref());
            }
            RtpKeys::Cm(keys) => {
                let tag = keys.seal(header, payload, ssrc, roc, seq);
                room.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
            }
        }
    }

    /// Encrypts and authenticates a compound RTCP packet, which grows by the profile's
    /// `rtcp_overhead()`. At `Exhausted` the packet is cleared.
    ///
    /// # Panics
    /// Where the packet is shorter than an RTCP header and SSRC (8 bytes).
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Exhausted> {
        if self.index >= E {
            packet.clear();
            return Err(Exhausted);
        }
        let index = self.index;
        self.index += 1;
        let word = E | index;
        let Some((header, body)) = packet.split_first_chunk_mut() else {
            panic!("an RTCP packet of {} bytes", packet.len());
        };
        let ssrc = rtcp_ssrc(header);
        match self.rtcp.profile {
            Profile::AeadAes128Gcm => {
                let tag = self.rtcp.gcm(ssrc, index).and_then(|(key, nonce)| {
                    key.seal_in_place_separate_tag(nonce, rtcp_aad(header, word), body)
                        .ok()
                });
                let Some(tag) = tag else {
                    unreachable!("GCM seals up to 64 GiB");
                };
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&word.to_be_bytes());
            }
            Profile::AesCm128HmacSha1_80 => {
                self.rtcp.apply_keystream(ssrc, index, body);
                packet.extend_from_slice(&word.to_be_bytes());
                let mac = sha1_mac(&self.rtcp.auth).chain_update(&*packet);
                let bytes = self.rtcp.profile.rtp_overhead();
                packet.extend(mac.finalize().into_bytes().iter().take(bytes));
            }
        }
        Ok(())
    }
}

/// Opens what comes from one viewer.
pub struct Receiver {
    rtcp: RtcpKeys,
    /// A viewer reports under one SSRC, or one a media section.
    sources: [Option<Source>; 4],
}

impl Receiver {
    /// As `Sender::new`.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        Ok(Self {
            rtcp: RtcpKeys::derive(profile, &Master::new(profile, key, salt)?),
            sources: [None; 4],
        })
    }

    /// Authenticates and decrypts an SRTCP packet in place; returns the compound RTCP packet in it.
    /// What `packet` holds after an error is undefined.
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        let length = packet.len().checked_sub(self.rtcp.profile.rtcp_overhead());
        let length = length
            .filter(|&length| length >= RTCP_HEADER)
            .ok_or(OpenError::Truncated)?;
        let (ssrc, word) = match self.rtcp.profile {
            Profile::AeadAes128Gcm => self.open_gcm(packet),
            Profile::AesCm128HmacSha1_80 => self.open_cm(packet),
        }?;
        self.source(ssrc)?.admit(word & !E)?;
        packet.get(..length).ok_or(OpenError::Truncated)
    }

    /// Header, ciphertext, tag, word (RFC 7714, section 9.2).
    fn open_gcm(&self, packet: &mut [u8]) -> Result<(u32, u32), OpenError> {
        let (header, rest) = packet.split_first_chunk_mut().ok_or(OpenError::Truncated)?;
        let (body, word) = rest.split_last_chunk_mut().ok_or(OpenError::Truncated)?;
        let (ssrc, word) = (rtcp_ssrc(header), u32::from_be_bytes(*word));
        let (key, nonce) = self
            .rtcp
            .gcm(ssrc, word & !E)
            .ok_or(OpenError::Unauthentic)?;
        if word & E == 0
            || key
                .open_in_place(nonce, rtcp_aad(header, word), body)
                .is_err()
        {
            return Err(OpenError::Unauthentic);
        }
        Ok((ssrc, word))
    }

    /// Header, ciphertext, word, tag (RFC 3711, section 3.4).
    fn open_cm(&self, packet: &mut [u8]) -> Result<(u32, u32), OpenError> {
        let (sealed, tag) = packet
            .split_last_chunk_mut::<10>()
            .ok_or(OpenError::Truncated)?;
        let mac = sha1_mac(&self.rtcp.auth).chain_update(&*sealed);
        let authentic = mac.verify_truncated_left(tag).is_ok();
        let (rest, word) = sealed.split_last_chunk_mut().ok_or(OpenError::Truncated)?;
        let (header, body) = rest.split_first_chunk_mut().ok_or(OpenError::Truncated)?;
        let (ssrc, word) = (rtcp_ssrc(header), u32::from_be_bytes(*word));
        if word & E == 0 || !authentic {
            return Err(OpenError::Unauthentic);
        }
        self.rtcp.apply_keystream(ssrc, word & !E, body);
        Ok((ssrc, word))
    }

    fn source(&mut self, ssrc: u32) -> Result<&mut Source, OpenError> {
        let slot = self
            .sources
            .iter_mut()
            .find(|slot| slot.is_none_or(|s| s.ssrc == ssrc));
        let slot = slot.ok_or(OpenError::TooManySources)?;
        Ok(slot.get_or_insert(Source {
            ssrc,
            newest: 0,
            seen: 0,
        }))
    }
}

/// The replay list of one SSRC (RFC 3711, section 3.3.2).
#[derive(Clone, Copy)]
struct Source {
    ssrc: u32,
    newest: u32,
    /// Bit n: whether `newest - n` came.
    seen: u128,
}

impl Source {
    fn admit(&mut self, index: u32) -> Result<(), OpenError> {
        if let Some(ahead) = index.checked_sub(self.newest).filter(|&ahead| ahead > 0) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = index;
            return Ok(());
        }
        match 1u128.checked_shl(self.newest - index) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                Ok(())
            }
            _ => Err(OpenError::Replayed),
        }
    }
}

#[cfg(test)]
mod tests;
