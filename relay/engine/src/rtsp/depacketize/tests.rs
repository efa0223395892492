//! What cameras send, sound and broken, and the packetiser as the inverse.

use proptest::prelude::*;

use super::*;

type Got = (u32, bool, Vec<Vec<u8>>);

struct Camera {
    depacketizer: Depacketizer,
    got: Vec<Got>,
    lost: bool,
}

impl Camera {
    fn new() -> Self {
        Self {
            depacketizer: Depacketizer::default(),
            got: Vec::new(),
            lost: false,
        }
    }

    fn send(&mut self, timestamp: u32, marker: bool, payload: &[u8]) {
        let header = Header {
            marker,
            payload_type: 96,
            sequence: 0,
            timestamp,
            ssrc: 1,
        };
        let got = &mut self.got;
        let lost = std::mem::take(&mut self.lost);
        self.depacketizer.push(&header, payload, lost, |unit| {
            let nals = unit.nals().map(<[u8]>::to_vec).collect();
            got.push((unit.timestamp, unit.damaged, nals));
        });
    }

    fn lose(&mut self) {
        self.lost = true;
    }

    fn units(&mut self) -> Vec<Got> {
        std::mem::take(&mut self.got)
    }
}

const SPS: [u8; 3] = [0x67, 0x42, 0xc0];
const PPS: [u8; 2] = [0x68, 0xce];
/// With first_mb_in_slice 0, and beyond.
const IDR: [u8; 3] = [0x65, 0x88, 0x80];
const IDR_2: [u8; 3] = [0x65, 0x40, 0x80];
const P: [u8; 3] = [0x41, 0x9a, 0x80];
const P_2: [u8; 3] = [0x41, 0x5a, 0x80];

fn unit(timestamp: u32, nals: &[&[u8]]) -> Got {
    (
        timestamp,
        false,
        nals.iter().map(|nal| nal.to_vec()).collect(),
    )
}

#[test]
fn a_proven_marker_ends_a_picture_at_once() {
    let mut camera = Camera::new();
    camera.send(1, true, &IDR);
    assert_eq!(camera.units(), [], "not proven yet");
    camera.send(2, true, &P);
    assert_eq!(camera.units(), [unit(1, &[&IDR]), unit(2, &[&P])]);
    camera.send(3, true, &P);
    assert_eq!(camera.units(), [unit(3, &[&P])]);
}

#[test]
fn without_markers_the_next_timestamp_ends_a_picture() {
    let mut camera = Camera::new();
    for (timestamp, nal) in [(1, IDR), (1, IDR_2), (2, P), (2, P_2), (3, P)] {
        camera.send(timestamp, false, &nal);
    }
    let expected = [unit(1, &[&IDR, &IDR_2]), unit(2, &[&P, &P_2])];
    assert_eq!(camera.units(), expected);
}

#[test]
fn markers_on_every_packet_are_seen_through() {
    let mut camera = Camera::new();
    let fragments = [
        [0x7c, 0x85, 0x88, 1],
        [0x7c, 0x05, 2, 3],
        [0x7c, 0x45, 4, 5],
    ];
    camera.send(1, true, &SPS);
    camera.send(1, true, &PPS);
    fragments
        .iter()
        .for_each(|payload| camera.send(1, true, payload));
    camera.send(1, true, &IDR_2);
    for (timestamp, nal) in [(2, P), (2, P_2), (3, P), (3, P_2), (4, P)] {
        camera.send(timestamp, true, &nal);
    }
    let whole = [0x65, 0x88, 1, 2, 3, 4, 5];
    let expected = [
        unit(1, &[&SPS, &PPS, &whole, &IDR_2]),
        unit(2, &[&P, &P_2]),
        unit(3, &[&P, &P_2]),
    ];
    assert_eq!(camera.units(), expected);
}

#[test]
fn markers_that_begin_to_lie_cost_one_picture() {
    let mut camera = Camera::new();
    for (timestamp, nal) in [(1, IDR), (2, P), (3, P), (3, P_2), (4, P), (4, P_2), (5, P)] {
        camera.send(timestamp, true, &nal);
    }
    let units = camera.units();
    assert_eq!(
        units[..3],
        [unit(1, &[&IDR]), unit(2, &[&P]), unit(3, &[&P])]
    );
    assert_eq!(units[3], (3, true, vec![P_2.to_vec()]));
    assert_eq!(units[4..], [unit(4, &[&P, &P_2])]);
}

