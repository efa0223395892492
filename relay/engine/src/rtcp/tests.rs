//! Feedback as Chromium lays it out, broken packets, and properties of writing and parsing.

use proptest::prelude::*;

use super::*;

fn packet(packet_type: u8, count: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    header(packet_type, count, (body.len() / 4) as u16, &mut out);
    out.extend_from_slice(body);
    out
}

fn block_bytes(block: &ReportBlock) -> Vec<u8> {
    let lost = u32::from(block.fraction_lost) << 24 | block.cumulative_lost as u32 & 0xff_ffff;
    let words = [
        block.ssrc,
        lost,
        block.highest_sequence,
        block.jitter,
        block.last_sr,
        block.delay_since_last_sr,
    ];
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Packets of a generic NACK that asks for these, in ascending order.
fn nack_words(lost: &[u16]) -> Vec<u8> {
    let mut words: Vec<(u16, u16)> = Vec::new();
    for &seq in lost {
        match words.last_mut() {
            Some((first, mask)) if (1..=16).contains(&seq.wrapping_sub(*first)) => {
                *mask |= 1 << (seq.wrapping_sub(*first) - 1);
            }
            _ => words.push((seq, 0)),
        }
    }
    words
        .iter()
        .flat_map(|(first, mask)| [first.to_be_bytes(), mask.to_be_bytes()].concat())
        .collect()
}

#[test]
fn reads_a_receiver_report_with_a_nack_behind_it() {
    let report = [
        0, 0, 0, 1, // from
        0, 0, 0, 2, 64, 0xff, 0xff, 0xff, 0, 1, 0, 9, 0, 0, 0, 5, 1, 2, 3, 4, 0, 1, 0, 0,
    ];
    let lost = [0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0b1000_0000, 0b0000_0001];
    let mut compound = packet(201, 1, &report);
    compound.extend(packet(205, 1, &lost));

    let mut packets = parse(&compound);
    let Some(Packet::ReceiverReport { ssrc: 1, blocks }) = packets.next() else {
        panic!("receiver report");
    };
    let expected = ReportBlock {
        ssrc: 2,
        fraction_lost: 64,
        cumulative_lost: -1,
        highest_sequence: 0x1_0009,
        jitter: 5,
        last_sr: 0x0102_0304,
        delay_since_last_sr: 65536,
    };
    assert_eq!(blocks.collect::<Vec<_>>(), [expected]);
    let Some(Packet::Nack {
        media_ssrc: 2,
        lost,
    }) = packets.next()
    else {
        panic!("NACK");
    };
    assert_eq!(lost.collect::<Vec<_>>(), [0xffff, 0, 15]);
    assert!(packets.next().is_none());
}

#[test]
fn reads_requests_for_pictures_estimates_and_a_goodbye() {
    let mut compound = packet(206, 1, &[0, 0, 0, 1, 0, 0, 0, 2]);
    compound.extend(packet(
        206,
        4,
        &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 7, 0, 0, 0],
    ));
    compound.extend(packet(
        206,
        15,
        b"\0\0\0\x01\0\0\0\0REMB\x01\x09\x00\x10\0\0\0\x02",
    ));
    compound.extend(packet(203, 1, &[0, 0, 0, 1]));

    let mut packets = parse(&compound);
    assert!(matches!(
        packets.next(),
        Some(Packet::Pli { media_ssrc: 2 })
    ));
    let Some(Packet::Fir { entries }) = packets.next() else {
        panic!("FIR");
    };
    let expected = FirEntry {
        ssrc: 2,
        sequence: 7,
    };
    assert_eq!(entries.collect::<Vec<_>>(), [expected]);
    let remb = packets.next();
    assert!(
        matches!(remb, Some(Packet::Remb { bitrate: 0x4_0040 })),
        "{remb:x?}"
    );
    assert!(matches!(
        packets.next(),
        Some(Packet::Bye { ssrc: Some(1) })
    ));
    assert!(packets.next().is_none());
}

#[test]
fn takes_padding_off() {
    let mut padded = packet(205, 1, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 0, 0, 0, 0, 4]);
    padded[0] |= PADDING;
    let Some(Packet::Nack { lost, .. }) = parse(&padded).next() else {
        panic!("NACK");
    };
    assert_eq!(lost.collect::<Vec<_>>(), [5]);
}

#[test]
fn ends_at_what_is_malformed() {
    let good = packet(203, 1, &[0, 0, 0, 1]);
    let mut version_1 = good.clone();
    version_1[0] = 0x41;
    let mut too_much_padding = good.clone();
    too_much_padding[0] |= PADDING;
    too_much_padding[7] = 5;
    let blocks_missing = packet(201, 2, &[0; 28]);
    let no_media_ssrc = packet(205, 1, &[0; 4]);
    let no_source = packet(203, 1, &[]);
    for bad in [
        version_1,
        too_much_padding,
        blocks_missing,
        no_media_ssrc,
        no_source,
    ] {
        let compound = [&good[..], &bad, &good].concat();
        assert_eq!(parse(&compound).count(), 1, "{bad:x?}");
    }
    for cut in 0..good.len() {
        let compound = [&good, &good[..cut]].concat();
        assert_eq!(parse(&compound).count(), 1, "{cut}");
    }
}

#[test]
fn a_bandwidth_beyond_all_numbers_is_no_limit() {
    let remb = packet(206, 15, b"\0\0\0\x01\0\0\0\0REMB\x00\xff\xff\xff");
    assert!(matches!(
        parse(&remb).next(),
        Some(Packet::Remb { bitrate: u64::MAX })
    ));
}

