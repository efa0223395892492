//! The engine's TCP port as its peers see it: real connections, real time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use _engine::engine::{Command, Engine};
use _engine::media::Negotiated;
use _engine::stun::{self, Key};

const PASSWORD: &str = "a-password-of-24-letters";
const VIEWER: u64 = 2;

fn engine(address: &str) -> Engine {
    let engine = Engine::start(address.parse().unwrap()).unwrap();
    engine.send(Command::OpenStream(1));
    engine.send(Command::AddViewer {
        viewer: VIEWER,
        stream: 1,
        ufrag: "ours".into(),
        pwd: PASSWORD.into(),
        remote_ufrag: "them".into(),
        negotiated: Negotiated {
            payload_type: 96,
            ssrc: 1,
            cname: "pancar".into(),
            mid: None,
            playout_delay: None,
            rtx: None,
        },
    });
    engine
}

fn connect(engine: &Engine) -> TcpStream {
    let stream = TcpStream::connect(engine.tcp_address()).unwrap();
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).unwrap();
    stream
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&(datagram.len() as u16).to_be_bytes(), datagram].concat()
}

fn request(password: &str) -> Vec<u8> {
    use ring::hmac;
    let mut message = vec![0, 1, 0, 40, 0x21, 0x12, 0xa4, 0x42];
    message.extend_from_slice(b"transaction!");
    message.extend_from_slice(&[0, 6, 0, 9]);
    message.extend_from_slice(b"ours:them\0\0\0");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let tag = hmac::sign(&key, &message);
    message.extend_from_slice(&[0, 8, 0, 20]);
    message.extend_from_slice(tag.as_ref());
    message
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut frame).unwrap();
    frame
}

/// How long the relay keeps the connection; nothing may be read from it.
fn kept(stream: &mut TcpStream) -> Duration {
    let since = Instant::now();
    match stream.read(&mut [0; 100]) {
        Ok(0) => since.elapsed(),
        Ok(_) => panic!("something was said to a stranger"),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => since.elapsed(),
        Err(e) => panic!("{e}"),
    }
}

fn eventually(mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < deadline, "not within 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_check_is_answered_however_it_is_cut_and_the_connection_lives_as_long_as_the_viewer() {
    let engine = engine("127.0.0.1:0");
    let mut stream = connect(&engine);
    for byte in framed(&request(PASSWORD)) {
        stream.write_all(&[byte]).unwrap();
    }
    let answer = read_frame(&mut stream);
    let answer = stun::parse(&answer).unwrap();
    assert_eq!(answer.class, stun::Class::Success);
    assert!(answer.verify(&Key::new(PASSWORD)));
    assert_eq!(answer.mapped_address, Some(stream.local_addr().unwrap()));
    // Beyond the time that strangers have.
    std::thread::sleep(Duration::from_millis(5500));
    stream.write_all(&framed(&request(PASSWORD))).unwrap();
    read_frame(&mut stream);
    engine.send(Command::RemoveViewer(VIEWER));
    assert!(kept(&mut stream) < Duration::from_secs(2));
    drop(stream);
    eventually(|| engine.stats().unwrap().connections == 0);
}

#[test]
fn who_does_not_prove_to_be_a_viewer_is_let_go() {
    let engine = engine("127.0.0.1:0");
    let (mut silent, mut wrong) = (connect(&engine), connect(&engine));
    let mut trickling = connect(&engine);
    wrong
        .write_all(&framed(&request("another-password-of-24-l")))
        .unwrap();
    let trickler = std::thread::spawn(move || {
        let since = Instant::now();
        // A frame that never gets whole.
        let frame = framed(&[0; 2000]);
        for byte in frame {
            if trickling.write_all(&[byte]).is_err() {
                return since.elapsed();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        since.elapsed()
    });
    let expected = Duration::from_secs(4)..Duration::from_secs(9);
    assert!(expected.contains(&kept(&mut silent)));
    assert!(kept(&mut wrong) < Duration::from_secs(5));
    assert!(expected.contains(&trickler.join().unwrap()));
    eventually(|| engine.stats().unwrap().connections == 0);
}

#[test]
fn what_is_no_framing_ends_the_connection_at_once() {
    let engine = engine("127.0.0.1:0");
    let mut stream = connect(&engine);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(kept(&mut stream) < Duration::from_secs(2));
}

#[test]
fn one_address_gets_no_more_than_its_share_of_unproven_connections() {
    let engine = engine("127.0.0.1:0");
    let mut proven = connect(&engine);
    proven.write_all(&framed(&request(PASSWORD))).unwrap();
    read_frame(&mut proven);
    let mut strangers: Vec<TcpStream> = (0..300).map(|_| connect(&engine)).collect();
    eventually(|| engine.stats().unwrap().connections == 257);
    let last = strangers.last_mut().unwrap();
    assert!(kept(last) < Duration::from_secs(2));
    proven.write_all(&framed(&request(PASSWORD))).unwrap();
    read_frame(&mut proven);
    drop(strangers);
    eventually(|| engine.stats().unwrap().connections == 1);
    let mut late = connect(&engine);
    late.write_all(&framed(&request(PASSWORD))).unwrap();
    read_frame(&mut late);
}

#[test]
fn tcp_takes_the_port_of_udp_or_another_where_that_is_taken() {
    let engine = engine("127.0.0.1:0");
    let (udp, tcp) = (engine.address(), engine.tcp_address());
    // A number may be free for one and not for the other, but not five times.
    let same = || {
        let engine = Engine::start(SocketAddr::new(udp.ip(), 0)).unwrap();
        engine.address() == engine.tcp_address()
    };
    assert!((0..5).any(|_| same()));
    let second = Engine::start(SocketAddr::new(udp.ip(), 0)).unwrap();
    assert_ne!(second.tcp_address().port(), tcp.port());
    drop(engine);
    // Somebody else's listener on the number that UDP gets.
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let third = Engine::start(taken).unwrap();
    assert_eq!(third.address(), taken);
    assert_ne!(third.tcp_address().port(), taken.port());
}

#[test]
fn the_wildcard_of_ipv6_takes_both_families() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let engine = engine("[::]:0");
    for ip in ["127.0.0.1", "::1"] {
        let to = SocketAddr::new(ip.parse().unwrap(), engine.tcp_address().port());
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(&framed(&request(PASSWORD))).unwrap();
        let answer = read_frame(&mut stream);
        let mapped = stun::parse(&answer).unwrap().mapped_address;
        assert_eq!(mapped, Some(stream.local_addr().unwrap()));

        let udp = std::net::UdpSocket::bind((ip, 0)).unwrap();
        let to = SocketAddr::new(to.ip(), engine.address().port());
        udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        udp.send_to(&request(PASSWORD), to).unwrap();
        let mut answer = [0; 200];
        let (len, from) = udp.recv_from(&mut answer).unwrap();
        let mapped = stun::parse(&answer[..len]).unwrap().mapped_address;
        assert_eq!((mapped, from), (Some(udp.local_addr().unwrap()), to));
    }
}
