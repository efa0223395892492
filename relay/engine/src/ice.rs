//! The lite side of ICE (RFC 8445, 2.5) for one viewer: which of its addresses are proven, and where its media goes.
//!
//! Lite agents send no checks. An address counts as proven once a Binding request from it carried the viewer's
//! username and a MESSAGE-INTEGRITY made with our password. Pure; called by the hub.
//!
//! Nothing tells such a request from a copy of it that somebody on the path sends on under another source address. A
//! copy of one that nominates may therefore turn the media towards a stranger, until the viewer's own next check (2.5 s
//! in browsers) brings it back: going back is free, going anywhere else takes from [`MOVES`].
//!
//! A restart (RFC 8445, 9) brings new credentials. Until a pair is nominated under them the old ones stay good, and
//! media stays where it goes.

use std::time::{Duration, Instant};

use crate::address::TransportAddress;
use crate::prefetch::prefetch;
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

/// What a new ICE session of a viewer goes by.
pub struct Credentials {
    pub local_ufrag: String,
    pub local_pwd: String,
    pub remote_ufrag: String,
}

/// One ICE session of a viewer, and the addresses proven in it.
struct Generation {
    local_ufrag: Box<str>,
    remote_ufrag: Box<str>,
    key: stun::Key,
    proven: Vec<TransportAddress>,
}

/// Which of a viewer's ICE sessions a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Current,
    Restart,
}

pub struct Ice {
    current: Generation,
    restart: Option<Box<Generation>>,
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

/// What a request or a restart made void.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Addresses that are proven no more.
    pub addresses: Vec<TransportAddress>,
    /// The username fragment of ours that ended.
    pub ufrag: Option<Box<str>>,
}

impl Generation {
    fn new(local_ufrag: &str, local_pwd: &str, remote_ufrag: &str) -> Self {
        Self {
            local_ufrag: local_ufrag.into(),
            remote_ufrag: remote_ufrag.into(),
            key: stun::Key::new(local_pwd),
            proven: Vec::new(),
        }
    }

    /// RFC 8445, 7.3 and RFC 8489, 9.1.3.
    fn authenticates(&self, request: &stun::Message<'_>) -> bool {
        request.ufrags() == Some((&*self.local_ufrag, &*self.remote_ufrag))
            && request.verify(&self.key)
    }

    /// Returns an address forgotten to make room.
    fn prove(
        &mut self,
        from: TransportAddress,
        selected: Option<TransportAddress>,
    ) -> Option<TransportAddress> {
        if self.proven.contains(&from) {
            return None;
        }
        let mut evicted = None;
        if self.proven.len() == MAX_ADDRESSES {
            let oldest = self.proven.iter().position(|a| Some(*a) != selected);
            evicted = oldest.map(|i| self.proven.remove(i));
        }
        self.proven.push(from);
        evicted
    }
}

impl Ice {
    pub fn new(local_ufrag: &str, local_pwd: &str, remote_ufrag: &str, now: Instant) -> Self {
        Self {
            current: Generation::new(local_ufrag, local_pwd, remote_ufrag),
            restart: None,
            selected: None,
            nominated: false,
            moved: now,
            home: None,
            moves: MOVES,
            refilled: now,
            expires: now + EXPIRY,
        }
    }

    /// New credentials: they take over with the first pair nominated under them. A restart that has not come so far
    /// is given up for this one.
    pub fn restart(&mut self, new: &Credentials) -> Retired {
        let next = Generation::new(&new.local_ufrag, &new.local_pwd, &new.remote_ufrag);
        match self.restart.replace(Box::new(next)) {
            Some(given_up) => self.retire(*given_up),
            None => Retired::default(),
        }
    }

