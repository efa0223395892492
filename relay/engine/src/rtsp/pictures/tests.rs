//! Cameras against the whole way from packets to frames, in virtual time.

use std::cell::RefCell;

use super::*;
use crate::rtsp::intake::Intake;
use crate::vectors::hex;

/// Of x264. The small one rules B-frames out, the large one does not.
const SMALL: &str = "6742c015d90141fb016a0c0c0d4a000003000200000300651e2c5c90";
const LARGE: &str = "67640028acd940780227e5c05a808080a000007d20001d4c11e30632c0";
const PPS: &str = "68cb8cb2";
const IDR: &str = "6588848080";
const P: &str = "419a808080";
const B: &str = "01a8808080";

struct Camera {
    intake: Intake,
    now: Instant,
    sequence: u16,
    timestamp: u32,
    said: RefCell<Vec<Message>>,
    failure: Option<Failure>,
}

impl Camera {
    fn new(sdp: &str, patience: Duration) -> Self {
        let now = Instant::now();
        let pictures = Pictures::new(sdp.as_bytes(), 96, Some(15.0));
        Self {
            intake: Intake::new(96, patience, pictures, 7, now),
            now,
            sequence: 65_530,
            timestamp: 900_000,
            said: RefCell::default(),
            failure: None,
        }
    }

    fn over_tcp() -> Self {
        Self::new("", Duration::ZERO)
    }

