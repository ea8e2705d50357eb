//! Tasks that belong together and end together.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Spawns tasks on one runtime; every task ends when [`Tasks::stop`] is called or the last clone is
/// dropped.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    stop: Arc<watch::Sender<bool>>,
}

impl Tasks {
    /// Tasks on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            stop: Arc::new(watch::channel(false).0),
        }
    }

    /// Runs `task` until it ends or all are stopped; it may be dropped at any await.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        let handle = self.runtime.spawn(async move {
            tokio::select! {
                () = task => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        drop(handle);
    }

    /// Becomes true when the tasks stop.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Stops all of them.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}
