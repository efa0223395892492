//! Datagrams in a byte stream (RFC 4571, section 2): each behind its length in two bytes. `engine` feeds it what a
//! connection received; `connections` writes the same.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

/// The longest frame taken, that of the largest datagram taken over UDP.
pub const MAX_FRAME: usize = 2048;
pub const PREFIX: usize = 2;

/// A frame beyond [`MAX_FRAME`] was announced: who sends that is no viewer.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// What a frame of that many bytes is preceded by; frames are below 64 KiB, as datagrams are.
pub fn prefix(len: usize) -> [u8; PREFIX] {
    (len as u16).to_be_bytes()
}

/// Takes a stream apart. Between calls it keeps less than one frame, and at rest nothing.
#[derive(Default)]
pub struct Deframer {
    /// A frame that is not whole yet, its length first.
    partial: Vec<u8>,
}

impl Deframer {
    /// Hands each frame that `bytes` completes to `take`; empty ones are left out. After an error the stream is lost.
    pub fn push(
        &mut self,
        mut bytes: &mut [u8],
        mut take: impl FnMut(&mut [u8]),
    ) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            // Whole frames are handed on where they lie.
            if self.partial.is_empty()
                && let Some(len) = length(bytes)?
                && bytes.len() >= PREFIX + len
            {
                let (frame, rest) = bytes.split_at_mut(PREFIX + len);
                hand_on(frame, &mut take);
                bytes = rest;
                continue;
            }
            let end = length(&self.partial)?.map_or(PREFIX, |len| PREFIX + len);
            let missing = end.saturating_sub(self.partial.len());
            let (head, rest) = bytes.split_at_mut(missing.min(bytes.len()));
            self.partial.extend_from_slice(head);
            bytes = rest;
            if length(&self.partial)?.is_some_and(|len| self.partial.len() == PREFIX + len) {
                hand_on(&mut std::mem::take(&mut self.partial), &mut take);
            }
        }
        Ok(())
    }
}

/// The length of the frame that `bytes` begins with, where they hold it.
fn length(bytes: &[u8]) -> Result<Option<usize>, TooLong> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    match usize::from(u16::from_be_bytes(*prefix)) {
        len if len > MAX_FRAME => Err(TooLong),
        len => Ok(Some(len)),
    }
}

fn hand_on(frame: &mut [u8], take: &mut impl FnMut(&mut [u8])) {
    if let Some((_, datagram)) = frame.split_first_chunk_mut::<PREFIX>()
        && !datagram.is_empty()
    {
        take(datagram);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        let each = frames.iter().map(|f| [&prefix(f.len())[..], f].concat());
        each.flatten().collect()
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in prop::collection::vec(1usize..400, 1..50),
        ) {
            let mut stream = framed(&frames);
            let (mut rest, mut cuts) = (&mut stream[..], cuts.iter().cycle());
            let (mut deframer, mut seen) = (Deframer::default(), Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at_mut(rest.len().min(*cuts.next().unwrap()));
                deframer.push(piece, |frame| seen.push(frame.to_vec())).unwrap();
                prop_assert!(deframer.partial.capacity() <= 2 * (PREFIX + MAX_FRAME));
                rest = after;
            }
            let full: Vec<_> = frames.into_iter().filter(|frame| !frame.is_empty()).collect();
            prop_assert_eq!(seen, full);
            prop_assert!(deframer.partial.is_empty());
        }
    }

    #[test]
    fn the_longest_frame_is_taken_and_no_longer_one() {
        let mut longest = framed(&[vec![7; MAX_FRAME]]);
        let mut seen = 0;
        let mut deframer = Deframer::default();
        for byte in &mut longest {
            deframer
                .push(std::slice::from_mut(byte), |frame| seen += frame.len())
                .unwrap();
        }
        assert_eq!(seen, MAX_FRAME);
        let mut longer = prefix(MAX_FRAME + 1);
        assert_eq!(Deframer::default().push(&mut longer, |_| {}), Err(TooLong));
        let (mut first, mut second) = ([longer[0]], [longer[1]]);
        assert_eq!(deframer.push(&mut first, |_| {}), Ok(()));
        assert_eq!(deframer.push(&mut second, |_| {}), Err(TooLong));
    }
}
