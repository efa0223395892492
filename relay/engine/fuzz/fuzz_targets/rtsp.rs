//! Whatever an RTSP server says, in whatever pieces: it is read or refused, and nothing beyond the bound is kept. The
//! first byte chooses the pieces' size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retina::rtsp::msg::Message;
use retina::rtsp::parse::{FeedError, Parser};

const BOUND: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, stream)) = input.split_first() else {
        return;
    };
    let mut parser = Parser::builder().max_message_size(BOUND).build();
    let mut kept: Vec<u8> = Vec::new();
    for piece in stream.chunks(usize::from(choice) + 1) {
        kept.extend_from_slice(piece);
        loop {
            let peeked = parser.peek_data(&kept);
            let mut rest = kept.as_slice();
            let fed = parser.feed(&mut rest);
            if let Some((channel_id, body_len)) = peeked {
                let Ok(Some((Message::Data(data), body))) = &fed else {
                    panic!("data that the parser does not see: {fed:?}");
                };
                assert_eq!((data.channel_id, data.body_len), (channel_id, body_len));
                assert_eq!(body.len(), usize::from(body_len));
                assert_eq!(kept.len() - rest.len(), 4 + usize::from(body_len));
            }
            let (over, refused) = match fed {
                Ok(Some((_, body))) => {
                    assert!(body.len() <= usize::from(u16::MAX));
                    (false, false)
                }
                Ok(None) | Err(FeedError::Incomplete(_)) => (true, false),
                Err(FeedError::Invalid(_)) => (true, true),
            };
            let left = rest.len();
            kept.drain(..kept.len() - left);
            if refused {
                return;
            }
            if over {
                break;
            }
        }
    }
});
