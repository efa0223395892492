//! The lite side of ICE (RFC 8445, 2.5) for one viewer: which of its addresses are proven, and where its media goes.
//!
//! Lite agents send no checks. An address counts as proven once a Binding request from it carried the viewer's
//! username and a MESSAGE-INTEGRITY made with our password. Pure; called by the hub.
//!
//! Nothing tells such a request from a copy of it that somebody on the path sends on under another source address. A
//! copy of one that nominates may therefore turn the media towards a stranger, until the viewer's own next check (2.5 s
//! in browsers) brings it back: going back is free, going anywhere else takes from [`MOVES`].

use std::time::{Duration, Instant};

use crate::address::TransportAddress;
use crate::stun;

/// Without an authenticated STUN request for this long a viewer is gone.
pub const EXPIRY: Duration = Duration::from_secs(30);
/// After a DTLS alert of a proven address, which cannot be told from a forged one, it must show itself within this.
const EXPIRY_AFTER_HINT: Duration = Duration::from_secs(6);
/// A nominated pair moves the media at most this often.
const MOVE_INTERVAL: Duration = Duration::from_secs(1);
/// Moves that may follow each other at that pace, and how long it takes until there is one more.
const MOVES: u32 = 4;
const MOVES_INTERVAL: Duration = Duration::from_secs(15);
/// An address that has had the media for so long is where it comes back to.
const SETTLED: Duration = Duration::from_secs(30);
const MAX_ADDRESSES: usize = 8;

pub struct Ice {
    local_ufrag: Box<str>,
    remote_ufrag: Box<str>,
    key: stun::Key,
    proven: Vec<TransportAddress>,
    selected: Option<TransportAddress>,
    nominated: bool,
    moved: Instant,
    /// Where the media was before it moved, for as long as it may have been led astray.
    home: Option<TransportAddress>,
    moves: u32,
    /// When `moves` last grew, or began to be less than all.
    refilled: Instant,
    expires: Instant,
}

/// What an authenticated request changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// An address forgotten to make room.
    pub evicted: Option<TransportAddress>,
}

impl Ice {
    pub fn new(local_ufrag: &str, local_pwd: &str, remote_ufrag: &str, now: Instant) -> Self {
        Self {
            local_ufrag: local_ufrag.into(),
            remote_ufrag: remote_ufrag.into(),
            key: stun::Key::new(local_pwd),
            proven: Vec::new(),
            selected: None,
            nominated: false,
            moved: now,
            home: None,
            moves: MOVES,
            refilled: now,
            expires: now + EXPIRY,
        }
    }

    pub fn local_ufrag(&self) -> &str {
        &self.local_ufrag
    }

    pub fn key(&self) -> &stun::Key {
        &self.key
    }

    pub fn selected(&self) -> Option<TransportAddress> {
        self.selected
    }

    pub fn proven(&self) -> &[TransportAddress] {
        &self.proven
    }

    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// The peer may have left; whoever still lives says so with his next check.
    pub fn hint_of_close(&mut self, now: Instant) {
        self.expires = self.expires.min(now + EXPIRY_AFTER_HINT);
    }

    /// Whether the request is from this viewer: RFC 8445, 7.3 and RFC 8489, 9.1.3.
    pub fn authenticates(&self, request: &stun::Message<'_>) -> bool {
        request.ufrags() == Some((&*self.local_ufrag, &*self.remote_ufrag))
            && request.verify(&self.key)
    }

    /// Takes an authenticated request from `from`.
    pub fn accept(&mut self, from: TransportAddress, nominates: bool, now: Instant) -> Accepted {
        self.expires = now + EXPIRY;
        let mut evicted = None;
        if !self.proven.contains(&from) {
            if self.proven.len() == MAX_ADDRESSES {
                let oldest = self.proven.iter().position(|a| Some(*a) != self.selected);
                evicted = oldest.map(|i| self.proven.remove(i));
            }
            self.proven.push(from);
        }
        let moves = match self.selected {
            None => true,
            Some(selected) => selected != from && nominates && self.may_move(selected, from, now),
        };
        if moves {
            self.selected = Some(from);
            self.moved = now;
        }
        if nominates && self.selected == Some(from) {
            self.nominated = true;
        }
        Accepted { evicted }
    }

    fn may_move(&mut self, selected: TransportAddress, to: TransportAddress, now: Instant) -> bool {
        if !self.nominated {
            return true;
        }
        let held = now.saturating_duration_since(self.moved);
        if held < MOVE_INTERVAL {
            return false;
        }
        if self.home == Some(to) {
            self.home = None;
            return true;
        }
        self.refill(now);
        if self.moves == 0 {
            return false;
        }
        self.moves -= 1;
        if self.home.is_none() || held >= SETTLED {
            self.home = Some(selected);
        }
        true
    }