fn block() -> impl Strategy<Value = ReportBlock> {
    let lost = -(1 << 23)..1 << 23;
    (any::<[u32; 5]>(), any::<u8>(), lost).prop_map(|(words, fraction_lost, cumulative_lost)| {
        let [ssrc, highest_sequence, jitter, last_sr, delay_since_last_sr] = words;
        ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost,
            highest_sequence,
            jitter,
            last_sr,
            delay_since_last_sr,
        }
    })
}

proptest! {
    #[test]
    fn a_sender_report_and_bye_parse_to_what_was_written(
        words: [u32; 4], ntp: u64, cname in "\\PC{0,90}",
    ) {
        let [ssrc, rtp_timestamp, packets, octets] = words;
        let info = SenderInfo { ssrc, ntp, rtp_timestamp, packets, octets };
        let mut out = Vec::new();
        sender_report(&info, &cname, &mut out);
        bye(ssrc, &mut out);
        let mut parsed = parse(&out);
        let Some(Packet::SenderReport { ssrc, ntp, rtp_timestamp, packets, octets, blocks }) = parsed.next()
        else {
            panic!("sender report");
        };
        prop_assert_eq!(SenderInfo { ssrc, ntp, rtp_timestamp, packets, octets }, info);
        prop_assert_eq!(blocks.count(), 0);
        let sdes = matches!(parsed.next(), Some(Packet::Other { packet_type: 202 }));
        prop_assert!(sdes, "SDES");
        let bye = parsed.next();
        let bye = matches!(bye, Some(Packet::Bye { ssrc: Some(s) }) if s == ssrc);
        prop_assert!(bye, "BYE");
        prop_assert!(parsed.next().is_none());

        let item = &out[28 + 8..];
        let cut = &cname.as_bytes()[..cname.len().min(255)];
        prop_assert_eq!((item[0], usize::from(item[1])), (1, cut.len()));
        prop_assert_eq!(&item[2..2 + cut.len()], cut);
        prop_assert_eq!(item[2 + cut.len()], 0, "end of the items");
    }

    #[test]
    fn report_blocks_parse_to_what_was_written(
        blocks in prop::collection::vec(block(), 0..31), behind in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut body = vec![0, 0, 0, 9];
        blocks.iter().for_each(|block| body.extend(block_bytes(block)));
        // A profile may add words behind the blocks (RFC 3550, section 6.4.3).
        behind.iter().for_each(|byte| body.extend([*byte; 4]));
        let report = packet(201, blocks.len() as u8, &body);
        let Some(Packet::ReceiverReport { ssrc: 9, blocks: parsed }) = parse(&report).next() else {
            panic!("receiver report");
        };
        prop_assert_eq!(parsed.collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn a_nack_parses_to_what_is_missing(
        start: u16, gaps in prop::collection::vec(1u16..40, 1..60),
    ) {
        let lost: Vec<u16> = gaps.iter().scan(start, |seq, gap| {
            *seq = seq.wrapping_add(*gap);
            Some(*seq)
        }).collect();
        let body = [&[0; 8], &nack_words(&lost)[..]].concat();
        let nack = packet(205, 1, &body);
        let Some(Packet::Nack { lost: parsed, .. }) = parse(&nack).next() else {
            panic!("NACK");
        };
        prop_assert_eq!(parsed.collect::<Vec<_>>(), lost);
    }

    #[test]
    fn an_estimate_parses_to_what_was_written(mantissa in 0u32..1 << 18, exponent in 0u8..64, ssrcs in 0u8..4) {
        let [_, m2, m1, m0] = mantissa.to_be_bytes();
        let mut body = b"\0\0\0\x01\0\0\0\0REMB".to_vec();
        body.extend([ssrcs, exponent << 2 | m2, m1, m0]);
        body.extend((0..ssrcs).flat_map(|ssrc| [0, 0, 0, ssrc]));
        let packet = packet(206, 15, &body);
        let Some(Packet::Remb { bitrate }) = parse(&packet).next() else {
            panic!("REMB");
        };
        let expected = u128::from(mantissa) << exponent;
        prop_assert_eq!(u128::from(bitrate), expected.min(u128::from(u64::MAX)));
    }

    #[test]
    fn commands_parse_to_what_was_written(entries in prop::collection::vec(any::<(u32, u8)>(), 0..20)) {
        let mut body = vec![0; 8];
        for (ssrc, sequence) in &entries {
            body.extend(ssrc.to_be_bytes());
            body.extend([*sequence, 0, 0, 0]);
        }
        let packet = packet(206, 4, &body);
        let Some(Packet::Fir { entries: parsed }) = parse(&packet).next() else {
            panic!("FIR");
        };
        let parsed: Vec<_> = parsed.map(|entry| (entry.ssrc, entry.sequence)).collect();
        prop_assert_eq!(parsed, entries);
    }

    #[test]
    fn survives_noise(mut noise in prop::collection::vec(any::<u8>(), 0..200), kind in 200u8..208) {
        if let [first, packet_type, ..] = &mut noise[..] {
            (*first, *packet_type) = (*first & 0x3f | VERSION, kind);
        }
        for packet in parse(&noise) {
            let items = match packet {
                Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => blocks.count(),
                Packet::Nack { lost, .. } => lost.count() / 17,
                Packet::Fir { entries } => entries.count(),
                _ => 0,
            };
            prop_assert!(items <= noise.len() / 4);
        }
    }
}
