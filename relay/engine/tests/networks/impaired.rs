//! Viewers on bad networks: what they see, and that nobody else notices.

use std::time::Duration;

use _engine::congestion::Share;

use crate::world::{Camera, Link, World};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_good_network_brings_every_frame_at_once() {
    let mut world = World::new(Camera::usual());
    world.run(seconds(1));
    world.join(Link::of_30_ms(), true);
    let joined = world.now;
    world.run(seconds(20));
    let seen = world.seen(0, joined + seconds(1));
    assert_eq!(world.ends[0].receiver.shown.len() as u64, world.frames - 1);
    assert!(
        seen.longest_gap <= Duration::from_millis(60),
        "{:?}",
        seen.longest_gap
    );
    assert!(
        seen.oldest <= Duration::from_millis(45),
        "{:?}",
        seen.oldest
    );
    let stats = world.stats(0);
    assert_eq!(
        (stats.counters.packets_resent, stats.counters.dropped.late),
        (0, 0)
    );
    assert_eq!(stats.pace, 256_000_000);
}

#[test]
fn two_percent_of_random_loss_freezes_nothing() {
    for rtx in [true, false] {
        let mut world = World::new(Camera::usual());
        world.run(seconds(1));
        world.join(
            Link {
                loss: 0.02,
                ..Link::of_30_ms()
            },
            rtx,
        );
        let joined = world.now;
        world.run(seconds(60));
        let seen = world.seen(0, joined + seconds(1));
        assert_eq!(seen.frozen, 0.0, "{rtx}: {:?}", seen.longest_gap);
        assert!(world.stats(0).counters.packets_resent > 200);
    }
}

#[test]
fn ten_percent_of_random_loss_freezes_for_less_than_a_twentieth() {
    for rtx in [true, false] {
        let mut world = World::new(Camera::usual());
        world.run(seconds(1));
        world.join(
            Link {
                loss: 0.1,
                ..Link::of_30_ms()
            },
            rtx,
        );
        let joined = world.now;
        world.run(seconds(60));
        let seen = world.seen(0, joined + seconds(1));
        assert!(seen.frozen < 0.05, "{rtx}: {}", seen.frozen);
        assert_eq!(world.stats(0).share, Some(Share::Everything));
    }
}

#[test]
fn bursts_of_twenty_lost_packets_are_repaired() {
    for rtx in [true, false] {
        let mut world = World::new(Camera::usual());
        world.run(seconds(1));
        world.join(
            Link {
                bursts: (0.0026, 20),
                ..Link::of_30_ms()
            },
            rtx,
        );
        let joined = world.now;
        // Some seconds lose more than a quarter.
        world.run(seconds(300));
        let seen = world.seen(0, joined + seconds(1));
        assert!(seen.frozen < 0.01, "{rtx}: {}", seen.frozen);
        assert_eq!(world.stats(0).share, Some(Share::Everything));
    }
}

/// What everybody else is sent, packet by packet, with or without a viewer of this link.
fn sent_to_another(link: Option<(Link, bool)>) -> Vec<(Duration, Vec<u8>)> {
    let mut world = World::new(Camera::usual());
    world.run(seconds(1));
    world.join(Link::of_30_ms(), true);
    if let Some((link, deaf)) = link {
        let other = world.join(link, true);
        world.ends[other].receiver.deaf = deaf;
    }
    world.run(seconds(20));
    let started = world.started;
    let sent = world.ends[0].sent.iter();
    sent.map(|(at, packet)| (*at - started, packet.clone()))
        .collect()
}

#[test]
fn nobody_notices_a_viewer_who_is_late_deaf_or_stuck() {
    let alone = sent_to_another(None);
    let narrow = Some((500_000, 50_000));
    for (link, deaf) in [
        (
            Link {
                bottleneck: narrow,
                ..Link::of_30_ms()
            },
            false,
        ),
        (
            Link {
                bottleneck: narrow,
                ..Link::of_30_ms()
            },
            true,
        ),
        (
            Link {
                loss: 1.0,
                ..Link::of_30_ms()
            },
            false,
        ),
    ] {
        assert_eq!(sent_to_another(Some((link, deaf))), alone);
    }
}

