//! What x264 makes, hand-made parameter sets, and properties of splitting and joining.

use proptest::prelude::*;

use super::*;
use crate::vectors::hex;

/// Writes bits, and escapes them into a NAL unit.
#[derive(Default)]
struct Writer(Vec<bool>);

impl Writer {
    fn bits(mut self, value: u64, count: u32) -> Self {
        self.0
            .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn ue(self, value: u64) -> Self {
        let digits = (value + 1).ilog2();
        self.bits(0, digits).bits(value + 1, digits + 1)
    }

    fn nal(self, header: u8) -> Vec<u8> {
        let bits = self.bits(1, 1).0;
        let mut nal = vec![header];
        for chunk in bits.chunks(8) {
            let byte = (0..8).fold(0, |byte, bit| {
                byte << 1 | chunk.get(bit).map_or(0, |&b| b as u8)
            });
            if byte <= 3 && nal[1..].ends_with(&[0, 0]) {
                nal.push(3);
            }
            nal.push(byte);
        }
        nal
    }
}

/// A baseline SPS of so many macroblocks.
fn sps_of(width: u32, height: u32) -> Vec<u8> {
    let start = Writer::default()
        .bits(0x42_c01e, 24)
        .ue(0)
        .ue(0)
        .ue(2)
        .ue(1)
        .bits(0, 1);
    let sides = start.ue(u64::from(width) - 1).ue(u64::from(height) - 1);
    sides.bits(0b1100, 4).nal(0x67)
}

/// Joins payloads again; panics where a receiver could not.
fn depacketize(packetized: &Packetized) -> Vec<Vec<u8>> {
    let mut nals = Vec::new();
    let mut fragmented: Option<Vec<u8>> = None;
    for payload in packetized.payloads() {
        match payload[0] & 0x1f {
            nal_type::STAP_A => {
                let mut rest = &payload[1..];
                while !rest.is_empty() {
                    let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    nals.push(rest[2..2 + length].to_vec());
                    rest = &rest[2 + length..];
                }
            }
            nal_type::FU_A => {
                let (start, end) = (payload[1] & 0x80 != 0, payload[1] & 0x40 != 0);
                assert_eq!(start, fragmented.is_none());
                assert!(!(start && end), "RFC 6184, 5.8: never both");
                let header = payload[0] & 0xe0 | payload[1] & 0x1f;
                let nal = fragmented.get_or_insert_with(|| vec![header]);
                nal.extend_from_slice(&payload[2..]);
                if end {
                    nals.extend(fragmented.take());
                }
            }
            _ => nals.push(payload.to_vec()),
        }
    }
    assert_eq!(fragmented, None);
    nals
}

#[test]
fn reads_the_parameter_sets_of_x264() {
    let baseline = "6742c015d90141fb016a0c0c0d4a000003000200000300651e2c5c90";
    let high = "67640028acd940780227e5c05a808080a000007d20001d4c11e30632c0";
    let interlaced = "6764001eacd940b424d80a5060606a5000000300100000030329f1429960";
    for (sps, profile_level_id, width, height, fps, may_reorder) in [
        (baseline, [0x42, 0xc0, 0x15], 320, 240, 25.0, false),
        (high, [0x64, 0x00, 0x28], 1920, 1080, 30000.0 / 1001.0, true),
        (interlaced, [0x64, 0x00, 0x1e], 720, 576, 25.0, true),
    ] {
        let expected = Sps {
            profile_level_id,
            width,
            height,
            fps: Some(fps),
            may_reorder,
        };
        assert_eq!(Sps::parse(&hex(sps)), Ok(expected.clone()));
        let padded = [hex(sps), vec![0; 3]].concat();
        assert_eq!(Sps::parse(&padded), Ok(expected), "as some cameras pad it");
    }
}

#[test]
fn refuses_what_is_no_sps() {
    let sps = sps_of(20, 15);
    assert!(Sps::parse(&sps).is_ok());
    for end in 0..sps.len() - 1 {
        assert!(Sps::parse(&sps[..end]).is_err(), "cut at {end}");
    }
    assert!(Sps::parse(&hex("68cb8cb2")).is_err(), "a PPS");
    assert!(
        Sps::parse(&[&sps[..], &[0; 5000]].concat()).is_err(),
        "too long"
    );
    assert!(Sps::parse(&sps_of(1 << 31, 1 << 31)).is_err());
}

#[test]
fn tells_the_b_slices_of_x264() {
    let progressive = "6588840015 419a236c41 419e417882 019e626a43 419a6649a8 419e844511";
    let interlaced = "6500cb0882 4100cb1a21 4100cb1e40 0100cb1e61";
    let b: Vec<_> = progressive
        .split(' ')
        .map(|nal| is_b_slice(&hex(nal)))
        .collect();
    assert_eq!(b, [false, false, true, true, false, true].map(Some));
    let b: Vec<_> = interlaced
        .split(' ')
        .map(|nal| is_b_slice(&hex(nal)))
        .collect();
    assert_eq!(b, [false, false, true, true].map(Some));
    for no_slice in ["", "65", "4100", "6742c015d9", "410000", "41ff", "0120"] {
        let expected = (no_slice == "41ff").then_some(false);
        assert_eq!(is_b_slice(&hex(no_slice)), expected, "{no_slice}");
    }
}

#[test]
fn a_key_frame_is_a_stap_a_and_equal_fragments() {
    let (sps, pps, sei) = (hex("67640028acd9"), hex("68ebecb22c"), hex("0605ff80"));
    let idr: Vec<u8> = std::iter::once(0x65)
        .chain((0..2500).map(|n| n as u8))
        .collect();
    let frame = packetize(
        &[&[0x09, 0xf0], &sps, &pps, &[0x0c, 0xff], &sei, &idr],
        1200,
    );
    let payloads: Vec<_> = frame.payloads().collect();
    let stap = [&[0x78, 0, 6][..], &sps, &[0, 5], &pps, &[0, 4], &sei].concat();
    assert_eq!(payloads[0], stap);
    let lengths: Vec<_> = payloads.iter().map(|payload| payload.len()).collect();
    assert_eq!(lengths[1..], [836, 836, 834]);
    assert_eq!(
        payloads.iter().map(|p| p[1]).skip(1).collect::<Vec<_>>(),
        [0x85, 0x05, 0x45]
    );
    assert_eq!(depacketize(&frame), [sps, pps, sei, idr]);
}

#[test]
fn what_does_not_fit_into_a_stap_a_goes_alone() {
    let (sps, sei) = (vec![0x67; 40], vec![0x06; 30]);
    let frame = packetize(&[&sps, &sei], 64);
    assert_eq!(frame.payloads().collect::<Vec<_>>(), [&sps[..], &sei]);
}

#[test]
fn drops_what_rtp_has_no_room_for() {
    let frame = packetize(
        &[
            &[],
            &[0x09, 0x10],
            &[0x18, 1],
            &[0x1f],
            &[0x60],
            &[0x0c, 0xff],
        ],
        1200,
    );
    assert_eq!(frame, Packetized::default());
}

#[test]
fn avcc_ends_at_a_length_that_is_too_long() {
    let frame = [0, 0, 0, 2, 9, 16, 0, 0, 0, 0, 0, 0, 0, 2, 1];
    let nals: Vec<_> = nals_avcc(&frame).collect();
    assert_eq!(nals, [Ok(&[9, 16][..]), Err(Truncated)]);
    assert_eq!(nals_avcc(&[0, 0, 1]).collect::<Vec<_>>(), [Err(Truncated)]);
}

fn nal() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![0usize..40, 0usize..4000];
    (1u8..24, 0u8..4, body).prop_map(|(kind, nri, length)| {
        let body = (0..length).map(|n| (n * 31) as u8);
        std::iter::once(nri << 5 | kind).chain(body).collect()
    })
}

