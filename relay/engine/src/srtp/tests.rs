//! Vectors of RFC 3711, RFC 7714 and libsrtp; properties of sealing and opening.

use proptest::prelude::*;

use super::*;
use crate::vectors::hex;

const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::AesCm128HmacSha1_80];

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("as many bytes as wanted")
}

fn pair(profile: Profile) -> (Sender, Receiver) {
    let (key, salt) = ([7; 16], vec![9; profile.salt_len()]);
    let sender = Sender::new(profile, &key, &salt).expect("right lengths");
    (
        sender,
        Receiver::new(profile, &key, &salt).expect("right lengths"),
    )
}

fn rtp(ssrc: u32, seq: u16, payload: &[u8], overhead: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 2, 3]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + overhead, 0);
    packet
}

/// A receiver's half of RTP, which no relay needs.
fn open_rtp(keys: &RtpKeys, packet: &[u8], roc: u32) -> Option<Vec<u8>> {
    let (header, body) = packet.split_at(RTP_HEADER);
    let seq = u16::from_be_bytes([header[2], header[3]]);
    let ssrc = u32::from_be_bytes(header[8..].try_into().ok()?);
    let index = u64::from(roc) << 16 | u64::from(seq);
    match keys {
        RtpKeys::Gcm { key, salt } => {
            let (nonce, mut body) = (gcm_nonce(salt, ssrc, index), body.to_vec());
            Some(
                key.open_in_place(nonce, Aad::from(header), &mut body)
                    .ok()?
                    .to_vec(),
            )
        }
        RtpKeys::Cm(keys) => {
            let (payload, tag) = body.split_at(body.len() - 10);
            let signed = [header, payload, &roc.to_be_bytes()].concat();
            let mut payload = payload.to_vec();
            apply_keystream(
                &keys.cipher,
                &counter_iv(&keys.salt, ssrc, index),
                &mut payload,
            );
            keys.auth
                .clone()
                .chain_update(signed)
                .verify_truncated_left(tag)
                .ok()
                .map(|()| payload)
        }
    }
}

#[test]
fn rfc_3711_b2_keystream() {
    let cipher = Aes128Enc::new(&array::<16>("2B7E151628AED2A6ABF7158809CF4F3C").into());
    let salt = array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
    let mut stream = vec![0; 0xff02 * 16];
    apply_keystream(&cipher, &counter_iv(&salt, 0, 0), &mut stream);
    let block = |counter: usize| &stream[counter * 16..][..16];
    assert_eq!(block(0), hex("E03EAD0935C95E80E166B16DD92B4EB4"));
    assert_eq!(block(1), hex("D23513162B02D0F72A43A2FE4A5F97AB"));
    assert_eq!(block(2), hex("41E95B3BB0A2E8DD477901E4FCA894C0"));
    assert_eq!(block(0xfeff), hex("EC8CDF7398607CB0F2D21675EA9EA1E4"));
    assert_eq!(block(0xff00), hex("362B7C3C6773516318A077D7FC5073AE"));
    assert_eq!(block(0xff01), hex("6A2CC3787889374FBEB4C81B17BA6C44"));
}

#[test]
fn rfc_3711_b3_key_derivation() {
    let master = Master::new(
        Profile::AesCm128HmacSha1_80,
        &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        &hex("0EC675AD498AFEEBB6960B3AABE6"),
    )
    .expect("right lengths");
    assert_eq!(
        master.derive::<16>(0),
        *hex("C61E7A93744F39EE10734AFE3FF7A087")
    );
    assert_eq!(master.derive::<14>(2), *hex("30CBBC08863D8C85D49DB34A9AE1"));
    let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
        E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
        6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68";
    assert_eq!(master.derive::<94>(1), hex(auth)[..94]);
}

#[test]
fn rfc_7714_16_1_rtp() {
    let keys = RtpKeys::Gcm {
        key: gcm_key(&array("000102030405060708090a0b0c0d0e0f")).expect("a key"),
        salt: *b"Quid pro quo",
    };
    let mut sender = pair(Profile::AeadAes128Gcm).0;
    sender.rtp = keys;
    let mut packet = hex("8040f17b8041f8d35501a0b2");
    packet.extend_from_slice(b"Gallia est omnis divisa in partes tres");
    packet.resize(packet.len() + 16, 0);
    sender.seal_rtp(&mut packet, 12, 0);
    let sealed = "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca
        be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf
        765ee439 0cce";
    assert_eq!(packet, hex(sealed));
}

#[test]
fn rfc_7714_17_rtcp() {
    let keys = || RtcpKeys {
        profile: Profile::AeadAes128Gcm,
        key: array("000102030405060708090a0b0c0d0e0f"),
        auth: [0; 20],
        salt: *b"Quid pro quo\0\0",
    };
    let plain = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930
        4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    let sealed = hex(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7
        6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f
        c5abf872 45d9eade 800005d4",
    );
    let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm);
    (sender.rtcp, sender.index) = (keys(), 0x5d4);
    let mut packet = plain.clone();
    sender.seal_rtcp(&mut packet).expect("indices left");
    assert_eq!(packet, sealed);
    receiver.rtcp = keys();
    assert_eq!(receiver.open_rtcp(&mut packet), Ok(&*plain));
}

