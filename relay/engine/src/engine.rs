//! The engine's thread: moves bytes between the socket, the pulls and the hub. Decides nothing.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as sync};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::task::AtomicWaker;
use retina::client::SessionGroup;
use ring::rand::{SecureRandom, SystemRandom};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::sleep_until;

use crate::connections::Paths;
use crate::event::Event;
use crate::hub::{Hub, Keys, Start, StreamStats, ViewerStats};
use crate::ice::{Credentials, Ice};
use crate::media::Negotiated;
use crate::rtsp;
use crate::socket::{self, Inbox, More, Outbox};

mod accept;

/// Datagram batches taken before frames get their turn.
const RECEIVE_TURNS: usize = 8;
/// How long TEARDOWN of the cameras is waited for at the end.
const TEARDOWN: Duration = Duration::from_secs(2);
/// Events kept for a process that does not take them; beyond, the oldest handshakes are lost and time out.
const MAX_EVENTS: usize = 65_536;

pub enum Command {
    OpenStream(u64),
    CloseStream(u64),
    Pull(rtsp::Request),
    StopPull(u64),
    AddViewer {
        viewer: u64,
        stream: u64,
        ufrag: String,
        pwd: String,
        remote_ufrag: String,
        negotiated: Negotiated,
    },
    SendDtls {
        viewer: u64,
        datagram: Vec<u8>,
    },
    StartMedia {
        viewer: u64,
        keys: Keys,
        last_flight: Vec<u8>,
        close_notify: Vec<u8>,
    },
    RestartIce(u64, Credentials),
    Switch {
        viewer: u64,
        stream: u64,
    },
    RemoveViewer(u64),
    Stats(sync::SyncSender<Stats>),
    Close,
}

pub struct Stats {
    pub streams: Vec<StreamStats>,
    pub viewers: Vec<ViewerStats>,
    pub dropped: u64,
    pub rejected: u64,
    pub gso: bool,
    pub connections: usize,
}

struct Shared {
    events: Mutex<VecDeque<Event>>,
    /// An eventfd, readable while events wait.
    wake: OwnedFd,
    started: Instant,
    /// Milliseconds after `started` of the loop's last round.
    beat: AtomicU64,
}

