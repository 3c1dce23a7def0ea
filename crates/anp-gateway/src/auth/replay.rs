//! The file of used nonces, which the gateway before this one may still have open, and the one after
//! it wants.

use std::{
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use anp_auth::{
    replay::{FileReplay, FileReplayError, Once, ReplayStore, SpendError},
    resolver::BoxFuture,
};
use tokio::sync::watch;

/// Between two tries to open the file.
const PAUSE: Duration = Duration::from_millis(50);

/// A [`FileReplay`] that may come later and go sooner than the gateway.
#[derive(Debug)]
pub(super) struct LateReplay(Arc<watch::Sender<Stage>>);

#[derive(Clone, Debug)]
enum Stage {
    Waiting,
    Open(Arc<FileReplay>),
    Retired,
}

impl LateReplay {
    /// Opens the file; where `late`, as soon as another process has let go of it.
    pub(super) fn open(file: &Path, now: i64, late: bool) -> Result<Self, FileReplayError> {
        match FileReplay::open(file, now) {
            Ok(open) => {
                let stage = watch::Sender::new(Stage::Open(Arc::new(open)));
                Ok(Self(Arc::new(stage)))
            }
            Err(FileReplayError::InUse(_)) if late => {
                let stage = Arc::new(watch::Sender::new(Stage::Waiting));
                let (waiting, file) = (Arc::downgrade(&stage), file.to_owned());
                std::thread::spawn(move || wait(&waiting, &file, now));
                Ok(Self(stage))
            }
            Err(error) => Err(error),
        }
    }

    /// Closes the file once what is being written is written.
    pub(super) fn retire(&self) {
        self.0.send_replace(Stage::Retired);
    }

    async fn now(&self) -> Result<Arc<FileReplay>, SpendError> {
        let mut stage = self.0.subscribe();
        let known = stage
            .wait_for(|stage| !matches!(stage, Stage::Waiting))
            .await;
        match known.as_deref() {
            Ok(Stage::Open(open)) => Ok(open.clone()),
            _ => Err(SpendError::Broken("the gateway is stopping".into())),
        }
    }
}

fn wait(stage: &Weak<watch::Sender<Stage>>, file: &Path, now: i64) {
    loop {
        let opened = FileReplay::open(file, now);
        let Some(stage) = stage.upgrade() else {
            return;
        };
        if !matches!(*stage.borrow(), Stage::Waiting) {
            return;
        }
        let next = match opened {
            Ok(open) => Stage::Open(Arc::new(open)),
            Err(FileReplayError::InUse(_)) => {
                drop(stage);
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "nobody is let in by a signature");
                Stage::Retired
            }
        };
        stage.send_if_modified(|stage| {
            let waiting = matches!(stage, Stage::Waiting);
            if waiting {
                *stage = next;
            }
            waiting
        });
        return;
    }
}

impl ReplayStore for LateReplay {
    fn spend<'a>(&'a self, once: &Once) -> BoxFuture<'a, Result<(), SpendError>> {
        let once = *once;
        Box::pin(async move { self.now().await?.spend(&once).await })
    }

    fn complete_since(&self) -> BoxFuture<'_, Result<i64, SpendError>> {
        Box::pin(async move { self.now().await?.complete_since().await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(nonce: &str) -> Once {
        Once::new(&"did:wba:a.example".parse().unwrap(), nonce, 400, 100)
    }

    #[tokio::test]
    async fn a_file_goes_from_one_gateway_to_the_next_with_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nonces.redb");
        let first = LateReplay::open(&file, 100, false).unwrap();
        assert_eq!(first.spend(&once("a")).await, Ok(()));
        assert!(LateReplay::open(&file, 100, false).is_err());
        let second = LateReplay::open(&file, 100, true).unwrap();
        let asked = second.spend(&once("a"));
        first.retire();
        assert_eq!(asked.await, Err(SpendError::Used));
        assert_eq!(second.complete_since().await, Ok(100));
        assert!(matches!(
            first.spend(&once("b")).await,
            Err(SpendError::Broken(_))
        ));
    }
}