/// The reference packets of libsrtp's test driver.
#[test]
fn seals_counter_mode_as_libsrtp_does() {
    let key = hex("e1f97a0d3e018be0d64fa32c06de4139");
    let salt = hex("0ec675ad498afeebb6960b3aabe6");
    let profile = Profile::AesCm128HmacSha1_80;
    let mut sender = Sender::new(profile, &key, &salt).expect("right lengths");
    let mut packet = hex("800f1234decafbadcafebabe");
    packet.extend_from_slice(&[0xab; 16]);
    packet.resize(packet.len() + 10, 0);
    sender.seal_rtp(&mut packet, 12, 0);
    let sealed = "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb";
    assert_eq!(packet, hex(sealed));

    sender.index = 1;
    let mut packet = hex("81c8000bcafebabe");
    packet.extend_from_slice(&[0xab; 16]);
    sender.seal_rtcp(&mut packet).expect("indices left");
    let sealed = "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798";
    assert_eq!(packet, hex(sealed));
}

#[test]
fn refuses_replay_and_what_left_the_window() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed: Vec<Vec<u8>> = (0..200u8)
            .map(|n| {
                let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1, n];
                sender.seal_rtcp(&mut packet).expect("indices left");
                packet
            })
            .collect();
        let mut open = |n: usize| receiver.open_rtcp(&mut sealed[n].clone()).map(|p| p[8]);
        assert_eq!(open(0), Ok(0));
        assert_eq!(open(0), Err(OpenError::Replayed));
        assert_eq!(open(199), Ok(199));
        assert_eq!(open(72), Ok(72), "127 behind: the oldest in the window");
        assert_eq!(open(71), Err(OpenError::Replayed), "128 behind");
        assert_eq!(open(72), Err(OpenError::Replayed));
        assert_eq!(open(198), Ok(198));
    }
}

#[test]
fn keeps_replay_lists_of_four_sources() {
    let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm);
    let mut outcomes = (1..=5).map(|ssrc| {
        let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, ssrc];
        sender.seal_rtcp(&mut packet).expect("indices left");
        receiver.open_rtcp(&mut packet).map(|packet| packet[7])
    });
    assert!(outcomes.by_ref().take(4).all(|outcome| outcome.is_ok()));
    assert_eq!(outcomes.next(), Some(Err(OpenError::TooManySources)));
}

#[test]
fn never_seals_beyond_the_last_index() {
    let (mut sender, _) = pair(Profile::AesCm128HmacSha1_80);
    sender.index = E - 1;
    let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
    assert_eq!(sender.seal_rtcp(&mut packet), Ok(()));
    assert_eq!(sender.seal_rtcp(&mut packet), Err(Exhausted));
    assert!(packet.is_empty());
}

#[test]
fn refuses_keys_of_the_wrong_length() {
    for profile in PROFILES {
        let salt = vec![0; profile.salt_len()];
        assert!(Sender::new(profile, &[0; 15], &salt).is_err());
        assert!(Sender::new(profile, &[0; 32], &salt).is_err());
        assert!(Receiver::new(profile, &[0; 16], &salt[1..]).is_err());
    }
}

#[test]
fn a_viewer_costs_little_memory() {
    assert!(size_of::<Sender>() + size_of::<Receiver>() <= 1024);
    assert!(size_of::<CmKeys>() <= 1024);
}

fn profile() -> impl Strategy<Value = Profile> {
    prop::sample::select(PROFILES.to_vec())
}

proptest! {
    #[test]
    fn rtp_opens_to_what_was_sealed_and_seals_the_same_again(
        profile in profile(), ssrc: u32, seq: u16, roc: u32,
        payload in prop::collection::vec(any::<u8>(), 0..1300),
    ) {
        let (sender, _) = pair(profile);
        let mut packet = rtp(ssrc, seq, &payload, profile.rtp_overhead());
        let mut again = packet.clone();
        sender.seal_rtp(&mut packet, RTP_HEADER, roc);
        sender.seal_rtp(&mut again, RTP_HEADER, roc);
        prop_assert_eq!(&packet, &again);
        prop_assert_eq!(open_rtp(&sender.rtp, &packet, roc), Some(payload));
        prop_assert_eq!(open_rtp(&sender.rtp, &packet, roc.wrapping_add(1)), None);
    }

    #[test]
    fn rtcp_opens_to_what_was_sealed_once(
        profile in profile(), body in prop::collection::vec(any::<u8>(), 8..200),
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = body.clone();
        prop_assert_eq!(sender.seal_rtcp(&mut packet), Ok(()));
        prop_assert_eq!(packet.len(), body.len() + profile.rtcp_overhead());
        let mut again = packet.clone();
        prop_assert_eq!(receiver.open_rtcp(&mut packet), Ok(&*body));
        prop_assert_eq!(receiver.open_rtcp(&mut again), Err(OpenError::Replayed));
    }

    #[test]
    fn rtcp_with_any_bit_flipped_is_refused_and_spends_nothing(
        profile in profile(), body in prop::collection::vec(any::<u8>(), 8..64),
        bit: prop::sample::Index,
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = body.clone();
        prop_assert_eq!(sender.seal_rtcp(&mut packet), Ok(()));
        let mut forged = packet.clone();
        let bit = bit.index(forged.len() * 8);
        forged[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(receiver.open_rtcp(&mut forged), Err(OpenError::Unauthentic));
        prop_assert_eq!(receiver.open_rtcp(&mut packet), Ok(&*body));
    }

    #[test]
    fn opens_nothing_in_noise(
        profile in profile(), mut noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(pair(profile).1.open_rtcp(&mut noise).is_err());
    }
}
