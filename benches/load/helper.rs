//! Child processes of this program that end when it ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use tokio::net::{TcpListener, TcpSocket};

use crate::Fault;

/// Connections that may wait to be accepted. With tokio's own 128 a burst of 200 loses SYNs, and each
/// costs its connection a second.
const BACKLOG: u32 = 4096;

/// This executable in another role. Ends when dropped; its standard input ends with this process too.
pub(crate) struct Helper {
    child: Child,
}

impl Helper {
    /// Starts a role and gives the line with which it says that it is ready.
    pub(crate) fn start(role: &[&str]) -> Result<(Self, String), Fault> {
        let child = Command::new(std::env::current_exe()?)
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut helper = Self { child };
        let mut line = String::new();
        if let Some(out) = helper.child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if line.is_empty() {
            return Err(format!("{} ended at once", role.join(" ")).into());
        }
        Ok((helper, line.trim().to_owned()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It may have failed on its own; there is nothing more to do.
        let _status = self.child.wait();
    }
}

/// A listener for a role, on a port of the kernel's choice.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

/// Says that a role is ready.
pub(crate) fn ready(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Returns when the process that started this one has ended or wants it to.
pub(crate) fn wait_for_end() {
    let mut nothing = [0; 64];
    while matches!(io::stdin().lock().read(&mut nothing), Ok(1..)) {}
}

/// Ends this process when [`wait_for_end`] returns.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        wait_for_end();
        std::process::exit(0);
    });
}
