//! ICE-TCP: one task accepts, one a connection reads from it, sends what waited, and ends it. The bytes go to the hub
//! as datagrams do.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::time::{sleep, sleep_until};

use super::Shell;
use crate::address::{ConnectionId, Protocol, TransportAddress};
use crate::connections::Connection;
use crate::framing::Deframer;
use crate::socket::canonical;

/// Who has not sent an authenticated STUN request by then is let go. Browsers check a new connection within a second.
const TO_PROVE: Duration = Duration::from_secs(5);
/// Read at once; others get their turn after each.
const READ: usize = 16 << 10;
/// Without descriptors left, no connection is taken for so long.
const EXHAUSTED: Duration = Duration::from_millis(200);
/// How long the peer of a connection that ends has for taking the last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub async fn accept(listener: TcpListener, shell: Weak<RefCell<Shell>>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                sleep(EXHAUSTED).await;
                continue;
            }
        };
        let Some(held) = shell.upgrade() else { return };
        let admitted = held.borrow_mut().out.tcp.admit(stream, canonical(peer));
        if let Some(id) = admitted {
            tokio::task::spawn_local(serve(id, Weak::clone(&shell)));
        }
    }
}

/// One connection, from its acceptance to its end.
async fn serve(id: ConnectionId, shell: Weak<RefCell<Shell>>) {
    let Some(held) = shell.upgrade() else { return };
    let Some(connection) = held.borrow().out.tcp.get(id).map(Rc::clone) else {
        return;
    };
    drop(held);
    let from = TransportAddress {
        socket: connection.peer,
        protocol: Protocol::Tcp(id),
    };
    let ended = run(id, from, &connection, &shell).await;
    if let Some(shell) = shell.upgrade() {
        let (mut shell, now) = (shell.borrow_mut(), Instant::now());
        shell.hub.disconnected(from, now);
        shell.turn_between(now);
    }
    if ended.is_ok() {
        say_last_words(&connection).await;
    }
    if let Some(shell) = shell.upgrade() {
        shell.borrow_mut().out.tcp.remove(id);
    }
}

/// Returns when the relay is done with the connection. Errors: its peer is, or is no viewer.
async fn run(
    id: ConnectionId,
    from: TransportAddress,
    connection: &Connection,
    shell: &Weak<RefCell<Shell>>,
) -> io::Result<()> {
    let mut deframer = Deframer::default();
    let mut proven = false;
    let to_prove = Instant::now() + TO_PROVE;
    loop {
        let waits = {
            let Some(shell) = shell.upgrade() else {
                return Ok(());
            };
            let mut shell = shell.borrow_mut();
            let tcp = &mut shell.out.tcp;
            tcp.flush_unsent(id)?;
            if tcp.get(id).is_none() {
                return Ok(());
            }
            tcp.unsent(id) > 0
        };
        tokio::select! {
            ready = connection.stream.readable() => {
                ready?;
                let Some(shell) = shell.upgrade() else { return Ok(()) };
                let mut shell = shell.borrow_mut();
                shell.receive_stream(from, connection, &mut deframer)?;
                if !proven && shell.hub.proves(from) {
                    proven = true;
                    shell.out.tcp.prove(id);
                }
            },
            ready = connection.stream.writable(), if waits => ready?,
            () = connection.stirred.notified() => {},
            () = sleep_until(to_prove.into()), if !proven => {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Shell {
    /// Takes some of what waits on a connection.
    fn receive_stream(
        &mut self,
        from: TransportAddress,
        connection: &Connection,
        deframer: &mut Deframer,
    ) -> io::Result<()> {
        let mut buffer = [0; READ];
        let bytes = match connection.stream.try_read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => &mut buffer[..count],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        let now = Instant::now();
        let (hub, out) = (&mut self.hub, &mut self.out);
        let taken = deframer.push(bytes, |frame| hub.datagram(from, frame, now, out));
        self.turn_between(now);
        taken.map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// Ends the stream behind what was written and waits for the peer to end it too: closed at once, a connection on which
/// something still comes in is reset, and what was on its way lost.
async fn say_last_words(connection: &Connection) {
    if SockRef::from(&connection.stream)
        .shutdown(Shutdown::Write)
        .is_err()
    {
        return;
    }
    let drained = async {
        let mut buffer = [0; 512];
        while connection.stream.readable().await.is_ok() {
            match connection.stream.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, drained).await;
}
