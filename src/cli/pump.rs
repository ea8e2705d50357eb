//! Copying bytes between two descriptors of any kind, blocking, for `muses connect`.

use std::{
    fs::OpenOptions,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, read, write},
    net::{Shutdown, shutdown},
};

const BUFFER_BYTES: usize = 64 * 1024;

/// Why copying ended.
#[derive(Debug)]
pub(super) enum PumpEnd {
    /// The source ended and everything is written.
    Finished,
    /// The source failed.
    ReadFailed(Errno),
    /// The destination failed; bytes are lost.
    WriteFailed(Errno),
}

/// Copies until the end. Descriptors may be blocking or not.
pub(super) fn copy(from: impl AsFd, to: impl AsFd) -> PumpEnd {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let len = match patiently(from, PollFlags::IN, || read(from, &mut *buffer)) {
            Ok(0) => return PumpEnd::Finished,
            Ok(len) => len,
            Err(e) => return PumpEnd::ReadFailed(e),
        };
        let mut rest = buffer.get(..len).unwrap_or_default();
        while !rest.is_empty() {
            match patiently(to, PollFlags::OUT, || write(to, rest)) {
                Ok(0) => return PumpEnd::WriteFailed(Errno::IO),
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(e) => return PumpEnd::WriteFailed(e),
            }
        }
    }
}

/// Repeats a call that a signal interrupts, or that finds nothing to do on a non-blocking
/// descriptor.
fn patiently(
    fd: BorrowedFd<'_>,
    ready: PollFlags,
    mut call: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(fd, ready)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            },
            other => return other,
        }
    }
}

/// Closes stdout for whoever reads it. `copy` is the only other handle of it in this process.
pub(super) fn close_stdout(copy: OwnedFd) {
    // When stdin is the same socket, closing one of the two tells nobody; what is no socket refuses.
    let _ = shutdown(&copy, Shutdown::Write);
    drop(copy);
    // Descriptor 1 stays taken, so that nothing else opens there. Without /dev/null it stays open,
    // and its reader waits until the program ends.
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        thread,
    };

    use super::*;

    #[test]
    fn every_byte_passes_between_non_blocking_descriptors() {
        let (mut source, from) = UnixStream::pair().unwrap();
        let (to, mut sink) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        to.set_nonblocking(true).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32)
            .map(|i| (i % 251).to_le_bytes()[0])
            .collect();
        let copying = thread::spawn(move || copy(&from, &to));
        let wanted = sent.clone();
        let writing = thread::spawn(move || source.write_all(&sent).unwrap());
        let mut got = Vec::new();
        sink.read_to_end(&mut got).unwrap();
        writing.join().unwrap();
        assert!(matches!(copying.join().unwrap(), PumpEnd::Finished));
        assert_eq!(got, wanted);
    }

    #[test]
    fn a_closed_destination_ends_it_with_an_error() {
        let (mut source, from) = UnixStream::pair().unwrap();
        let (to, sink) = UnixStream::pair().unwrap();
        drop(sink);
        source.write_all(b"x").unwrap();
        assert!(matches!(
            copy(&from, &to),
            PumpEnd::WriteFailed(Errno::PIPE)
        ));
    }

    #[test]
    fn a_source_that_cannot_be_read_is_no_clean_end() {
        let dir = tempfile::tempdir().unwrap();
        let from = std::fs::File::open(dir.path()).unwrap();
        let (to, _sink) = UnixStream::pair().unwrap();
        assert!(matches!(
            copy(&from, &to),
            PumpEnd::ReadFailed(Errno::ISDIR)
        ));
    }
}
