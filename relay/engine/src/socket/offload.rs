//! Whether the kernel is asked to cut messages into segments (UDP GSO). It refuses where the way to a peer does: a link
//! that carries no such segment, IPsec. That is one peer's matter, whose messages are then sent datagram by datagram. Where
//! it refuses whoever they are for, the device or the kernel cannot, and to ask would be a system call more each time.
//! Pure.

use std::io;

/// Refusals in a row after which it is not asked.
const REFUSALS: u32 = 64;
/// Messages after which it is asked once again: who was refused may be gone.
const SPARED: u32 = 4096;

#[derive(Default)]
pub struct Offload {
    refused: u32,
    spared: u32,
}

/// Whether an error is the kernel's refusal of a message that is to be cut.
pub fn refuses(error: &io::Error) -> bool {
    // EIO: no checksum offload, IPsec. EINVAL: no GSO; as EMSGSIZE, a segment too large for the way (EINVAL before Linux
    // 6.14).
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE)
    )
}

impl Offload {
    pub fn asked(&self) -> bool {
        self.refused < REFUSALS
    }

    /// A message that is to be cut was taken.
    pub fn taken(&mut self) {
        self.refused = 0;
    }

    /// One was refused.
    pub fn refused(&mut self) {
        self.refused += 1;
    }

    /// A message was sent without asking.
    pub fn spared(&mut self) {
        self.spared += 1;
        if self.spared == SPARED {
            self.spared = 0;
            self.refused = REFUSALS - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(times: u32) -> Offload {
        let mut offload = Offload::default();
        (0..times).for_each(|_| offload.refused());
        offload
    }

    #[test]
    fn one_peers_refusals_keep_nobody_from_asking() {
        let mut offload = Offload::default();
        for _ in 0..1000 {
            offload.refused();
            assert!(offload.asked());
            offload.taken();
        }
    }

    #[test]
    fn who_is_always_refused_is_asked_seldom() {
        let mut offload = refused(REFUSALS);
        let mut asked = 0;
        for _ in 0..10 * SPARED {
            match offload.asked() {
                true => {
                    asked += 1;
                    offload.refused();
                }
                false => offload.spared(),
            }
        }
        assert_eq!(asked, 9);
    }

    #[test]
    fn once_taken_it_is_asked_as_before() {
        let mut offload = refused(REFUSALS);
        (0..SPARED).for_each(|_| offload.spared());
        assert!(offload.asked());
        offload.taken();
        (1..REFUSALS).for_each(|_| offload.refused());
        assert!(offload.asked());
    }
}
