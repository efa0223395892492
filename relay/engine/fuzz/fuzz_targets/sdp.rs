//! Whatever a session description says of its parameter sets: they are read or passed over. The first byte is the
//! payload type.
#![no_main]

use _engine::rtsp::parameters::ParameterSets;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&payload_type, sdp)) = input.split_first() else {
        return;
    };
    let mut sets = ParameterSets::default();
    sets.learn_sdp(sdp, payload_type);
    // A slice of each PPS that there can be among the first few.
    for slice in [[0x65, 0xb8], [0x65, 0x88], [0x65, 0xa2]] {
        if let Some(active) = sets.active(&slice) {
            assert!((1..=8192).contains(&active.sps.width));
            assert!(active.pps_nals.count() > 0);
        }
    }
});