fn access_unit() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(nal(), 0..12)
}

fn borrowed(nals: &[Vec<u8>]) -> Vec<&[u8]> {
    nals.iter().map(Vec::as_slice).collect()
}

proptest! {
    #[test]
    fn a_receiver_joins_what_was_split(mut nals in access_unit(), max in 64usize..1500) {
        let packetized = packetize(&borrowed(&nals), max);
        nals.retain(|nal| !matches!(nal_type(nal), Some(nal_type::AUD | nal_type::FILLER)));
        prop_assert_eq!(depacketize(&packetized), nals);
        prop_assert_eq!(packetized.ends.last().map_or(0, |end| *end as usize), packetized.data.len());
        prop_assert!(packetized.payloads().all(|payload| (1..=max).contains(&payload.len())));
    }

    #[test]
    fn fragments_are_equal_but_the_last_which_is_never_larger(
        length in 65usize..60_000, max in 64usize..1500,
    ) {
        prop_assume!(length > max);
        let packetized = packetize(&[&vec![0x65; length]], max);
        let lengths: Vec<_> = packetized.payloads().map(<[u8]>::len).collect();
        let (last, others) = lengths.split_last().expect("fragments");
        prop_assert!(!others.is_empty());
        prop_assert!(others.iter().all(|length| *length == others[0]));
        prop_assert!(*last > FU_HEADER && *last <= others[0]);
        let fewest = (length - 1).div_ceil(max - FU_HEADER);
        prop_assert_eq!(lengths.len(), fewest);
    }

    #[test]
    fn a_frame_takes_one_allocation(nals in access_unit(), max in 64usize..1500) {
        let bytes: usize = nals.iter().map(Vec::len).sum();
        let packetized = packetize(&borrowed(&nals), max);
        let fragments: usize = nals.iter().map(|nal| nal.len() / (max - FU_HEADER) + 1).sum();
        prop_assert!(packetized.data.capacity() <= bytes + 3 * fragments, "grown");
        prop_assert!(packetized.ends.capacity() <= fragments, "grown");
    }

    #[test]
    fn avcc_gives_back_what_was_framed(nals in access_unit()) {
        let frame: Vec<u8> =
            nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), &nal[..]].concat()).collect();
        let parsed: Result<Vec<_>, _> = nals_avcc(&frame).collect();
        prop_assert_eq!(parsed, Ok(borrowed(&nals)));
    }

    #[test]
    fn a_slice_type_is_read_behind_any_macroblock_address(
        first_mb in prop_oneof![0u64..40_000, 0u64..(1 << 32) - 1], slice_type in 0u64..12,
        kind in prop::sample::select(vec![0x41u8, 0x65, 0x02]),
    ) {
        let nal = Writer::default().ue(first_mb).ue(slice_type).bits(0, 40).nal(kind);
        let expected = (slice_type < 10).then_some(slice_type % 5 == 1);
        prop_assert_eq!(is_b_slice(&nal), expected);
    }

    #[test]
    fn a_picture_has_sane_sides(width in 1u32..1000, height in 1u32..1000) {
        let fits = width.max(height) <= 512;
        let parsed = Sps::parse(&sps_of(width, height)).ok().map(|sps| (sps.width, sps.height));
        prop_assert_eq!(parsed, fits.then_some((width * 16, height * 16)));
    }

    #[test]
    fn survives_noise(mut noise in prop::collection::vec(any::<u8>(), 1..300), kind in 1u8..8) {
        noise[0] = 0x60 | kind;
        let _ = is_b_slice(&noise);
        if let Ok(sps) = Sps::parse(&noise) {
            prop_assert!((1..=8192).contains(&sps.width) && (1..=8192).contains(&sps.height));
        }
        prop_assert!(nals_avcc(&noise).count() <= noise.len() / 4 + 1);
    }
}