#[test]
fn key_frames_that_overflow_a_short_queue_are_stretched() {
    let mut world = World::new(Camera::usual());
    world.run(seconds(1));
    let narrow = Link {
        bottleneck: Some((3_000_000, 40_000)),
        ..Link::of_30_ms()
    };
    world.join(narrow, true);
    world.run(seconds(10));
    let (settled, before) = (world.now, world.stats(0).counters.packets_resent);
    world.run(seconds(30));
    let (seen, stats) = (world.seen(0, settled), world.stats(0));
    assert_eq!(seen.frozen, 0.0, "{:?}", seen.longest_gap);
    assert_eq!(stats.share, Some(Share::Everything));
    // A key frame of 55 packets at once would lose a third of them, 15 times.
    let resent = stats.counters.packets_resent - before;
    assert!(resent < 200, "{resent}");
}

#[test]
fn a_start_burst_finds_the_pace_of_a_narrow_path() {
    for bottleneck in [
        (3_000_000, 40_000),
        (3_000_000, 400_000),
        (8_000_000, 60_000),
    ] {
        let mut world = World::new(Camera {
            gop: 250,
            ..Camera::usual()
        });
        world.run(seconds(5));
        let narrow = Link {
            bottleneck: Some(bottleneck),
            ..Link::of_30_ms()
        };
        world.join(narrow, true);
        world.run(seconds(12));
        let from = world.now;
        world.run(seconds(20));
        let seen = world.seen(0, from);
        assert_eq!(seen.frozen, 0.0, "{bottleneck:?}: {:?}", seen.longest_gap);
        assert!(
            seen.oldest < Duration::from_millis(400),
            "{bottleneck:?}: {:?}",
            seen.oldest
        );
    }
}

#[test]
fn who_cannot_carry_the_stream_gets_key_frames_and_no_growing_delay() {
    for bottleneck in [(1_000_000, 30_000), (1_000_000, 400_000)] {
        let mut world = World::new(Camera::usual());
        world.run(seconds(1));
        world.join(
            Link {
                bottleneck: Some(bottleneck),
                ..Link::of_30_ms()
            },
            true,
        );
        world.run(seconds(20));
        let from = world.now;
        world.run(seconds(100));
        let (seen, stats) = (world.seen(0, from), world.stats(0));
        assert!(
            seen.longest_gap < Duration::from_millis(6500),
            "{bottleneck:?}: {:?}",
            seen.longest_gap
        );
        assert!(
            seen.oldest < Duration::from_millis(2500),
            "{bottleneck:?}: {:?}",
            seen.oldest
        );
        assert!(
            stats.counters.dropped.thinned > 1500,
            "{}",
            stats.counters.dropped.thinned
        );
        world.relink(0, Link::of_30_ms());
        world.run(seconds(150));
        let from = world.now;
        world.run(seconds(10));
        let seen = world.seen(0, from);
        assert_eq!(world.stats(0).share, Some(Share::Everything));
        assert_eq!(seen.frozen, 0.0);
        assert!(
            seen.oldest < Duration::from_millis(100),
            "{:?}",
            seen.oldest
        );
    }
}

#[test]
fn a_lost_picture_comes_again_at_the_live_edge() {
    let mut world = World::new(Camera {
        gop: 250,
        ..Camera::usual()
    });
    world.run(seconds(1));
    world.join(Link::of_30_ms(), true);
    world.run(Duration::from_millis(500));
    // More is missing than is asked for again: the receiver wants a picture.
    world.relink(
        0,
        Link {
            loss: 1.0,
            ..Link::of_30_ms()
        },
    );
    world.run(Duration::from_millis(2300));
    world.relink(0, Link::of_30_ms());
    let back = world.now;
    world.run(seconds(4));
    let stats = world.stats(0);
    assert_eq!(stats.counters.pictures_resent, 1);
    // 10 s from key frame to key frame: without an answer there would be no picture before that.
    let seen = world.seen(0, back);
    assert!(
        seen.longest_gap < Duration::from_millis(1500),
        "{:?}",
        seen.longest_gap
    );
    assert!(seen.frames > 60, "{}", seen.frames);
    world.run(seconds(3));
    assert_eq!(
        world.stats(0).counters.pictures_requested,
        stats.counters.pictures_requested
    );
}