    /// The username fragments of ours that requests may name.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.generations().map(|g| &*g.local_ufrag)
    }

    pub fn key(&self, of: Of) -> &stun::Key {
        match (of, &self.restart) {
            (Of::Restart, Some(restart)) => &restart.key,
            _ => &self.current.key,
        }
    }

    pub fn selected(&self) -> Option<TransportAddress> {
        self.selected
    }

    /// Has what `selected` needs come from memory meanwhile.
    pub fn prefetch(&self) {
        prefetch(&self.selected);
    }

    pub fn proven(&self) -> impl Iterator<Item = &TransportAddress> {
        self.generations().flat_map(|g| &g.proven)
    }

    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// The peer may have left; whoever still lives says so with his next check.
    pub fn hint_of_close(&mut self, now: Instant) {
        self.expires = self.expires.min(now + EXPIRY_AFTER_HINT);
    }

    /// Whether the request is from this viewer, and in which of his ICE sessions.
    pub fn authenticates(&self, request: &stun::Message<'_>) -> Option<Of> {
        if self.current.authenticates(request) {
            return Some(Of::Current);
        }
        let restart = self.restart.as_ref()?;
        restart.authenticates(request).then_some(Of::Restart)
    }

    /// Takes an authenticated request from `from`.
    pub fn accept(
        &mut self,
        from: TransportAddress,
        of: Of,
        nominates: bool,
        now: Instant,
    ) -> Retired {
        self.expires = now + EXPIRY;
        let mut retired = Retired::default();
        let mut over = false;
        match (of, self.restart.take()) {
            // RFC 8445, 9: the old pairs serve until a new one is nominated. A viewer without any has none to keep.
            (Of::Restart, Some(next)) if nominates || self.selected.is_none() => {
                let before = std::mem::replace(&mut self.current, *next);
                retired = self.retire(before);
                over = true;
            }
            (Of::Restart, Some(mut next)) => {
                retired.addresses.extend(next.prove(from, self.selected));
                self.restart = Some(next);
                return self.no_longer_proven(retired);
            }
            (_, restart) => self.restart = restart,
        }
        retired
            .addresses
            .extend(self.current.prove(from, self.selected));
        self.select(from, nominates, over, now);
        self.no_longer_proven(retired)
    }

    /// Follows an address proven in the current ICE session; `over` where that has just begun: whoever restarts has
    /// the right to move.
    fn select(&mut self, from: TransportAddress, nominates: bool, over: bool, now: Instant) {
        let moves = match self.selected {
            None => true,
            Some(_) if over && nominates => true,
            Some(selected) => selected != from && nominates && self.may_move(selected, from, now),
        };
        if moves {
            self.selected = Some(from);
            self.moved = now;
        }
        if nominates && self.selected == Some(from) {
            self.nominated = true;
        }
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
        for generation in std::iter::once(&mut self.current).chain(self.restart.as_deref_mut()) {
            generation.proven.retain(|a| *a != address);
        }
        self.home = self.home.filter(|a| *a != address);
        let lost = self.selected == Some(address);
        if lost {
            self.selected = None;
            self.nominated = false;
        }
        lost
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.current).chain(self.restart.as_deref())
    }

    fn retire(&self, generation: Generation) -> Retired {
        self.no_longer_proven(Retired {
            addresses: generation.proven,
            ufrag: Some(generation.local_ufrag),
        })
    }

    /// An address may have been proven in both ICE sessions.
    fn no_longer_proven(&self, mut retired: Retired) -> Retired {
        retired
            .addresses
            .retain(|address| !self.proven().any(|proven| proven == address));
        retired
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

    fn credentials(local_ufrag: &str, local_pwd: &str, remote_ufrag: &str) -> Credentials {
        Credentials {
            local_ufrag: local_ufrag.into(),
            local_pwd: local_pwd.into(),
            remote_ufrag: remote_ufrag.into(),
        }
    }

    #[test]
    fn media_follows_nominated_pairs_only_and_not_faster_than_the_limit() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.accept(address(1), Of::Current, false, t0);
        assert_eq!(ice.selected(), Some(address(1)));
        ice.accept(address(2), Of::Current, false, t0);
        assert_eq!(ice.selected(), Some(address(1)));
        ice.accept(address(2), Of::Current, true, t0);
        assert_eq!(ice.selected(), Some(address(2)));
        ice.accept(
            address(3),
            Of::Current,
            true,
            t0 + Duration::from_millis(500),
        );
        assert_eq!(ice.selected(), Some(address(2)));
        ice.accept(
            address(3),
            Of::Current,
            true,
            t0 + Duration::from_millis(1500),
        );
        assert_eq!(ice.selected(), Some(address(3)));
    }

    #[test]
    fn copies_of_requests_lead_media_astray_for_a_small_part_of_the_time() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        let viewer = address(1);
        ice.accept(viewer, Of::Current, true, t0);
        let mut astray = 0;
        // A copy under another address every 100 ms, for an hour; the viewer's own check every 2.5 s.
        for tick in 1..36_000u32 {
            let now = t0 + Duration::from_millis(100) * tick;
            ice.accept(address(2 + (tick % 5000) as u16), Of::Current, true, now);
            if tick % 25 == 0 {
                ice.accept(viewer, Of::Current, true, now);
            }
            astray += u32::from(ice.selected() != Some(viewer));
        }
        assert!(astray > 0, "it would follow nobody");
        assert!(astray < 36_000 / 5, "{astray} of 36,000 ticks");
        let now = t0 + Duration::from_secs(3602);
        ice.accept(viewer, Of::Current, true, now);
        assert_eq!(ice.selected(), Some(viewer), "it does not find back");
    }

    #[test]
    fn who_wanders_from_network_to_network_is_followed() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.accept(address(1), Of::Current, true, t0);
        for (n, seconds) in [(2, 2), (3, 4), (4, 60), (5, 90), (4, 95), (1, 120)] {
            ice.accept(
                address(n),
                Of::Current,
                true,
                t0 + Duration::from_secs(seconds),
            );
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
            ice.accept(address(1), Of::Current, true, now);
            let (mut moves, mut last) = (0, address(1));
            for (ms, port, nominates) in requests {
                now += Duration::from_millis(ms);
                ice.accept(address(port), Of::Current, nominates, now);
                prop_assert!(ice.proven().any(|a| Some(*a) == ice.selected()));
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
        ice.accept(address(1), Of::Current, true, t0);
        for port in 2..100 {
            ice.accept(address(port), Of::Current, false, t0);
        }
        assert_eq!(ice.proven().count(), MAX_ADDRESSES);
        assert!(ice.proven().any(|a| *a == address(1)));
    }

    #[test]
    fn the_next_request_takes_over_from_an_address_that_is_gone() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.accept(address(1), Of::Current, true, t0);
        ice.accept(address(2), Of::Current, false, t0);
        assert!(!ice.forget(address(2)));
        assert!(ice.forget(address(1)));
        assert_eq!((ice.selected(), ice.proven().count()), (None, 0));
        ice.accept(address(3), Of::Current, false, t0);
        assert_eq!(ice.selected(), Some(address(3)));
    }

    #[test]
    fn a_close_hint_shortens_life_until_the_next_check() {
        let t0 = Instant::now();
        let mut ice = ice(t0);
        ice.hint_of_close(t0);
        assert_eq!(ice.expires(), t0 + EXPIRY_AFTER_HINT);
        ice.accept(address(1), Of::Current, false, t0 + Duration::from_secs(2));
        assert_eq!(ice.expires(), t0 + Duration::from_secs(2) + EXPIRY);
    }

    #[test]
    fn media_stays_until_a_pair_is_nominated_after_a_restart() {
        let t0 = Instant::now();
        let mut ice = Ice::new("a", "p", "b", t0);
        ice.accept(address(1), Of::Current, true, t0);
        assert_eq!(ice.restart(&credentials("c", "q", "d")), Retired::default());
        assert_eq!(
            ice.accept(address(2), Of::Restart, false, t0),
            Retired::default()
        );
        assert_eq!(ice.selected(), Some(address(1)));
        ice.accept(address(1), Of::Current, true, t0);
        assert_eq!(ice.local_ufrags().collect::<Vec<_>>(), ["a", "c"]);
        // Sooner than MOVE_INTERVAL: whoever restarts has the right to.
        let retired = ice.accept(address(2), Of::Restart, true, t0);
        assert_eq!(retired.addresses, [address(1)]);
        assert_eq!(retired.ufrag.as_deref(), Some("a"));
        assert_eq!(ice.selected(), Some(address(2)));
        assert_eq!(ice.local_ufrags().collect::<Vec<_>>(), ["c"]);
        assert_eq!(ice.proven().collect::<Vec<_>>(), [&address(2)]);
    }

    #[test]
    fn an_address_of_both_ice_sessions_is_not_retired_with_the_old_one() {
        let t0 = Instant::now();
        let mut ice = Ice::new("a", "p", "b", t0);
        ice.accept(address(1), Of::Current, true, t0);
        ice.restart(&credentials("c", "q", "d"));
        assert!(
            ice.accept(address(1), Of::Restart, true, t0)
                .addresses
                .is_empty()
        );
        assert_eq!(ice.proven().collect::<Vec<_>>(), [&address(1)]);
    }

    #[test]
    fn a_restart_gives_up_one_that_never_came_about() {
        let t0 = Instant::now();
        let mut ice = Ice::new("a", "p", "b", t0);
        ice.accept(address(1), Of::Current, true, t0);
        ice.restart(&credentials("c", "q", "d"));
        ice.accept(address(2), Of::Restart, false, t0);
        let retired = ice.restart(&credentials("e", "r", "f"));
        assert_eq!(retired.addresses, [address(2)]);
        assert_eq!(retired.ufrag.as_deref(), Some("c"));
        assert_eq!(ice.selected(), Some(address(1)));
    }

    #[test]
    fn who_had_no_pair_yet_takes_the_first_of_the_restart() {
        let t0 = Instant::now();
        let mut ice = Ice::new("a", "p", "b", t0);
        ice.restart(&credentials("c", "q", "d"));
        let retired = ice.accept(address(1), Of::Restart, false, t0);
        assert_eq!(retired.ufrag.as_deref(), Some("a"));
        assert_eq!(ice.selected(), Some(address(1)));
    }
}
