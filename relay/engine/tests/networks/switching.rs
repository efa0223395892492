//! Viewers who go over from a camera's main stream to its sub and back, in one session, on networks that lose packets.
//! The network checks every packet: numbers go on, timestamps never run backwards, one index seals one byte string.

use std::time::Duration;

use _engine::congestion::Share;
use proptest::prelude::*;

use super::world::{Camera, Link, STREAM, SUB, SUB_FRAMES, World};

fn small(gop: u64) -> Camera {
    Camera {
        gop,
        key_packets: 6,
        packets: 1,
    }
}

fn large(gop: u64) -> Camera {
    Camera {
        gop,
        key_packets: 300,
        packets: 40,
    }
}

fn shown(world: &World, viewer: usize) -> Vec<u32> {
    let shown = &world.ends[viewer].receiver.shown;
    shown.iter().map(|shown| shown.frame).collect()
}

/// The longest time without a picture, of those shown from the given one on.
fn longest_gap(world: &World, viewer: usize, from: usize) -> Duration {
    let shown = &world.ends[viewer].receiver.shown[from..];
    let gaps = shown.windows(2).map(|pair| pair[1].at - pair[0].at);
    gaps.max().unwrap_or(Duration::MAX)
}

#[test]
fn a_viewer_goes_over_to_the_sub_and_back_without_a_gap() {
    let mut world = World::new(Camera::usual()).with_sub(small(250));
    let viewer = world.join(Link::of_30_ms(), true);
    let other = world.join(Link::of_30_ms(), true);
    world.run(Duration::from_secs(5));
    world.switch(viewer, SUB);
    world.run(Duration::from_millis(60));
    // Without waiting for a key frame, of which the sub has one in ten seconds.
    assert_eq!(world.switched(), [(viewer, SUB)]);
    world.run(Duration::from_secs(5));
    world.switch(viewer, STREAM);
    world.run(Duration::from_secs(3));
    assert_eq!(world.switched(), [(viewer, STREAM)]);
    let frames = shown(&world, viewer);
    let of_sub = frames
        .iter()
        .filter(|f| u64::from(**f) >= SUB_FRAMES)
        .count();
    assert!((100..260).contains(&of_sub), "{of_sub} frames of the sub");
    assert!(u64::from(*frames.last().unwrap()) < SUB_FRAMES);
    let gap = longest_gap(&world, viewer, 10);
    assert!(
        gap < Duration::from_millis(200),
        "{gap:?} without a picture"
    );
    assert!(world.ends[viewer].receiver.plis == 0, "a picture was lost");
    assert!(
        shown(&world, other)
            .iter()
            .all(|f| u64::from(*f) < SUB_FRAMES)
    );
}

#[test]
fn where_the_pictures_so_far_are_too_many_it_waits_for_a_key_frame() {
    let mut world = World::new(small(50)).with_sub(large(250));
    let viewer = world.join(Link::of_30_ms(), true);
    world.run(Duration::from_secs(4));
    world.switch(viewer, SUB);
    world.run(Duration::from_secs(3));
    assert_eq!(world.switched(), []);
    world.run(Duration::from_secs(4));
    assert_eq!(world.switched(), [(viewer, SUB)]);
    let gap = longest_gap(&world, viewer, 10);
    assert!(
        gap < Duration::from_millis(400),
        "{gap:?} without a picture"
    );
}

#[test]
fn who_thinks_better_of_it_stays() {
    let mut world = World::new(Camera::usual()).with_sub(large(250));
    let viewer = world.join(Link::of_30_ms(), true);
    world.run(Duration::from_secs(5));
    world.switch(viewer, SUB);
    world.run(Duration::from_millis(500));
    world.switch(viewer, STREAM);
    world.run(Duration::from_secs(8));
    assert_eq!(world.switched(), []);
}

#[test]
fn a_stream_that_ends_ends_no_viewer_who_was_to_come_to_it() {
    let mut world = World::new(Camera::usual()).with_sub(large(250));
    let viewer = world.join(Link::of_30_ms(), true);
    world.run(Duration::from_secs(5));
    world.switch(viewer, SUB);
    world.run(Duration::from_millis(500));
    world.close(SUB);
    world.run(Duration::from_secs(2));
    assert_eq!(world.stats(viewer).stream, STREAM);
    let before = shown(&world, viewer).len();
    world.run(Duration::from_secs(1));
    assert!(shown(&world, viewer).len() > before + 20);
}

#[test]
fn what_was_sent_of_each_stream_is_counted_with_it() {
    let mut world = World::new(Camera::usual()).with_sub(small(50));
    let viewer = world.join(Link::of_30_ms(), true);
    world.run(Duration::from_secs(3));
    world.switch(viewer, SUB);
    world.run(Duration::from_secs(3));
    let sent = |world: &World, stream| {
        let stats = world.hub.stream_stats();
        let found = stats.iter().find(|s| s.stream == stream).unwrap();
        (found.viewers, found.sent.packets)
    };
    let (main, sub) = (sent(&world, STREAM), sent(&world, SUB));
    assert_eq!((main.0, sub.0), (0, 1));
    assert_eq!(main.1 + sub.1, world.stats(viewer).counters.packets_sent);
    assert!(
        main.1 > 500 && (70..300).contains(&sub.1),
        "{main:?} {sub:?}"
    );
    world.run(Duration::from_secs(1));
    assert_eq!(sent(&world, STREAM), main);
}

#[test]
fn who_comes_from_a_thin_network_is_sent_the_main_stream_at_its_pace() {
    // Its key frames are hardly larger than the others, as where the picture is all noise.
    let noisy = Camera {
        gop: 50,
        key_packets: 12,
        packets: 9,
    };
    let mut world = World::new(noisy).with_sub(small(50));
    let thin = Link {
        bottleneck: Some((800_000, 100_000)),
        ..Link::of_30_ms()
    };
    let viewer = world.join(thin, true);
    world.run(Duration::from_secs(4));
    world.switch(viewer, SUB);
    world.run(Duration::from_secs(10));
    assert_eq!(world.switched(), [(viewer, SUB)]);
    world.relink(viewer, Link::of_30_ms());
    world.run(Duration::from_secs(3));
    world.switch(viewer, STREAM);
    world.run(Duration::from_secs(1));
    let from = world.ends[viewer].receiver.shown.len();
    world.run(Duration::from_secs(10));
    let gap = longest_gap(&world, viewer, from);
    assert!(
        gap < Duration::from_millis(300),
        "{gap:?} without a picture"
    );
    assert_eq!(world.stats(viewer).share, Some(Share::Everything));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn numbers_timestamps_and_pictures_hold_whatever_is_switched_when(
        loss in 0.0f64..0.1,
        rtx in any::<bool>(),
        gop in 10u64..120,
        steps in prop::collection::vec((20u64..900, any::<bool>()), 4..24),
    ) {
        let mut world = World::new(Camera::usual()).with_sub(small(gop));
        let viewer = world.join(Link { loss, ..Link::of_30_ms() }, rtx);
        for (milliseconds, sub) in steps {
            world.run(Duration::from_millis(milliseconds));
            world.switch(viewer, if sub { SUB } else { STREAM });
        }
        world.switch(viewer, STREAM);
        world.run(Duration::from_secs(6));
        prop_assert_eq!(world.stats(viewer).stream, STREAM);
        let frames = shown(&world, viewer);
        prop_assert!(u64::from(*frames.last().unwrap()) < SUB_FRAMES);
        let last = world.ends[viewer].receiver.shown.last().unwrap().at;
        prop_assert!(world.now - last < Duration::from_millis(2500), "no pictures any more");
    }
}
