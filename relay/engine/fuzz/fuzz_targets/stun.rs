//! Any datagram parses or is refused; what parses can be verified and answered.
#![no_main]

use _engine::stun::{self, Key};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let Ok(message) = stun::parse(datagram) else {
        return;
    };
    // The password of RFC 5769, whose messages are in the corpus.
    let key = Key::new("VOkJxbRl1RmTxUk/WvJxBt");
    assert!(message.has_integrity() || !message.verify(&key));
    let _ = message.ufrags();
    let mapped = message
        .mapped_address
        .unwrap_or_else(|| ([192, 0, 2, 1], 1).into());

    let mut out = Vec::new();
    stun::success(message.transaction_id, mapped, &key, &mut out);
    let answer = stun::parse(&out).expect("our own response");
    assert_eq!(answer.transaction_id, message.transaction_id);
    let canonical = (mapped.ip().to_canonical(), mapped.port()).into();
    assert_eq!(answer.mapped_address, Some(canonical));
    assert!(answer.verify(&key));

    out.clear();
    stun::unknown_attributes(
        message.transaction_id,
        message.unknown_required(),
        &key,
        &mut out,
    );
    assert_eq!(
        stun::parse(&out).expect("our own response").error_code,
        Some(420)
    );
});
