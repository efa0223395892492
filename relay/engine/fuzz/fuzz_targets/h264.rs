//! Any frame of a camera can be read and packetised. The first byte chooses the payload size, the
//! rest is NAL units behind their lengths.
#![no_main]

use _engine::h264::{self, Sps, nal_type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, frame)) = input.split_first() else {
        return;
    };
    let nals: Vec<&[u8]> = h264::nals_avcc(frame).map_while(Result::ok).collect();
    for nal in &nals {
        let _ = h264::is_b_slice(nal);
        if let Ok(sps) = Sps::parse(nal) {
            assert_eq!(h264::nal_type(nal), Some(nal_type::SPS));
            assert!((1..=8192).contains(&sps.width) && (1..=8192).contains(&sps.height));
            assert!(sps.fps.is_none_or(|fps| fps > 0.0 && fps.is_finite()));
        }
    }
    let max_payload = 64 + usize::from(*choice) * 5;
    let packetized = h264::packetize(&nals, max_payload);
    let lengths: Vec<usize> = packetized.payloads().map(<[u8]>::len).collect();
    assert!(
        lengths
            .iter()
            .all(|length| (1..=max_payload).contains(length))
    );
    assert_eq!(lengths.iter().sum::<usize>(), packetized.data.len());
});
