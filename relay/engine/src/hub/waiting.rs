//! The viewers for whom something waits, and when the first of them is to be brought further.

use std::time::Instant;

#[derive(Default)]
pub struct Waiting {
    /// Each once.
    viewers: Vec<u64>,
    due: Option<Instant>,
}

impl Waiting {
    /// Something waits for a viewer for whom nothing did.
    pub fn add(&mut self, viewer: u64, due: Instant) {
        self.viewers.push(viewer);
        self.due = Some(self.due.map_or(due, |at| at.min(due)));
    }

    pub fn remove(&mut self, viewer: u64) {
        self.viewers.retain(|waiting| *waiting != viewer);
    }

    /// When `each` is to be called, at the latest; None while nobody waits.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Brings everybody further by `advance`, which says when it is his turn again; None where nothing waits any more.
    pub fn each(&mut self, mut advance: impl FnMut(u64) -> Option<Instant>) {
        let mut next = None;
        self.viewers.retain(|viewer| {
            let due = advance(*viewer);
            next = due.into_iter().chain(next).min();
            due.is_some()
        });
        self.due = next;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_due_when_the_first_is_and_over_when_nobody_waits() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut waiting = Waiting::default();
        assert_eq!(waiting.due(), None);
        waiting.add(1, at(4));
        waiting.add(2, at(2));
        waiting.add(3, at(3));
        assert_eq!(waiting.due(), Some(at(2)));
        waiting.each(|viewer| (viewer != 2).then(|| at(5 + viewer)));
        assert_eq!(waiting.due(), Some(at(6)));
        waiting.remove(1);
        let mut brought = Vec::new();
        waiting.each(|viewer| {
            brought.push(viewer);
            None
        });
        assert_eq!(brought, [3]);
        assert_eq!(waiting.due(), None);
    }
}