/// A line a second, for whoever changes the decisions: `cargo test --test networks -- --ignored --nocapture`.
#[test]
#[ignore = "shows, and checks nothing"]
fn what_happens_second_by_second() {
    for (rate, queue) in [
        (3_000_000, 40_000),
        (3_000_000, 400_000),
        (1_000_000, 30_000),
        (1_000_000, 400_000),
        (300_000, 100_000),
    ] {
        let mut world = World::new(Camera::usual());
        world.run(seconds(3));
        let narrow = Link {
            bottleneck: Some((rate, queue)),
            ..Link::of_30_ms()
        };
        world.join(narrow, true);
        for second in 0..60 {
            if second == 40 {
                world.relink(0, Link::of_30_ms());
            }
            let from = world.now;
            world.run(seconds(1));
            let (seen, stats) = (world.seen(0, from), world.stats(0));
            let c = stats.counters;
            println!(
                "{rate} {queue} {second:2}: {:2} frames, oldest {:4} ms, {:?} at {:9}, lost {:.2}, resent {}, late {}, thinned {}, pictures {}/{}",
                seen.frames,
                seen.oldest.as_millis(),
                stats.share.unwrap(),
                stats.pace,
                c.fraction_lost,
                c.packets_resent,
                c.dropped.late,
                c.dropped.thinned,
                c.pictures_resent,
                c.pictures_requested,
            );
        }
    }
}

/// The least and the most that each packet of the viewer's own source lets him hold its picture back, in milliseconds.
fn playout(world: &World, viewer: usize) -> Vec<(u16, u16)> {
    let own = |packet: &&Vec<u8>| packet[1] & 0x7f == 96;
    let sent = world.ends[viewer].sent.iter().map(|(_, packet)| packet);
    sent.filter(own)
        .map(|packet| {
            let [a, b, c] = [17, 18, 19].map(|at| u16::from(packet[at]));
            ((a << 4 | b >> 4) * 10, ((b & 0xf) << 8 | c) * 10)
        })
        .collect()
}

#[test]
fn who_loses_packets_holds_pictures_back_until_they_can_come_again() {
    let mut world = World::new(Camera::usual());
    world.run(seconds(1));
    world.join(Link::of_30_ms(), true);
    let lossy = Link {
        loss: 0.02,
        ..Link::of_30_ms()
    };
    world.join(lossy, true);
    world.join(lossy, false);
    world.run(seconds(20));
    let (first, usual) = ((0, 0), (0, 400));
    let of_good = playout(&world, 0);
    assert_eq!((of_good[0], of_good[of_good.len() - 1]), (first, usual));
    for viewer in [1, 2] {
        let of_lossy = playout(&world, viewer);
        assert_eq!(of_lossy[0], first);
        assert!(of_lossy.contains(&usual), "before it is known to be lossy");
        // Among the last may be some that were lost before and come again as they were.
        let held = |(least, most): &&(u16, u16)| (230..=270).contains(least) && *most == 400;
        let last = &of_lossy[of_lossy.len() - 100..];
        assert!(last.iter().filter(held).count() > 80, "{last:?}");
    }
    // More at once than a tick of the extension for each picture would be a freeze.
    assert_eq!(steps(&playout(&world, 1)), (0, 10));
    // A minute without loss later he does not hold them back any more, until he has to again.
    world.relink(1, Link::of_30_ms());
    world.run(seconds(65));
    let calm = playout(&world, 1);
    assert_eq!((*calm.last().unwrap(), steps(&calm)), (usual, (-10, 10)));
    world.relink(1, lossy);
    world.run(seconds(20));
    let again = playout(&world, 1);
    assert!((230..=270).contains(&again.last().unwrap().0));
    assert_eq!(steps(&again), (-10, 10));
}

#[test]
fn who_loses_more_holds_them_back_for_one_more_retransmission() {
    let mut world = World::new(Camera::usual());
    world.run(seconds(1));
    let losing = |loss| Link {
        loss,
        ..Link::of_30_ms()
    };
    world.join(losing(0.02), true);
    world.run(seconds(20));
    let little = playout(&world, 0).last().unwrap().0;
    world.relink(0, losing(0.1));
    world.run(seconds(20));
    let all = playout(&world, 0);
    let newest = all[all.len() - 100..].iter().map(|(least, _)| *least).max();
    let rise = newest.unwrap() - little;
    assert!((80..=120).contains(&rise), "{little} and {rise}");
    assert_eq!(all.iter().map(|(_, most)| *most).max(), Some(400));
}

/// By how much the least changes from one packet to the next, at the least and at the most.
fn steps(playout: &[(u16, u16)]) -> (i32, i32) {
    let least = playout.iter().map(|(least, _)| i32::from(*least));
    let steps = least
        .clone()
        .skip(1)
        .zip(least)
        .map(|(next, one)| next - one);
    steps.fold((0, 0), |(down, up), step| (down.min(step), up.max(step)))
}
