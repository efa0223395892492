//! Vectors of RFC 5769; properties of building and parsing.

use proptest::prelude::*;

use super::*;
use crate::vectors::hex;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

const REQUEST: &str = "00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 10 53 54 55 4e 20 74 65 73 74 20 63 6c 69 65 6e 74 00 24 00 04 6e 00 01 ff
    80 29 00 08 93 2f f9 b1 51 26 3b 36 00 06 00 09 65 76 74 6a 3a 68 36 76 59 20 20 20
    00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 c1 b5 71 a2
    80 28 00 04 e5 7a 3b cf";

const RESPONSE_V4: &str = "01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20 00 20 00 08 00 01 a1 47 e1 12 a6 43
    00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 2a f9 ba 53 f0 6b e7 d7
    80 28 00 04 c0 7d 4c 96";

const RESPONSE_V6: &str = "01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20 00 20 00 14 00 02 a1 47
    01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9
    00 08 00 14 a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41
    80 28 00 04 c8 fb 0b 4c";

/// A message with any attributes, well-formed and with FINGERPRINT.
fn message(attributes: &[(u16, &[u8])], key: Option<&Key>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(Class::Request, &[5; 12], &mut out);
    attributes
        .iter()
        .for_each(|(kind, value)| writer.attribute(*kind, value));
    writer.finish(key);
    out
}

#[test]
fn rfc_5769_2_1_request() {
    let datagram = hex(REQUEST);
    let request = parse(&datagram).expect("valid");
    assert_eq!(request.class, Class::Request);
    assert_eq!(request.transaction_id, *hex("b7e7a701bc34d686fa87dfae"));
    assert_eq!(request.ufrags(), Some(("evtj", "h6vY")));
    assert_eq!(request.priority, Some(0x6e00_01ff));
    assert_eq!(request.ice_controlled, Some(0x932f_f9b1_5126_3b36));
    assert_eq!(
        (request.ice_controlling, request.use_candidate),
        (None, false)
    );
    assert!(request.fingerprint);
    assert!(request.verify(&Key::new(PASSWORD)));
    assert!(!request.verify(&Key::new("VOkJxbRl1RmTxUk/WvJxBT")));
    assert_eq!(request.unknown_required().count(), 0);
}

#[test]
fn rfc_5769_2_2_and_2_3_responses() {
    let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
    for (datagram, mapped) in [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, v6)] {
        let datagram = hex(datagram);
        let response = parse(&datagram).expect("valid");
        assert_eq!(response.class, Class::Success);
        assert_eq!(response.mapped_address, mapped.parse().ok());
        assert!(response.fingerprint && response.verify(&Key::new(PASSWORD)));
    }
}

#[test]
fn names_what_is_wrong() {
    let request = hex(REQUEST);
    let changed = |at: usize, byte: u8| {
        let mut datagram = request.clone();
        datagram[at] = byte;
        parse(&datagram).err()
    };
    assert_eq!(changed(0, 0x40), Some(Error::NotStun), "first bits");
    assert_eq!(changed(3, 0x54), Some(Error::NotStun), "length");
    assert_eq!(changed(4, 0x22), Some(Error::NotStun), "magic cookie");
    assert_eq!(changed(1, 0x03), Some(Error::Method), "Allocate");
    assert_eq!(changed(30, 0x20), Some(Error::Fingerprint));
    assert_eq!(
        changed(23, 0xff),
        Some(Error::Attribute),
        "longer than the message"
    );
    assert_eq!(parse(&request[..19]), Err(Error::NotStun));
}

#[test]
fn a_request_without_integrity_verifies_with_no_key() {
    let datagram = message(&[(attribute::USERNAME, b"a:b")], None);
    let request = parse(&datagram).expect("valid");
    assert!(!request.has_integrity() && !request.verify(&Key::new("")));
}

#[test]
fn believes_nothing_behind_the_integrity() {
    let key = Key::new(PASSWORD);
    let mut datagram = message(&[(attribute::USERNAME, b"a:b")], Some(&key));
    let end = datagram.len() - 8;
    datagram.truncate(end);
    let mut writer = Writer {
        out: &mut datagram,
        start: 0,
    };
    writer.attribute(attribute::USE_CANDIDATE, b"");
    writer.finish(None);
    let request = parse(&datagram).expect("valid");
    assert!(request.verify(&key) && !request.use_candidate);
}

