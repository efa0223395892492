//! Any stream is taken apart alike however it is cut: into frames that, written again, are its beginning.
#![no_main]

use _engine::framing::{Deframer, MAX_FRAME, prefix};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let (whole, failed) = frames(stream, stream.len());
    let (pieces, failed_too) = frames(stream, usize::from(*cut) + 1);
    assert_eq!((&whole, failed), (&pieces, failed_too));
    let framed: Vec<u8> = whole
        .iter()
        .flat_map(|frame| [&prefix(frame.len()), &frame[..]].concat())
        .collect();
    let without_empty = without_empty_frames(stream);
    assert!(without_empty.starts_with(&framed));
});

fn frames(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut deframer, mut seen) = (Deframer::default(), Vec::new());
    for chunk in stream.to_vec().chunks_mut(piece.max(1)) {
        let taken = deframer.push(chunk, |frame| {
            assert!((1..=MAX_FRAME).contains(&frame.len()));
            seen.push(frame.to_vec());
        });
        if taken.is_err() {
            return (seen, true);
        }
    }
    (seen, false)
}

fn without_empty_frames(mut stream: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk::<2>() {
        let frame = &rest[..rest.len().min(usize::from(u16::from_be_bytes(*length)))];
        if *length != [0, 0] {
            kept.extend_from_slice(length);
            kept.extend_from_slice(frame);
        }
        stream = &rest[frame.len()..];
    }
    kept
}
