//! What a viewer's ICE agent sends, for every test that plays one.

/// A Binding request as RFC 8489 lays it out; `username` is the relay's ufrag, a colon and the viewer's.
pub fn binding_request(username: &str, password: &str, nominate: bool) -> Vec<u8> {
    use ring::hmac;
    let mut attributes = vec![0, 6, 0, username.len() as u8];
    attributes.extend_from_slice(username.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    if nominate {
        attributes.extend_from_slice(&[0, 0x25, 0, 0]);
    }
    let mut message = vec![0, 1];
    message.extend_from_slice(&((attributes.len() + 24) as u16).to_be_bytes());
    message.extend_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    message.extend_from_slice(&[7; 12]);
    message.extend_from_slice(&attributes);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let tag = hmac::sign(&key, &message);
    message.extend_from_slice(&[0, 8, 0, 20]);
    message.extend_from_slice(tag.as_ref());
    message
}
