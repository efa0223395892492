//! What reports lead to, report by report.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ROUND_TRIP: Duration = Duration::from_millis(60);
const LOAD: Load = Load {
    key_frame: 60_000,
    bitrate: 2_000_000,
};

struct Path {
    congestion: Congestion,
    now: Instant,
}

impl Path {
    fn new() -> Self {
        Self {
            congestion: Congestion::default(),
            now: Instant::now(),
        }
    }

    /// A second later, of a stream of 2 Mbit/s.
    fn report(&mut self, lost: f64, queued_ms: u64) -> Share {
        self.now += SECOND;
        let report = Report {
            lost,
            delivered: (2e6 * (1.0 - lost)) as u64,
            lag: ROUND_TRIP + Duration::from_millis(queued_ms),
            round_trip: Some(ROUND_TRIP + Duration::from_millis(queued_ms)),
            load: LOAD,
            paced: true,
        };
        self.congestion.report(&report, 0, self.now);
        self.congestion.share()
    }

    /// Seconds until `wanted` is sent, given these reports.
    fn until(&mut self, wanted: Share, lost: f64, queued_ms: u64) -> u32 {
        (1..1000)
            .find(|_| self.report(lost, queued_ms) == wanted)
            .expect("it changes some time")
    }
}

#[test]
fn random_loss_of_a_tenth_takes_nothing_away_and_key_frames_stay_quick() {
    let mut path = Path::new();
    for second in 0..600 {
        let lost = 0.1 + f64::from(second % 7) * 0.01;
        assert_eq!(path.report(lost, 0), Share::Everything);
        assert!(
            path.congestion.rate() >= 60_000 * 8 * 4,
            "{}",
            path.congestion.rate()
        );
    }
}

#[test]
fn a_good_path_is_not_paced_after_seconds() {
    let mut path = Path::new();
    for _ in 0..5 {
        path.report(0.0, 0);
    }
    assert_eq!(path.congestion.rate(), MOST_RATE);
}

#[test]
fn a_growing_queue_and_heavy_loss_leave_key_frames_and_a_pace_below_what_arrived() {
    for (lost, queued) in [(0.0, 400), (0.4, 0)] {
        let mut path = Path::new();
        path.report(0.0, 0);
        assert_eq!(
            path.report(lost, queued),
            Share::Everything,
            "one report is none"
        );
        let bound = if queued > 0 { 2_000_000 } else { START_RATE };
        assert!(path.congestion.rate() < bound);
        assert_eq!(path.report(lost, queued), Share::KeyFrames);
    }
}

#[test]
fn seconds_of_heavy_loss_leave_a_pace_that_keeps_up_with_the_stream() {
    let mut path = Path::new();
    for second in 0..600 {
        let lost = [0.3, 0.2, 0.0, 0.4, 0.15][second % 5];
        assert_eq!(path.report(lost, 0), Share::Everything);
        path.congestion.nacked(20, 40, LOAD, path.now);
        let rate = path.congestion.rate();
        assert!(rate > LOAD.bitrate, "{rate} in second {second}");
    }
}

#[test]
fn a_queue_that_is_gone_with_the_next_report_takes_nothing_away() {
    let mut path = Path::new();
    for _ in 0..50 {
        assert_eq!(path.report(0.0, 500), Share::Everything);
        assert_eq!(path.report(0.0, 0), Share::Everything);
    }
}

#[test]
fn more_is_tried_after_a_while_and_ever_later_where_that_fails() {
    let mut path = Path::new();
    path.report(0.0, 0);
    path.until(Share::KeyFrames, 0.0, 500);
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(path.until(Share::Everything, 0.0, 0));
        path.until(Share::KeyFrames, 0.0, 500);
    }
    assert_eq!(waits, [3, 5, 9, 17, 33, 65]);
    path.until(Share::Everything, 0.0, 0);
    for _ in 0..30 {
        path.report(0.0, 0);
    }
    path.until(Share::KeyFrames, 0.0, 500);
    assert_eq!(path.until(Share::Everything, 0.0, 0), 3, "it held");
}

#[test]
fn a_longer_path_is_not_taken_for_a_queue_for_ever() {
    let mut path = Path::new();
    path.report(0.0, 0);
    path.until(Share::KeyFrames, 0.0, 700);
    let seconds = path.until(Share::Everything, 0.0, 700);
    assert!(seconds < 120, "{seconds}");
}

