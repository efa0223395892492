//! Whatever a viewer reports and asks for, he is sent no more than he may be. The input is compound RTCP packets as
//! opened, each behind a byte for the time that passed and one for its length in words.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use _engine::address::TransportAddress;
use _engine::h264::Packetized;
use _engine::media::{Media, Negotiated, Rtx};
use _engine::srtp::{Profile, Receiver, Sender};
use _engine::stream::Stream;
use _engine::transmit::Transmit;
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Count {
    bytes: usize,
    room: Vec<u8>,
}

impl Transmit for Count {
    fn message(&mut self, _: TransportAddress, _: usize, len: usize) -> &mut [u8] {
        self.bytes += len;
        self.room.clear();
        self.room.resize(len, 0);
        &mut self.room
    }
}

fn frame(packets: usize) -> Packetized {
    Packetized {
        data: vec![7; packets * 1000],
        ends: (1..=packets as u32).map(|i| i * 1000).collect(),
    }
}

fuzz_target!(|input: &[u8]| {
    let (key, salt) = ([1; 16], [2; 12]);
    let profile = Profile::AeadAes128Gcm;
    let sender = Sender::new(profile, &key, &salt).expect("right lengths");
    let receiver = Receiver::new(profile, &key, &salt).expect("right lengths");
    let negotiated = Negotiated {
        payload_type: 96,
        ssrc: 2,
        cname: "x".into(),
        mid: None,
        playout_delay: None,
        rtx: input.len().is_multiple_of(2).then_some(Rtx {
            payload_type: 97,
            ssrc: 3,
        }),
    };
    let start = Instant::now();
    let to: TransportAddress = SocketAddr::from(([192, 0, 2, 1], 1)).into();
    let (mut now, mut stream, mut out) = (start, Stream::new(), Count::default());
    stream.push(frame(20), 0, true, now);
    let mut media = Media::new(&negotiated, sender, receiver, (9, 9), (1, &stream), now);
    media.catch_up(&stream, to, now, &mut out);
    let (mut rest, mut frames, mut pushed) = (input, 0i64, 20_000);
    while let [ms, words, tail @ ..] = rest {
        now += Duration::from_millis(u64::from(*ms) * 4);
        let (compound, tail) = tail.split_at(tail.len().min(usize::from(*words) * 4));
        rest = tail;
        media.feedback(compound, (&stream, None), 0x1_0000, to, now, &mut out);
        frames += 1;
        let packets = 3;
        stream.push(frame(packets), frames * 3600, false, now);
        pushed += packets * 1000;
        media.frame(&stream, to, now, &mut out);
        media.catch_up(&stream, to, now, &mut out);
    }
    // Once, once more by half for what was lost and a burst of that, and the pictures asked for, each by half as well.
    let seconds = (now - start).as_secs() as usize + 1;
    let pictures = (4 << 20) + seconds * (512 << 10);
    assert!(out.bytes <= (pushed + pictures) * 2 + 256 * 1200);
});
