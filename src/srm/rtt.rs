//! Round-trip time of a session's path (RFC 6298, with the peer's own delay taken off).

use std::time::Duration;

/// Smoothed round-trip time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    smoothed: Option<Duration>,
}

impl Rtt {
    /// Takes a sample: the time from sending to the acknowledgement, less the peer's wait.
    pub fn sample(&mut self, sample: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => sample,
            Some(old) => old * 7 / 8 + sample / 8,
        });
    }

    /// The estimate, once there was a sample.
    pub const fn get(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The estimate, or `otherwise`.
    pub fn or(&self, otherwise: Duration) -> Duration {
        self.smoothed.unwrap_or(otherwise)
    }
}