impl Shared {
    fn publish(&self, events: impl ExactSizeIterator<Item = Event>) {
        if events.len() == 0 {
            return;
        }
        let mut queue = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        queue.extend(events);
        while queue.len() > MAX_EVENTS {
            queue.pop_front();
        }
        let one = 1u64;
        // SAFETY: eight bytes from a live u64; an eventfd at its limit is readable already.
        unsafe { libc::write(self.wake.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    fn take(&self) -> VecDeque<Event> {
        let mut queue = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0u64;
        // SAFETY: eight bytes into a live u64; non-blocking.
        unsafe { libc::read(self.wake.as_raw_fd(), (&raw mut count).cast(), 8) };
        std::mem::take(&mut *queue)
    }
}

/// The engine as the rest of the process holds it.
pub struct Engine {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ids: AtomicU64,
    address: SocketAddr,
    tcp_address: SocketAddr,
}

impl Engine {
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        let socket = socket::bind(address)?;
        let address = bound(&socket)?;
        let listener = socket::listen(address)?;
        let tcp_address = bound(&listener)?;
        // SAFETY: a new descriptor that nobody else owns, or -1.
        let wake = unsafe {
            match libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        let shared = Arc::new(Shared {
            events: Mutex::default(),
            wake,
            started: Instant::now(),
            beat: AtomicU64::new(0),
        });
        let (commands, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pancar-engine".into())
            .spawn(move || {
                // retina spawns its TEARDOWN when a session is dropped: that wants the runtime's context.
                let _context = runtime.enter();
                let local = LocalSet::new();
                if let Err(error) = local.block_on(&runtime, run(socket, listener, inbox, theirs)) {
                    // The heartbeat stops with this thread, and liveness with it.
                    eprintln!("pancar engine: {error}");
                }
            })?;
        Ok(Self {
            commands,
            shared,
            thread: Mutex::new(Some(thread)),
            ids: AtomicU64::new(1),
            address,
            tcp_address,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn tcp_address(&self) -> SocketAddr {
        self.tcp_address
    }

    pub fn wake_fd(&self) -> RawFd {
        self.shared.wake.as_raw_fd()
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a command over; a closed engine takes none.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    pub fn events(&self) -> VecDeque<Event> {
        self.shared.take()
    }

    /// Time since the thread last went round.
    pub fn heartbeat(&self) -> Duration {
        let beat = Duration::from_millis(self.shared.beat.load(Ordering::Relaxed));
        self.shared.started.elapsed().saturating_sub(beat)
    }

    /// None where the thread does not answer within a second.
    pub fn stats(&self) -> Option<Stats> {
        let (reply, answer) = sync::sync_channel(1);
        self.send(Command::Stats(reply));
        answer.recv_timeout(Duration::from_secs(1)).ok()
    }

    pub fn close(&self) {
        self.send(Command::Close);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// The pulls that run, by stream.
#[derive(Default)]
struct Pulls {
    running: HashMap<u64, Running>,
    group: Arc<SessionGroup>,
}

struct Running {
    pull: u64,
    task: AbortHandle,
    alert: Rc<AtomicWaker>,
}

/// What a pull gives goes straight to the shell, which nobody else has borrowed while a pull runs.
struct Feed {
    stream: u64,
    pull: u64,
    shell: Weak<RefCell<Shell>>,
}

impl rtsp::Consumer for Feed {
    fn take(&self, message: rtsp::Message) {
        if let Some(shell) = self.shell.upgrade() {
            shell.borrow_mut().message(self.stream, self.pull, message);
        }
    }

    fn watched(&self) -> bool {
        let shell = self.shell.upgrade();
        shell.is_some_and(|shell| shell.borrow().hub.watched(self.stream))
    }
}

impl Pulls {
    fn start(&mut self, request: rtsp::Request, shell: Weak<RefCell<Shell>>) {
        self.stop(request.stream);
        let (stream, pull) = (request.stream, request.pull);
        let feed = Feed {
            stream,
            pull,
            shell,
        };
        let (group, alert) = (Arc::clone(&self.group), Rc::new(AtomicWaker::new()));
        let task = tokio::task::spawn_local(rtsp::pull(request, group, feed, Rc::clone(&alert)));
        let task = task.abort_handle();
        self.running.insert(stream, Running { pull, task, alert });
    }

    /// Somebody watches the stream, and no longer waits for its turn.
    fn alert(&self, stream: u64) {
        if let Some(running) = self.running.get(&stream) {
            running.alert.wake();
        }
    }

    /// Ends a stream's pull; dropping the session sends TEARDOWN.
    fn stop(&mut self, stream: u64) {
        if let Some(running) = self.running.remove(&stream) {
            running.task.abort();
        }
    }

    fn current(&self, stream: u64, pull: u64) -> bool {
        let running = self.running.get(&stream);
        running.is_some_and(|running| running.pull == pull)
    }
}

/// Whether the engine goes on.
#[derive(PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

struct Shell {
    hub: Hub,
    /// When the loop looks at the hub again, and how it is told to do so before.
    due: Instant,
    earlier: Rc<Notify>,
    out: Paths,
    pulls: Pulls,
    random: SystemRandom,
    shared: Arc<Shared>,
    me: Weak<RefCell<Shell>>,
}

async fn run(
    socket: Socket,
    listener: Socket,
    mut commands: mpsc::UnboundedReceiver<Command>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let out = Paths::new(Outbox::new(&socket)?);
    let earlier = Rc::new(Notify::new());
    let shell = Rc::new_cyclic(|me| {
        RefCell::new(Shell {
            hub: Hub::new(Instant::now(), ntp_now()),
            due: Instant::now(),
            earlier: Rc::clone(&earlier),
            out,
            pulls: Pulls::default(),
            random: SystemRandom::new(),
            shared,
            me: Weak::clone(me),
        })
    });
    // Nobody waits until it is writable: to be told of that as well would be a wake-up for each batch that is sent.
    // SAFETY: the socket keeps its descriptor for as long as it lives, and lives inside.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
    let listener = TcpListener::from_std(listener.into())?;
    let accepting = tokio::task::spawn_local(accept::accept(listener, Rc::downgrade(&shell)));
    let mut inbox = Inbox::default();
    let mut alarm = pin!(sleep_until(Instant::now().into()));
    loop {
        let due = shell.borrow_mut().look_again();
        if alarm.deadline() != due.into() {
            alarm.as_mut().reset(due.into());
        }
        let mut readable = None;
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                None | Some(Command::Close) => break,
                Some(command) => shell.borrow_mut().command(command),
            },
            ready = socket.readable() => readable = Some(ready?),
            () = earlier.notified() => {}
            () = &mut alarm => {}
        }
        let mut shell = shell.borrow_mut();
        if let Some(ready) = readable
            && shell.receive(ready, &mut inbox, &mut commands)? == Open::No
        {
            break;
        }
        shell.turn(Instant::now());
    }
    accepting.abort();
    let teardown = shell.borrow_mut().close();
    // Lets the aborted tasks drop their sessions, which begins their TEARDOWN.
    tokio::task::yield_now().await;
    let _ = tokio::time::timeout(TEARDOWN, teardown.await_teardown()).await;
    Ok(())
}

impl Shell {
    fn command(&mut self, command: Command) {
        let now = Instant::now();
        let (hub, out) = (&mut self.hub, &mut self.out);
        match command {
            Command::OpenStream(id) => hub.open_stream(id),
            Command::CloseStream(id) => {
                self.pulls.stop(id);
                hub.close_stream(id, now, out);
            }
            Command::Pull(request) => self.pulls.start(request, Weak::clone(&self.me)),
            Command::StopPull(id) => self.pulls.stop(id),
            Command::AddViewer {
                viewer,
                stream,
                ufrag,
                pwd,
                remote_ufrag,
                negotiated,
            } => {
                hub.add_viewer(
                    viewer,
                    stream,
                    Ice::new(&ufrag, &pwd, &remote_ufrag, now),
                    negotiated,
                    now,
                );
                self.pulls.alert(stream);
            }
            Command::SendDtls { viewer, datagram } => hub.send_dtls(viewer, &datagram, out),
            Command::StartMedia {
                viewer,
                keys,
                last_flight,
                close_notify,
            } => {
                let Some(random) = random_start(&self.random) else {
                    return;
                };
                let start = Start {
                    keys,
                    last_flight,
                    close_notify,
                    random,
                };
                // Lengths were checked where the keys came in.
                let _ = hub.start_media(viewer, start, now, out);
            }
            Command::RestartIce(id, new) => hub.restart_ice(id, &new, out),
            Command::Switch { viewer, stream } => {
                hub.switch(viewer, stream);
                self.pulls.alert(stream);
            }
            Command::RemoveViewer(id) => hub.remove_viewer(id, now, out),
            Command::Stats(reply) => {
                let _ = reply.try_send(self.stats());
            }
            Command::Close => {}
        }
    }

    fn stats(&self) -> Stats {
        Stats {
            streams: self.hub.stream_stats(),
            viewers: self.hub.viewer_stats(),
            dropped: self.out.dropped(),
            rejected: self.hub.rejected(),
            gso: self.out.udp.gso(),
            connections: self.out.tcp.len(),
        }
    }

    /// What is due, and what was gathered since the last turn.
    fn turn(&mut self, now: Instant) {
        self.hub.timeout(now, &mut self.out);
        self.out.flush();
        self.shared.publish(self.hub.events());
        let beat = now
            .saturating_duration_since(self.shared.started)
            .as_millis() as u64;
        self.shared.beat.store(beat, Ordering::Relaxed);
    }

    /// When the loop has to look at the hub again, as it now knows.
    fn look_again(&mut self) -> Instant {
        self.due = self.hub.deadline();
        self.due
    }

    /// A turn that is not the loop's, which is told where something is due before it would look.
    fn turn_between(&mut self, now: Instant) {
        self.turn(now);
        if self.hub.deadline() < self.due {
            self.look_again();
            self.earlier.notify_one();
        }
    }

    /// Takes what a pull gives, and sends on at once.
    fn message(&mut self, stream: u64, pull: u64, message: rtsp::Message) {
        if !self.pulls.current(stream, pull) {
            return;
        }
        let now = Instant::now();
        match message {
            rtsp::Message::Started(video) => {
                self.hub.rebase(stream);
                self.hub.event(Event::PullStarted {
                    stream,
                    pull,
                    video,
                });
            }
            rtsp::Message::Changed(video) => self.hub.event(Event::VideoChanged {
                stream,
                pull,
                video,
            }),
            rtsp::Message::Frame { frame, lost } => {
                self.hub.lost(stream, lost);
                self.hub.frame(stream, frame, now, &mut self.out);
            }
            rtsp::Message::Ended { fault, detail } => {
                self.pulls.running.remove(&stream);
                self.hub.event(Event::PullEnded {
                    stream,
                    pull,
                    fault,
                    detail,
                });
            }
        }
        self.turn_between(now);
    }

    /// Takes the datagrams that wait, up to a bound. Commands go first: a viewer's first STUN request follows the
    /// answer to its offer, and is lost where it overtakes the command that admits the viewer.
    fn receive(
        &mut self,
        mut socket: AsyncFdReadyGuard<'_, Socket>,
        inbox: &mut Inbox,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> io::Result<Open> {
        let fd = socket.get_inner().as_raw_fd();
        for _ in 0..RECEIVE_TURNS {
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Close => return Ok(Open::No),
                    command => self.command(command),
                }
            }
            let now = Instant::now();
            let (hub, out) = (&mut self.hub, &mut self.out);
            let taken = inbox.receive(fd, |from, datagram| {
                hub.datagram(from.into(), datagram, now, out);
            });
            match taken {
                Ok(More::Perhaps) => {}
                Ok(More::No) => {
                    socket.clear_ready();
                    break;
                }
                // A peer's ICMP error, or a signal: nothing of it concerns the socket.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ECONNREFUSED | libc::EINTR)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Open::Yes)
    }

    /// Says goodbye to all; what is returned tells when the cameras have been told.
    fn close(&mut self) -> Arc<SessionGroup> {
        let now = Instant::now();
        for stream in self.hub.stream_stats() {
            self.pulls.stop(stream.stream);
            self.hub.close_stream(stream.stream, now, &mut self.out);
        }
        self.out.flush();
        Arc::clone(&self.pulls.group)
    }
}

fn bound(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Initial sequence number and timestamp offset (RFC 3550, 5.1).
fn random_start(random: &SystemRandom) -> Option<(u16, u32)> {
    let mut bytes = [0; 6];
    random.fill(&mut bytes).ok()?;
    let [a, b, timestamp @ ..] = bytes;
    Some((u16::from_be_bytes([a, b]), u32::from_be_bytes(timestamp)))
}

/// Now as 32.32 fixed point NTP time (RFC 3550, 4).
fn ntp_now() -> u64 {
    const NTP_TO_UNIX: u64 = 2_208_988_800;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    ((now.as_secs() + NTP_TO_UNIX) << 32) + fraction
}
