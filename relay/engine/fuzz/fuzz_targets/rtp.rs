//! Whatever packets a camera sends: what becomes a frame is sound. The first byte chooses the transport, the rest is
//! packets, each behind what it is, how long after the one before it came, and its length.
#![no_main]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use _engine::rtp::MAX_PAYLOAD;
use _engine::rtsp::Message;
use _engine::rtsp::intake::Intake;
use _engine::rtsp::pictures::Pictures;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut rest)) = input.split_first() else {
        return;
    };
    let patience = Duration::from_millis(u64::from(choice % 2) * 60);
    let mut now = Instant::now();
    let pictures = Pictures::new(b"", 96, None);
    let mut intake = Intake::new(96, patience, pictures, 7, now);
    let said = RefCell::new((false, None::<i64>));
    let out = |message| check(message, &mut said.borrow_mut());
    while let Some((&[kind, l0, l1], beyond)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([l0, l1])).min(beyond.len());
        let (packet, beyond) = beyond.split_at(length);
        rest = beyond;
        now += Duration::from_millis(u64::from(kind >> 1));
        let taken = intake.packet(packet, kind & 1 == 1, now, &out);
        if taken.and_then(|()| intake.timeout(now, &out)).is_err() {
            return;
        }
        assert!(intake.deadline().is_none_or(|deadline| deadline > now));
    }
    let report = intake.report(now);
    assert_eq!(report.len() % 4, 0);
    if intake.newest().is_none() {
        assert!(!intake.unseen().detail.is_empty());
    }
});

/// `said` is whether the start was told, and the last timestamp.
fn check(message: Message, said: &mut (bool, Option<i64>)) {
    match message {
        Message::Started(_) => assert!(!std::mem::replace(&mut said.0, true)),
        Message::Changed(_) => assert!(said.0),
        Message::Frame { frame, .. } => {
            assert!(said.0 && (said.1.is_some() || frame.key));
            let before = said.1.replace(frame.timestamp);
            assert!(before.is_none_or(|before| before < frame.timestamp));
            let lengths = frame.packets.payloads().map(<[u8]>::len);
            assert!(
                lengths
                    .into_iter()
                    .all(|length| (1..=MAX_PAYLOAD).contains(&length))
            );
        }
        Message::Ended { .. } => panic!("an intake does not end by itself"),
    }
}