#[test]
fn a_timestamp_that_stands_still_leaves_markers_to_end_pictures() {
    let mut camera = Camera::new();
    for nal in [IDR, P, P] {
        camera.send(7, true, &nal);
    }
    assert_eq!(
        camera.units(),
        [unit(7, &[&IDR]), unit(7, &[&P]), unit(7, &[&P])]
    );
}

#[test]
fn parameter_sets_under_timestamps_of_their_own_go_with_the_next_picture() {
    let mut camera = Camera::new();
    for (timestamp, nal) in [(1, &SPS[..]), (2, &PPS), (3, &IDR), (4, &P), (5, &P)] {
        camera.send(timestamp, true, nal);
    }
    let expected = [unit(3, &[&SPS, &PPS, &IDR]), unit(4, &[&P]), unit(5, &[&P])];
    assert_eq!(camera.units(), expected);
}

#[test]
fn start_codes_inside_a_packet_are_taken_apart() {
    let annex_b = [
        &[0, 0, 0, 1],
        &SPS[..],
        &[0, 0, 1],
        &PPS,
        &[0, 0, 0, 1],
        &IDR,
    ]
    .concat();
    let expected = unit(1, &[&SPS, &PPS, &IDR]);
    let stap = [&[0x78, 0, annex_b.len() as u8], &annex_b[..]].concat();
    let (head, tail) = annex_b.split_at(10);
    // Fragmented as if it were one NAL unit, whose header is the first byte, cut in the midst of a start code.
    let fragments = [
        [&[0x1c, 0x80], &head[1..]].concat(),
        [&[0x1c, 0x40], tail].concat(),
    ];
    for packets in [
        vec![annex_b.clone()],
        vec![annex_b[4..].to_vec()],
        vec![stap],
        fragments.to_vec(),
    ] {
        let mut camera = Camera::new();
        packets
            .iter()
            .for_each(|payload| camera.send(1, false, payload));
        camera.send(2, false, &P);
        assert_eq!(camera.units(), vec![expected.clone()], "{packets:x?}");
    }
}

#[test]
fn fragments_without_an_end_are_whole_where_nothing_is_lost() {
    let mut camera = Camera::new();
    for timestamp in 1..=2 {
        camera.send(timestamp, false, &[0x7c, 0x85, 0x88, 1]);
        camera.send(timestamp, true, &[0x7c, 0x05, 2, 3]);
    }
    assert_eq!(camera.units(), [unit(1, &[&[0x65, 0x88, 1, 2, 3]])]);
    camera.lose();
    camera.send(3, true, &P);
    assert_eq!(camera.units(), [(2, true, vec![vec![0x65, 0x88, 1, 2, 3]])]);
}

#[test]
fn a_loss_damages_the_picture_it_falls_into_and_no_other() {
    let start = || {
        let mut camera = Camera::new();
        camera.send(1, true, &IDR);
        camera.send(2, true, &P);
        camera.units();
        camera
    };
    let damaged = |units: &[Got]| {
        units
            .iter()
            .map(|(t, damaged, _)| (*t, *damaged))
            .collect::<Vec<_>>()
    };

    let mut camera = start();
    camera.lose();
    camera.send(4, true, &P);
    assert_eq!(
        damaged(&camera.units()),
        [(4, false)],
        "a whole picture is missing"
    );

    let mut camera = start();
    camera.lose();
    camera.send(3, true, &P_2);
    assert_eq!(damaged(&camera.units()), [(3, true)], "its head is missing");

    let mut camera = start();
    camera.send(3, false, &P);
    camera.lose();
    camera.send(4, true, &P);
    assert_eq!(
        damaged(&camera.units()),
        [(3, true), (4, false)],
        "its tail"
    );

    let mut camera = start();
    camera.send(3, false, &[0x5c, 0x81, 0x9a, 1]);
    camera.lose();
    camera.send(3, true, &[0x5c, 0x41, 2]);
    assert_eq!(damaged(&camera.units()), [(3, true)], "its middle");

    let mut camera = start();
    camera.lose();
    camera.send(3, true, &[0x5c, 0x41, 2]);
    camera.send(4, true, &P);
    let units = camera.units();
    assert!(
        units
            .iter()
            .all(|(timestamp, damaged, _)| *damaged == (*timestamp == 3))
    );
}

