//! A node as a child process that cannot outlive the load program.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Fault;
use crate::helper;

/// Longest wait for a node to be ready.
const DEADLINE: Duration = Duration::from_secs(20);

/// Ends its node when dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Runs `program` in `folder` until the end of standard input; tells its process id and listeners.
pub(crate) fn hold(program: &str, folder: &str) -> Result<(), Fault> {
    let folder = Path::new(folder);
    let log = folder.join("log");
    let child = Command::new(program)
        .arg("run")
        .current_dir(folder)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    let mut node = Node(child);
    let begun = Instant::now();
    let listeners = loop {
        let text = fs::read_to_string(&log)?;
        let found = text.split_once("listeners=\"").and_then(|(_, rest)| {
            let (listeners, _) = rest.split_once('"')?;
            Some(listeners.to_owned())
        });
        if let Some(listeners) = found {
            break listeners;
        }
        if node.0.try_wait()?.is_some() || begun.elapsed() > DEADLINE {
            return Err(format!("{program} is not ready: {text}").into());
        }
        thread::park_timeout(Duration::from_millis(20));
    };
    helper::ready(&format!("{} {listeners}", node.0.id()))?;
    helper::wait_for_end();
    Ok(())
}
