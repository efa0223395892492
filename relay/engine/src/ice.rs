//! The lite side of ICE (RFC 8445, 2.5) for one viewer: which of its addresses are proven, and where its media goes.
//!
//! Lite agents send no checks. An address counts as proven once a Binding request from it carried the viewer's
//! username and a MESSAGE-INTEGRITY made with our password. Pure; called by the hub.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::stun;

/// Without an authenticated STUN request for this long a viewer is gone.
pub const EXPIRY: Duration = Duration::from_secs(30);
/// After a DTLS alert of a proven address, which cannot be told from a forged one, it must show itself within this.
const EXPIRY_AFTER_HINT: Duration = Duration::from_secs(6);
/// A nominated pair moves the media at most this often.
const MOVE_INTERVAL: Duration = Duration::from_secs(1);
const MAX_ADDRESSES: usize = 8;

pub struct Ice {
    local_ufrag: Box<str>,
    remote_ufrag: Box<str>,
    key: stun::Key,
    proven: Vec<SocketAddr>,
    selected: Option<SocketAddr>,
    nominated: bool,
    moved: Instant,
    expires: Instant,
}

/// What an authenticated request changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// An address forgotten to make room.
    pub evicted: Option<SocketAddr>,
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
            expires: now + EXPIRY,
        }
    }

    pub fn local_ufrag(&self) -> &str {
        &self.local_ufrag
    }

    pub fn key(&self) -> &stun::Key {
        &self.key
    }

    pub fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    pub fn proven(&self) -> &[SocketAddr] {
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
    pub fn accept(&mut self, from: SocketAddr, nominates: bool, now: Instant) -> Accepted {
        self.expires = now + EXPIRY;
        let mut evicted = None;
        if !self.proven.contains(&from) {
            if self.proven.len() == MAX_ADDRESSES {
                let oldest = self.proven.iter().position(|a| Some(*a) != self.selected);
                evicted = oldest.map(|i| self.proven.remove(i));
            }
            self.proven.push(from);
        }
        let settled = self.nominated && now.saturating_duration_since(self.moved) < MOVE_INTERVAL;
        let moves = match self.selected {
            None => true,
            Some(selected) => selected != from && nominates && !settled,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn media_follows_nominated_pairs_only_and_not_faster_than_the_limit() {
        let t0 = Instant::now();
        let mut ice = Ice::new("a", "p", "b", t0);
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
    fn addresses_are_bounded_and_the_selected_one_stays() {
        let t0 = Instant::now();
        let mut ice = Ice::new("a", "p", "b", t0);
        ice.accept(address(1), true, t0);
        for port in 2..100 {
            ice.accept(address(port), false, t0);
        }
        assert_eq!(ice.proven().len(), MAX_ADDRESSES);
        assert!(ice.proven().contains(&address(1)));
    }

    #[test]
    fn a_close_hint_shortens_life_until_the_next_check() {
        let t0 = Instant::now();
        let mut ice = Ice::new("a", "p", "b", t0);
        ice.hint_of_close(t0);
        assert_eq!(ice.expires(), t0 + EXPIRY_AFTER_HINT);
        ice.accept(address(1), false, t0 + Duration::from_secs(2));
        assert_eq!(ice.expires(), t0 + Duration::from_secs(2) + EXPIRY);
    }
}