#[test]
fn nacks_halve_the_pace_of_a_burst_once_a_round_trip() {
    let mut path = Path::new();
    path.report(0.0, 0);
    let before = path.congestion.rate();
    for _ in 0..10 {
        path.congestion.nacked(20, 40, LOAD, path.now);
    }
    assert_eq!(path.congestion.rate(), before / 2);
    path.now += ROUND_TRIP * 2;
    path.congestion.nacked(20, 80, LOAD, path.now);
    assert_eq!(path.congestion.rate(), before / 4);
    path.now += ROUND_TRIP * 2;
    path.congestion.nacked(20, 400, LOAD, path.now);
    assert_eq!(path.congestion.rate(), before / 4, "few of many");
}

#[test]
fn a_nack_behind_a_report_is_about_what_was_sent_before_it() {
    let (mut congestion, now) = (Congestion::default(), Instant::now());
    let report = Report {
        lost: 0.0,
        delivered: 2_000_000,
        lag: ROUND_TRIP,
        round_trip: Some(ROUND_TRIP),
        load: LOAD,
        paced: false,
    };
    congestion.report(&report, 200, now);
    congestion.report(&report, 400, now + SECOND);
    congestion.nacked(20, 400, LOAD, now + SECOND);
    assert_eq!(congestion.rate(), START_RATE, "20 of 200");
    congestion.nacked(40, 400, LOAD, now + SECOND);
    assert_eq!(congestion.rate(), START_RATE / 2, "60 of 200");
}

#[test]
fn an_estimate_slows_the_pace_where_there_is_a_queue_and_it_is_below_what_arrives() {
    let mut path = Path::new();
    path.report(0.0, 0);
    path.congestion.estimated(200_000);
    assert!(
        path.congestion.rate() > 2_000_000,
        "of a path without a queue"
    );
    path.report(0.0, 0);
    path.report(0.0, 400);
    path.congestion.estimated(1_900_000);
    assert_eq!(path.congestion.rate(), 1_800_000, "about what arrives");
    path.congestion.estimated(1_000_000);
    assert_eq!(path.congestion.rate(), 1_000_000);
    assert_eq!(path.congestion.share(), Share::Everything);
}

proptest! {
    #[test]
    fn the_pace_keeps_its_bounds(
        steps in prop::collection::vec((0.0f64..1.0, 0u64..60_000, any::<u64>(), 0usize..2_000_000, 0u64..100_000_000, 0u64..5_000), 1..80),
    ) {
        let (mut congestion, mut now) = (Congestion::default(), Instant::now());
        for (lost, lag, delivered, key_frame, bitrate, ms) in steps {
            let lag = Duration::from_millis(lag);
            let delivered = delivered >> 16;
            let load = Load { key_frame, bitrate };
            congestion.report(&Report { lost, delivered, lag, round_trip: Some(lag), load, paced: delivered % 2 == 0 }, 0, now);
            congestion.nacked(delivered % 50, 10, load, now);
            congestion.estimated(delivered);
            prop_assert!((LEAST_RATE..=MOST_RATE).contains(&congestion.rate()));
            now += Duration::from_millis(ms);
        }
    }

    #[test]
    fn the_age_of_a_packet_is_known_to_within_a_step(
        first in any::<u32>(), gaps in prop::collection::vec((1u64..50, 0u64..200), 1..300),
    ) {
        let start = Instant::now();
        let (mut sendings, mut now, mut seq) = (Sendings::new(start), start, u64::from(first));
        let mut sent = Vec::new();
        for (packets, ms) in gaps {
            sendings.mark(seq, now);
            sent.push((seq, now));
            seq += packets;
            now += Duration::from_millis(ms);
        }
        for (seq, at) in sent {
            let (age, real) = (sendings.age(seq, now), now - at);
            let step = Duration::from_millis(u64::from(Sendings::STEP));
            prop_assert!(age <= real + step, "{age:?} for {real:?}");
            prop_assert!(age >= real.min(step * (Sendings::MARKS as u32 - 1)) - Duration::from_millis(1).min(real));
        }
    }
}
