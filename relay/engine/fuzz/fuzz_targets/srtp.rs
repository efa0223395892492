//! With good keys in place, nothing forged opens, and what was sealed opens once. The first byte
//! chooses the profile, the rest is a datagram.
#![no_main]

use _engine::srtp::{OpenError, Profile, Receiver, Sender};
use _engine::{demux, rtcp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, datagram)) = input.split_first() else {
        return;
    };
    let profile = match choice & 1 {
        0 => Profile::AeadAes128Gcm,
        _ => Profile::AesCm128HmacSha1_80,
    };
    let (key, salt) = ([1; 16], [2; 14]);
    let salt = &salt[..profile.salt_len()];
    let mut receiver = Receiver::new(profile, &key, salt).expect("right lengths");
    let kind = demux::classify(datagram);
    let forged = receiver.open_rtcp(&mut datagram.to_vec()).err();
    assert!(matches!(
        forged,
        Some(OpenError::Truncated | OpenError::Unauthentic)
    ));

    let mut sender = Sender::new(profile, &key, salt).expect("right lengths");
    if datagram.len() >= 8 {
        let mut sealed = datagram.to_vec();
        sender.seal_rtcp(&mut sealed).expect("the first index");
        assert_eq!(demux::classify(&sealed), kind);
        let mut again = sealed.clone();
        let opened = receiver.open_rtcp(&mut sealed).expect("authentic");
        assert_eq!(opened, datagram);
        let _ = rtcp::parse(opened).count();
        assert_eq!(receiver.open_rtcp(&mut again), Err(OpenError::Replayed));
    }
});
