use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::framing::Deframer;
use crate::socket;

/// The table with one connection let in, and that connection's other end.
async fn connected() -> (Paths, TransportAddress, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (ours, peer) = listener.accept().await.unwrap();
    ours.writable().await.unwrap();
    let udp = socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut paths = Paths::new(Outbox::new(&udp).unwrap());
    let id = paths.tcp.admit(ours, peer).unwrap();
    (paths, address(peer, id), theirs)
}

fn address(socket: SocketAddr, id: ConnectionId) -> TransportAddress {
    TransportAddress {
        socket,
        protocol: Protocol::Tcp(id),
    }
}

fn id(to: TransportAddress) -> ConnectionId {
    match to.protocol {
        Protocol::Tcp(id) => id,
        Protocol::Udp => unreachable!(),
    }
}

/// Datagrams that arrive until nothing comes for a while; what waits is sent meanwhile.
async fn received(paths: &mut Paths, to: TransportAddress, from: &TcpStream) -> Vec<Vec<u8>> {
    let (mut deframer, mut datagrams) = (Deframer::default(), Vec::new());
    let mut buffer = vec![0; 200_000];
    loop {
        if let Some(connection) = paths.tcp.get(id(to)).map(Rc::clone) {
            let _ = timeout(Duration::from_millis(1), connection.stream.writable()).await;
            paths.tcp.flush_unsent(id(to)).unwrap();
        }
        if timeout(Duration::from_millis(300), from.readable())
            .await
            .is_err()
        {
            return datagrams;
        }
        match from.try_read(&mut buffer) {
            Ok(0) => return datagrams,
            Ok(count) => deframer
                .push(&mut buffer[..count], |d| datagrams.push(d.to_vec()))
                .unwrap(),
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

#[tokio::test]
async fn messages_arrive_cut_into_datagrams() {
    let (mut paths, to, theirs) = connected().await;
    let bytes: Vec<u8> = (0..250).collect();
    paths.message(to, 100, 250).copy_from_slice(&bytes);
    paths.datagram(to, b"alone");
    paths.message(to, 50, 100).copy_from_slice(&bytes[..100]);
    paths.flush();
    let expected: [&[u8]; 6] = [
        &bytes[..100],
        &bytes[100..200],
        &bytes[200..],
        b"alone",
        &bytes[..50],
        &bytes[50..100],
    ];
    assert_eq!(received(&mut paths, to, &theirs).await, expected);
    assert_eq!((paths.dropped(), paths.unsent(to)), (0, 0));
}

#[tokio::test]
async fn a_reader_that_is_stuck_costs_a_bounded_room_and_later_reads_whole_datagrams() {
    let (mut paths, to, theirs) = connected().await;
    let total = 10_000u32;
    for number in 0..total {
        let room = paths.message(to, 1000, 1000);
        room[..4].copy_from_slice(&number.to_be_bytes());
        room[4..].fill(number as u8);
        if number % 8 == 0 {
            paths.flush();
            assert!(paths.unsent(to) <= MAX_UNSENT);
        }
    }
    paths.flush();
    assert!(paths.unsent(to) > MAX_UNSENT / 2, "nobody was stuck");
    let dropped = paths.dropped();
    let datagrams = received(&mut paths, to, &theirs).await;
    assert_eq!(datagrams.len() as u64 + dropped, u64::from(total));
    let number = |d: &[u8]| u32::from_be_bytes([d[0], d[1], d[2], d[3]]);
    assert!(datagrams.windows(2).all(|w| number(&w[0]) < number(&w[1])));
    for datagram in &datagrams {
        assert_eq!(datagram.len(), 1000);
        assert!(datagram[4..].iter().all(|b| *b == number(datagram) as u8));
    }
    let room = paths.tcp.open(id(to)).unwrap().unsent.capacity();
    assert_eq!(room, 0, "the room is kept though nothing waits");
}

#[tokio::test]
async fn what_is_for_a_connection_that_is_over_goes_nowhere() {
    let (mut paths, to, theirs) = connected().await;
    paths.datagram(to, b"before");
    paths.close(to);
    assert!(paths.tcp.get(id(to)).is_none(), "it is not told to end");
    assert_eq!(received(&mut paths, to, &theirs).await, [b"before"]);
    paths.tcp.remove(id(to));
    assert!(paths.tcp.is_empty());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let next = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (ours, peer) = listener.accept().await.unwrap();
    ours.writable().await.unwrap();
    let taken = paths.tcp.admit(ours, peer).unwrap();
    assert_eq!(taken.slot, id(to).slot);
    paths.message(to, 100, 300);
    paths.datagram(address(peer, taken), b"mine");
    paths.flush();
    let read = received(&mut paths, address(peer, taken), &next).await;
    assert_eq!(read, [b"mine"]);
    assert_eq!(paths.dropped(), 3);
}

fn stranger(slot: u32) -> ConnectionId {
    ConnectionId { slot, turn: 1 }
}

#[test]
fn one_address_holds_its_share_of_unproven_connections_and_no_more() {
    let mut strangers = Strangers::default();
    let of_one_network = |host: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + host));
    for slot in 0..MAX_STRANGERS_OF_ONE {
        assert!(strangers.has_room(of_one_network(u128::from(slot))));
        strangers.come(stranger(slot), of_one_network(u128::from(slot)));
    }
    assert!(!strangers.has_room(of_one_network(1 << 40)));
    assert!(strangers.has_room(of_one_network(1 << 64)));
    assert!(strangers.has_room("192.0.2.1".parse().unwrap()));
    strangers.leave(stranger(7));
    assert!(strangers.has_room(of_one_network(1)));
}

#[test]
fn of_all_unproven_connections_the_oldest_makes_room() {
    let mut strangers = Strangers::default();
    for slot in 0..MAX_STRANGERS as u32 {
        assert_eq!(strangers.surplus(), None);
        strangers.come(
            stranger(slot),
            Ipv6Addr::from_bits(u128::from(slot) << 64).into(),
        );
    }
    strangers.leave(stranger(0));
    assert_eq!(strangers.surplus(), None);
    strangers.come(stranger(5000), "192.0.2.1".parse().unwrap());
    assert_eq!(strangers.surplus(), Some(stranger(1)));
    for slot in 0..=5000 {
        strangers.leave(stranger(slot));
    }
    assert!(strangers.by_source.is_empty());
}