#[test]
fn what_never_ends_is_bounded() {
    let mut camera = Camera::new();
    let bytes = [[0x7c, 0x85].as_slice(), &[7; 60_000]].concat();
    camera.send(1, false, &bytes);
    let further = [[0x7c, 0x05].as_slice(), &[7; 60_000]].concat();
    for _ in 0..1000 {
        camera.send(1, false, &further);
        assert!(camera.depacketizer.open.data.capacity() <= 2 * MAX_BYTES);
    }
    let stap = [[0x78].as_slice(), &[0, 1, 0x41].repeat(20_000)].concat();
    for _ in 0..100 {
        camera.send(1, false, &stap);
        assert!(camera.depacketizer.open.nals.capacity() <= 65_536);
    }
    camera.send(2, true, &P);
    camera.send(3, true, &P);
    assert!(
        camera
            .units()
            .iter()
            .all(|(t, damaged, _)| *damaged == (*t == 1))
    );
}

/// NAL units as an encoder makes them: no start code inside, no zero at the end.
fn nal(kind: u8, first: bool) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(4u8..=255, 1..4000).prop_map(move |mut bytes| {
        bytes[0] = if first { 0x88 } else { 0x48 };
        bytes.insert(0, 0x60 | kind);
        bytes
    })
}

fn picture() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let sets = prop::collection::vec(nal(nal_type::SEI, false), 0..3);
    let further = prop::collection::vec(nal(nal_type::SLICE, false), 0..3);
    (sets, nal(nal_type::SLICE, true), further).prop_map(|(mut nals, first, further)| {
        nals.push(first);
        nals.extend(further);
        nals
    })
}

proptest! {
    /// Whatever was packetised comes back; with packets lost, what is called whole is.
    #[test]
    fn undoes_the_packetiser(
        pictures in prop::collection::vec(picture(), 1..12),
        size in 64usize..1400,
        losses in prop::collection::vec(0u8..100, 400),
        lossy: bool,
        marked: bool,
    ) {
        let mut camera = Camera::new();
        let mut losses = losses.into_iter().cycle();
        for (picture, timestamp) in pictures.iter().zip(1u32..) {
            let nals: Vec<&[u8]> = picture.iter().map(Vec::as_slice).collect();
            let packets = h264::packetize(&nals, size);
            let count = packets.ends.len();
            for (index, payload) in packets.payloads().enumerate() {
                if lossy && losses.next() < Some(5) {
                    camera.lose();
                } else {
                    camera.send(timestamp, marked && index + 1 == count, payload);
                }
            }
        }
        camera.send(1000, true, &P);
        camera.send(1001, true, &P);
        let whole: Vec<Got> = camera.units().into_iter().filter(|(t, damaged, _)| *t < 1000 && !damaged).collect();
        for (timestamp, _, nals) in &whole {
            // SEI at the head may be lost without a trace in the picture.
            let sent = &pictures[*timestamp as usize - 1];
            let slices = |nals: &[Vec<u8>]| nals.iter().filter(|nal| nal[0] & 0x1f == 1).cloned().collect::<Vec<_>>();
            prop_assert_eq!(slices(nals), slices(sent));
        }
        if !lossy {
            let expected: Vec<Got> = pictures.into_iter().zip(1u32..).map(|(nals, t)| (t, false, nals)).collect();
            prop_assert_eq!(whole, expected);
        }
    }

    #[test]
    fn any_bytes_can_be_taken(
        packets in prop::collection::vec((0u32..3, any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..60),
    ) {
        let mut camera = Camera::new();
        for (timestamp, marker, lost, payload) in packets {
            camera.lost = lost;
            camera.send(timestamp, marker, &payload);
        }
        let units = camera.units();
        prop_assert!(units.iter().flat_map(|(_, _, nals)| nals).all(|nal| nal.last() > Some(&0)));
    }
}