#[test]
fn refuses_attributes_behind_the_fingerprint() {
    let mut datagram = message(&[], None);
    let mut writer = Writer {
        out: &mut datagram,
        start: 0,
    };
    writer.attribute(attribute::USE_CANDIDATE, b"");
    // FINGERPRINT is made anew, as if it had counted on what follows.
    let length = (datagram.len() - HEADER) as u16;
    datagram[2..4].copy_from_slice(&length.to_be_bytes());
    let crc = fingerprint(&[&datagram[..HEADER]]);
    datagram[HEADER + 4..HEADER + 8].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(parse(&datagram), Err(Error::Attribute));
}

#[test]
fn answers_unknown_attributes_by_their_names() {
    let request = message(
        &[
            (0x7001, b"x"),
            (attribute::USE_CANDIDATE, b""),
            (0x8001, b""),
        ],
        None,
    );
    let request = parse(&request).expect("valid");
    let unknown: Vec<u16> = request.unknown_required().collect();
    assert_eq!(unknown, [0x7001]);

    let key = Key::new(PASSWORD);
    let mut out = Vec::new();
    unknown_attributes(request.transaction_id, unknown.into_iter(), &key, &mut out);
    let response = parse(&out).expect("valid");
    assert_eq!(
        (response.class, response.error_code),
        (Class::Error, Some(420))
    );
    assert!(response.verify(&key));
    let mut attributes = Attributes {
        rest: response.attributes,
    }
    .filter_map(Result::ok);
    assert!(attributes.any(|attribute| attribute == (0x000a, &[0x70, 0x01])));
}

#[test]
fn reports_an_ipv4_address_seen_by_a_dual_stack_socket_as_ipv4() {
    let mut out = Vec::new();
    let mapped = "[::ffff:192.0.2.1]:9".parse().expect("an address");
    success([0; 12], mapped, &Key::new(PASSWORD), &mut out);
    let response = parse(&out).expect("valid");
    assert_eq!(response.mapped_address, "192.0.2.1:9".parse().ok());
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_canonical());
    (prop_oneof![v4, v6], any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn success_parses_to_what_was_built(
        id: TransactionId, mapped in address(), password in "[ -~]{22}", before in 0usize..9,
    ) {
        let mut out = vec![0xff; before];
        let key = Key::new(&password);
        success(id, mapped, &key, &mut out);
        let response = parse(&out[before..]).expect("valid");
        prop_assert_eq!(response.class, Class::Success);
        prop_assert_eq!(response.transaction_id, id);
        prop_assert_eq!(response.mapped_address, Some(mapped));
        prop_assert!(response.fingerprint && response.verify(&key));
        prop_assert!(!response.verify(&Key::new("another password")));
    }

    #[test]
    fn error_parses_to_what_was_built(id: TransactionId, code in 300u16..700, keyed: bool) {
        let key = Key::new(PASSWORD);
        let mut out = Vec::new();
        error(id, code, "Reason", keyed.then_some(&key), &mut out);
        let response = parse(&out).expect("valid");
        prop_assert_eq!((response.class, response.error_code), (Class::Error, Some(code)));
        prop_assert_eq!(response.transaction_id, id);
        prop_assert_eq!(response.verify(&key), keyed);
    }

    #[test]
    fn a_request_with_any_bit_flipped_is_not_authentic(
        bit in 0..(hex(REQUEST).len() - 8) * 8,
    ) {
        // Without FINGERPRINT, which would tell before the integrity does.
        let mut datagram = hex(REQUEST);
        datagram.truncate(datagram.len() - 8);
        datagram[3] -= 8;
        let authentic = |datagram: &[u8]| {
            parse(datagram).is_ok_and(|message| message.verify(&Key::new(PASSWORD)))
        };
        prop_assert!(authentic(&datagram));
        datagram[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!authentic(&datagram));
    }

    #[test]
    fn survives_noise_behind_a_good_header(
        mut noise in prop::collection::vec(any::<u8>(), 20..300), kind in 0u8..4,
    ) {
        noise.truncate(noise.len() / 4 * 4);
        let length = (noise.len() - HEADER) as u16;
        noise[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        noise[2..4].copy_from_slice(&length.to_be_bytes());
        if noise.len() > 24 {
            noise[20..24].copy_from_slice(&[0, 0x20 + kind, 0, 4]);
        }
        if let Ok(message) = parse(&noise) {
            prop_assert!(!message.verify(&Key::new(PASSWORD)));
            prop_assert!(message.unknown_required().count() <= noise.len() / 4);
        }
    }
}
