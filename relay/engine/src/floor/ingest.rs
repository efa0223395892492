//! The floor under the ingest's figures: retina's sessions and access units, which are dropped.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use retina::client::{PlayOptions, Session, SessionOptions, SetupOptions};
use retina::codec::CodecItem;
use tokio::task::LocalSet;
use url::Url;

use super::thread_cpu;

/// What a run took, after all sessions were up.
pub struct Usage {
    pub frames: u64,
    pub cpu: Duration,
    pub elapsed: Duration,
}

/// Time for the sessions to come up before anything is counted.
const SETTLE: Duration = Duration::from_secs(3);

/// Pulls all of `urls` on this thread, for `duration` once they settled.
///
/// Errors: what the runtime says; cameras that do not play are missing from the frames.
pub fn run(urls: &[Url], duration: Duration) -> io::Result<Usage> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // retina spawns its TEARDOWN when a session is dropped: that wants the runtime's context.
    let _context = runtime.enter();
    LocalSet::new().block_on(&runtime, async {
        let frames = Rc::new(Cell::new(0u64));
        for url in urls {
            let (url, frames) = (url.clone(), Rc::clone(&frames));
            tokio::task::spawn_local(async move { count(url, &frames).await });
        }
        tokio::time::sleep(SETTLE).await;
        let (since, cpu, before) = (Instant::now(), thread_cpu()?, frames.get());
        tokio::time::sleep(duration).await;
        Ok(Usage {
            frames: frames.get() - before,
            cpu: thread_cpu()?.saturating_sub(cpu),
            elapsed: since.elapsed(),
        })
    })
}

async fn count(url: Url, frames: &Cell<u64>) -> Result<(), retina::Error> {
    let mut session = Session::describe(url, SessionOptions::default()).await?;
    session.setup(0, SetupOptions::default()).await?;
    let mut demuxed = session.play(PlayOptions::default()).await?.demuxed()?;
    while let Some(item) = demuxed.next().await {
        if let CodecItem::VideoFrame(frame) = item? {
            frames.set(frames.get() + u64::from(!frame.data().is_empty()));
        }
    }
    Ok(())
}
