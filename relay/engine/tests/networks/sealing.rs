//! One SRTP index seals one byte string, ever (RFC 7714, 9.1), and timestamps never run backwards: whatever viewers ask
//! for, however their networks are. The checks are in `world`, on every packet that leaves the hub.

use std::time::Duration;

use proptest::prelude::*;

use crate::world::{Camera, Link, STREAM, World};

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Relink {
        loss: f64,
        burst: f64,
        bottleneck: Option<(u64, usize)>,
    },
    /// Asks for these packets, counted back from about the newest.
    Nack(Vec<u16>),
    Pli,
    Fir(u8),
    Remb(u32),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let bottleneck = prop::option::of((100_000u64..10_000_000, 10_000usize..400_000));
    prop_oneof![
        6 => (1u64..3000).prop_map(Step::Pass),
        2 => (0.0f64..0.6, 0.0f64..0.01, bottleneck)
            .prop_map(|(loss, burst, bottleneck)| Step::Relink { loss, burst, bottleneck }),
        2 => prop::collection::vec(0u16..2000, 1..200).prop_map(Step::Nack),
        2 => Just(Step::Pli),
        1 => any::<u8>().prop_map(Step::Fir),
        1 => any::<u32>().prop_map(Step::Remb),
        1 => Just(Step::Reconnect),
    ]
}

fn take(world: &mut World, viewer: usize, step: Step) {
    match step {
        Step::Pass(ms) => world.run(Duration::from_millis(ms)),
        Step::Relink {
            loss,
            burst,
            bottleneck,
        } => {
            world.relink(
                viewer,
                Link {
                    loss,
                    bursts: (burst, 20),
                    bottleneck,
                    ..Link::of_30_ms()
                },
            );
        }
        Step::Nack(back) => {
            let newest = world.ends[viewer]
                .sent
                .last()
                .map_or(0, |(_, p)| u16::from_be_bytes([p[2], p[3]]));
            let words = back
                .iter()
                .map(|back| newest.wrapping_sub(*back).to_be_bytes());
            let words: Vec<u8> = words.flat_map(|seq| [seq[0], seq[1], 0xff, 0xff]).collect();
            world.ask(viewer, 205, 1, &words);
        }
        Step::Pli => world.ask(viewer, 206, 1, &[]),
        Step::Fir(sequence) => {
            let ssrc = world.ends[viewer].receiver.ssrc.to_be_bytes();
            world.ask(viewer, 206, 4, &[&ssrc[..], &[sequence, 0, 0, 0]].concat());
        }
        Step::Remb(bitrate) => {
            let body = [&b"REMB\x01"[..], &bitrate.to_be_bytes()[1..], &[0; 4]].concat();
            world.ask(viewer, 206, 15, &body);
        }
        Step::Reconnect => {
            world.run(Duration::from_millis(100));
            world.hub.rebase(STREAM);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn one_index_seals_one_byte_string_for_every_source(
        steps in prop::collection::vec((0usize..2, step()), 1..30),
        gop in 5u64..120, key_packets in 1usize..200, packets in 1usize..30,
    ) {
        let mut world = World::new(Camera { gop, key_packets, packets });
        world.run(Duration::from_secs(2));
        world.join(Link::of_30_ms(), true);
        world.join(Link::of_30_ms(), false);
        for (viewer, step) in steps {
            take(&mut world, viewer, step);
        }
        world.run(Duration::from_secs(2));
    }
}

#[test]
fn a_picture_asked_for_all_the_time_is_sent_once_a_second_under_new_numbers_and_in_order() {
    let mut world = World::new(Camera {
        gop: 250,
        ..Camera::usual()
    });
    world.run(Duration::from_secs(1));
    let viewer = world.join(Link::of_30_ms(), true);
    world.run(Duration::from_secs(1));
    for _ in 0..30 {
        world.ask(viewer, 206, 1, &[]);
        world.run(Duration::from_millis(100));
    }
    let counters = world.stats(viewer).counters;
    assert_eq!(
        (counters.pictures_requested, counters.pictures_resent),
        (30, 3)
    );
    let keys = world.ends[viewer]
        .receiver
        .shown
        .iter()
        .filter(|shown| shown.frame == 0)
        .count();
    assert_eq!(keys, 4, "at the start, and three times after");
}

#[test]
fn a_repeated_fir_is_one_request() {
    let mut world = World::new(Camera::usual());
    world.run(Duration::from_secs(1));
    let viewer = world.join(Link::of_30_ms(), true);
    world.run(Duration::from_millis(700));
    let ssrc = world.ends[viewer].receiver.ssrc.to_be_bytes();
    for sequence in [1, 1, 1, 2] {
        world.ask(viewer, 206, 4, &[&ssrc[..], &[sequence, 0, 0, 0]].concat());
        world.ask(viewer, 206, 4, &[0, 0, 0, 9, sequence, 0, 0, 0]);
    }
    world.run(Duration::from_millis(100));
    assert_eq!(world.stats(viewer).counters.pictures_requested, 2);
}
