use std::net::UdpSocket;

use super::*;

fn sinks(count: usize) -> (Vec<UdpSocket>, Vec<SocketAddr>) {
    let sockets: Vec<UdpSocket> = (0..count)
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let addresses = sockets
        .iter()
        .map(|socket| socket.local_addr().expect("bound"))
        .collect();
    (sockets, addresses)
}

#[test]
fn runs_are_of_one_size_but_the_last_packet() {
    let runs = |sizes: &[usize]| -> Vec<(usize, usize, usize)> {
        let frame = Frame::new(sizes).expect("sizes that make sense");
        frame
            .runs
            .iter()
            .map(|run| (run.start, run.bytes, run.segment))
            .collect()
    };
    assert_eq!(
        runs(&[100, 1200, 1200, 700]),
        [(0, 100, 100), (100, 3100, 1200)]
    );
    assert_eq!(
        runs(&[900, 700, 700, 700]),
        [(0, 1600, 900), (1600, 1400, 700)]
    );
    assert_eq!(
        runs(&[100; 50]),
        [(0, 4800, 100), (4800, 200, 100)],
        "48 segments"
    );
    assert_eq!(
        runs(&[1400; 45]),
        [(0, 61600, 1400), (61600, 1400, 1400)],
        "62 kB"
    );
}

#[test]
fn every_target_gets_every_packet_sealed_with_its_own_key() {
    let (sockets, targets) = sinks(3);
    let frames = [vec![60, 300, 300, 200], vec![120]];
    let usage = run(&targets, &frames, 100.0, Duration::from_millis(20)).expect("sends");
    assert_eq!((usage.packets, usage.bytes), (15, 3 * (860 + 120)));
    assert!(usage.elapsed >= Duration::from_millis(10), "paced");
    for (ssrc, socket) in (1u32..).zip(&sockets) {
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        let key = UnboundKey::new(&AES_128_GCM, &u128::from(ssrc).to_be_bytes()).expect("a key");
        let key = LessSafeKey::new(key);
        for (sent, size) in (0u32..).zip([60, 300, 300, 200, 120]) {
            let mut packet = [0; 1500];
            let length = socket.recv(&mut packet).expect("a packet");
            assert_eq!(length, size);
            let (header, body) = packet[..length].split_at_mut(RTP_HEADER);
            assert_eq!(header[8..], ssrc.to_be_bytes());
            let mut nonce = [0; 12];
            nonce[8..].copy_from_slice(&sent.to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            assert!(key.open_in_place(nonce, Aad::from(&*header), body).is_ok());
        }
    }
}

#[test]
fn refuses_what_makes_no_sense() {
    let (_sockets, targets) = sinks(1);
    let two_families = [targets[0], "[::1]:9".parse().expect("an address")];
    for (targets, frames, fps) in [
        (&targets[..0], vec![vec![100]], 25.0),
        (&targets, vec![], 25.0),
        (&targets, vec![vec![100, 20]], 25.0),
        (&targets, vec![vec![1501]], 25.0),
        (&targets, vec![vec![100]], f64::NAN),
        (&two_families, vec![vec![100]], 25.0),
    ] {
        let error = run(targets, &frames, fps, Duration::from_millis(1)).err();
        assert_eq!(error.map(|e| e.kind()), Some(io::ErrorKind::InvalidInput));
    }
}