    fn packet(&mut self, marker: bool, nal: &str) -> Vec<u8> {
        let mut packet = vec![0x80, 96 | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        packet.extend(hex(nal));
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    fn deliver(&mut self, packet: &[u8]) {
        let out = |message| self.said.borrow_mut().push(message);
        if let Err(failure) = self.intake.packet(packet, false, self.now, &out) {
            self.failure.get_or_insert(failure);
        }
    }

    /// A picture, or what goes with one, each NAL unit in a packet.
    fn send(&mut self, nals: &[&str]) {
        for (index, nal) in nals.iter().enumerate() {
            let packet = self.packet(index + 1 == nals.len(), nal);
            self.deliver(&packet);
        }
        self.tick();
    }

    fn tick(&mut self) {
        self.now += Duration::from_millis(40);
        self.timestamp = self.timestamp.wrapping_add(3600);
    }

    /// Each message in a word; a key frame is upper case, with the width where it is told.
    fn said(&mut self) -> String {
        let words = self.said.take().into_iter().map(|message| match message {
            Message::Started(video) => format!("started:{}", video.width),
            Message::Changed(video) => format!("changed:{}", video.width),
            Message::Frame { frame, .. } if frame.key => "KEY".to_owned(),
            Message::Frame { .. } => "p".to_owned(),
            Message::Ended { .. } => "ended".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn frames(&mut self) -> Vec<SourceFrame> {
        let frames = self
            .said
            .take()
            .into_iter()
            .filter_map(|message| match message {
                Message::Frame { frame, .. } => Some(frame),
                _ => None,
            });
        frames.collect()
    }

    fn fault(&self) -> Fault {
        match &self.failure {
            Some(failure) => failure.fault,
            None => self.intake.unseen().fault,
        }
    }
}

#[test]
fn parameter_sets_that_come_late_begin_the_picture_when_they_are_there() {
    let mut camera = Camera::over_tcp();
    camera.send(&[IDR]);
    camera.send(&[P]);
    assert_eq!(camera.fault(), Fault::NoParameterSets);
    camera.send(&[SMALL]);
    camera.send(&[P]);
    camera.send(&[PPS]);
    camera.send(&[P]);
    assert_eq!(camera.said(), "");
    camera.send(&[IDR]);
    camera.send(&[P]);
    assert_eq!(camera.said(), "started:320 KEY p");
}

#[test]
fn parameter_sets_go_before_every_key_frame() {
    let sdp = format!(
        "a=fmtp:96 sprop-parameter-sets={}",
        "Z0LAFdkBQfsBagwMDUoAAAMAAgAAAwBlHixckA==,aMuMsg=="
    );
    let mut camera = Camera::new(&sdp, Duration::ZERO);
    camera.send(&[IDR]);
    camera.send(&[P]);
    camera.send(&[IDR]);
    let frames = camera.frames();
    let payloads: Vec<Vec<&[u8]>> = frames
        .iter()
        .map(|frame| frame.packets.payloads().collect())
        .collect();
    let stap = [&[0x78, 0, 27], &hex(SMALL)[..27], &[0, 4], &hex(PPS)].concat();
    for key in [0, 2] {
        assert_eq!(payloads[key][1], hex(IDR));
        assert_eq!(payloads[key][0][0] & 0x1f, nal_type::STAP_A);
        assert_eq!(payloads[key][0].len(), stap.len() + hex(SMALL).len() - 27);
    }
    assert_eq!(payloads[1], [hex(P)]);
}

#[test]
fn an_sps_that_changes_is_told_with_its_key_frame() {
    let mut camera = Camera::over_tcp();
    camera.send(&[SMALL, PPS, IDR]);
    camera.send(&[LARGE]);
    camera.send(&[P]);
    assert_eq!(camera.said(), "started:320 KEY p");
    camera.send(&[IDR]);
    camera.send(&[SMALL, PPS, IDR]);
    camera.send(&[SMALL, PPS, IDR]);
    assert_eq!(camera.said(), "changed:1920 KEY changed:320 KEY KEY");
}

#[test]
fn timestamps_that_jump_backwards_run_on() {
    let mut camera = Camera::over_tcp();
    camera.send(&[SMALL, PPS, IDR]);
    camera.send(&[P]);
    camera.timestamp = 5;
    camera.send(&[P]);
    camera.send(&[P]);
    camera.timestamp = u32::MAX - 3000;
    camera.send(&[P]);
    camera.send(&[P]);
    let timestamps: Vec<i64> = camera
        .frames()
        .iter()
        .map(|frame| frame.timestamp)
        .collect();
    assert_eq!(timestamps, [0, 3600, 7200, 10_800, 14_400, 18_000]);
    assert!(camera.failure.is_none(), "no B-frames");
}

#[test]
fn b_frames_are_refused_before_anything_is_shown() {
    let mut camera = Camera::over_tcp();
    camera.send(&[LARGE, PPS, IDR]);
    camera.send(&[P]);
    camera.send(&[B]);
    assert_eq!(
        (camera.said().as_str(), camera.fault()),
        ("", Fault::BFrames)
    );

    let mut camera = Camera::over_tcp();
    camera.send(&[LARGE, PPS, IDR]);
    (0..3).for_each(|_| camera.send(&[P]));
    assert_eq!(camera.said(), "", "they might still come");
    camera.send(&[P]);
    assert_eq!(camera.said(), "started:1920 KEY p p p p");

    let mut slow = Camera::over_tcp();
    slow.send(&[LARGE, PPS, IDR]);
    slow.send(&[P]);
    slow.now += Duration::from_secs(1);
    slow.send(&[P]);
    assert_eq!(slow.said(), "started:1920 KEY p p");
}

#[test]
fn what_udp_moves_about_is_put_in_order() {
    let mut camera = Camera::new("", Duration::from_millis(60));
    camera.send(&[SMALL, PPS, IDR]);
    camera.send(&[P]);
    let mut packets = Vec::new();
    for _ in 0..3 {
        packets.push(camera.packet(true, P));
        camera.timestamp += 3600;
    }
    for index in [2, 0, 1] {
        camera.deliver(&packets[index].clone());
    }
    assert_eq!(camera.said(), "started:320 KEY p p p p");
    let _lost = camera.packet(true, P);
    camera.tick();
    camera.send(&[P]);
    assert_eq!(camera.said(), "", "the gap may close yet");
    assert!(camera.intake.deadline().is_some());
    camera.tick();
    camera.send(&[P]);
    assert_eq!(camera.said(), "p p");
}

#[test]
fn what_is_missing_at_the_start_is_named() {
    assert_eq!(Camera::over_tcp().fault(), Fault::NoMedia);

    let mut camera = Camera::over_tcp();
    (0..9).for_each(|_| camera.send(&[SMALL, PPS, P]));
    assert_eq!(camera.fault(), Fault::NoKeyFrame);

    let mut camera = Camera::over_tcp();
    (0..9).for_each(|_| camera.send(&["6742c015", PPS, IDR]));
    assert_eq!(camera.fault(), Fault::NoParameterSets);
    assert!(camera.intake.unseen().detail.contains("SPS"));

    let mut camera = Camera::over_tcp();
    for _ in 0..9 {
        camera.packet(false, "7c8588");
        camera.send(&["7c0584", "7c4580"]);
    }
    assert_eq!(camera.fault(), Fault::PacketLoss);

    let mut camera = Camera::over_tcp();
    (0..9).for_each(|_| camera.send(&["79000165"]));
    assert_eq!(camera.fault(), Fault::ProtocolError, "STAP-B");

    let mut camera = Camera::over_tcp();
    for _ in 0..9 {
        let mut packet = camera.packet(true, IDR);
        packet[1] = 97;
        camera.deliver(&packet);
    }
    assert_eq!(camera.fault(), Fault::ProtocolError, "another payload type");
}
