//! Any compound packet ends; nothing in it yields more than its bytes can hold.
#![no_main]

use _engine::rtcp::{self, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|compound: &[u8]| {
    let mut packets = 0;
    for packet in rtcp::parse(compound) {
        packets += 1;
        let words = match packet {
            Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                blocks.count() * 6
            }
            Packet::Nack { lost, .. } => lost.count().div_ceil(17),
            Packet::Fir { entries } => entries.count() * 2,
            _ => 0,
        };
        assert!(words <= compound.len() / 4);
    }
    assert!(packets <= compound.len() / 4);
});