    fn refill(&mut self, now: Instant) {
        while self.moves < MOVES && now.saturating_duration_since(self.refilled) >= MOVES_INTERVAL {
            self.moves += 1;
            self.refilled += MOVES_INTERVAL;
        }
        if self.moves == MOVES {
            self.refilled = now;
        }
    }

    /// An address that leads nowhere any more, for its connection is over. Returns whether media went there; then it
    /// goes to wherever the next request comes from.
    pub fn forget(&mut self, address: TransportAddress) -> bool {
        self.proven.retain(|a| *a != address);
        self.home = self.home.filter(|a| *a != address);
        let lost = self.selected == Some(address);
        if lost {
            self.selected = None;
            self.nominated = false;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    fn address(port: u16) -> TransportAddress {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    fn ice(now: Instant) -> Ice {
        Ice::new("a", "p", "b", now)
    }

    #[test]
    fn media_follows_nominated_pairs_only_and_not_faster_than_the_limit() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.accept(address(1), false, t0);
        assert_eq!(ice.selected(), Some(address(1)));
        ice.accept(address(2), false, t0);
        assert_eq!(ice.selected(), Some(address(1)));
        ice.accept(address(2), true, t0);
        assert_eq!(ice.selected(), Some(address(2)));
        ice.accept(address(3), true, t0 + Duration::from_millis(500));
        assert_eq!(ice.selected(), Some(address(2)));
        ice.accept(address(3), true, t0 + Duration::from_millis(1500));
        assert_eq!(ice.selected(), Some(address(3)));
    }

    #[test]
    fn copies_of_requests_lead_media_astray_for_a_small_part_of_the_time() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        let viewer = address(1);
        ice.accept(viewer, true, t0);
        let mut astray = 0;
        // A copy under another address every 100 ms, for an hour; the viewer's own check every 2.5 s.
        for tick in 1..36_000u32 {
            let now = t0 + Duration::from_millis(100) * tick;
            ice.accept(address(2 + (tick % 5000) as u16), true, now);
            if tick % 25 == 0 {
                ice.accept(viewer, true, now);
            }
            astray += u32::from(ice.selected() != Some(viewer));
        }
        assert!(astray > 0, "it would follow nobody");
        assert!(astray < 36_000 / 5, "{astray} of 36,000 ticks");
        let now = t0 + Duration::from_secs(3602);
        ice.accept(viewer, true, now);
        assert_eq!(ice.selected(), Some(viewer), "it does not find back");
    }

    #[test]
    fn who_wanders_from_network_to_network_is_followed() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.accept(address(1), true, t0);
        for (n, seconds) in [(2, 2), (3, 4), (4, 60), (5, 90), (4, 95), (1, 120)] {
            ice.accept(address(n), true, t0 + Duration::from_secs(seconds));
            assert_eq!(ice.selected(), Some(address(n)), "after {seconds} s");
        }
    }

    proptest! {
        #[test]
        fn moves_to_strangers_are_bounded_whatever_comes_when(
            requests in prop::collection::vec((0u64..3000, 1u16..6, any::<bool>()), 1..300),
        ) {
            let t0 = Instant::now();
            let (mut ice, mut now) = (ice(t0), t0);
            ice.accept(address(1), true, now);
            let (mut moves, mut last) = (0, address(1));
            for (ms, port, nominates) in requests {
                now += Duration::from_millis(ms);
                ice.accept(address(port), nominates, now);
                prop_assert!(ice.proven().contains(&ice.selected().unwrap()));
                moves += u64::from(ice.selected() != Some(last));
                last = ice.selected().unwrap();
            }
            let paid = u64::from(MOVES) + (now - t0).as_secs() / MOVES_INTERVAL.as_secs();
            // Each way out may be followed by one back.
            prop_assert!(moves <= 2 * paid, "{moves} moves in {:?}", now - t0);
        }
    }

    #[test]
    fn addresses_are_bounded_and_the_selected_one_stays() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.accept(address(1), true, t0);
        for port in 2..100 {
            ice.accept(address(port), false, t0);
        }
        assert_eq!(ice.proven().len(), MAX_ADDRESSES);
        assert!(ice.proven().contains(&address(1)));
    }

    #[test]
    fn the_next_request_takes_over_from_an_address_that_is_gone() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.accept(address(1), true, t0);
        ice.accept(address(2), false, t0);
        assert!(!ice.forget(address(2)));
        assert!(ice.forget(address(1)));
        assert_eq!((ice.selected(), ice.proven().len()), (None, 0));
        ice.accept(address(3), false, t0);
        assert_eq!(ice.selected(), Some(address(3)));
    }

    #[test]
    fn a_close_hint_shortens_life_until_the_next_check() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.hint_of_close(t0);
        assert_eq!(ice.expires(), t0 + EXPIRY_AFTER_HINT);
        ice.accept(address(1), false, t0 + Duration::from_secs(2));
        assert_eq!(ice.expires(), t0 + Duration::from_secs(2) + EXPIRY);
    }
}
