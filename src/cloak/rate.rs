//! How often something may happen.

use std::time::Duration;

use crate::time::Time;

/// A token bucket, kept as the moment at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cloak) struct Bucket {
    full_at: Time,
}

impl Bucket {
    /// Takes one of `burst` tokens, of which `rate` come back per second.
    pub(in crate::cloak) fn pass(&mut self, (rate, burst): (u32, u32), now: Time) -> bool {
        self.pass_above(0, (rate, burst), now)
    }

    /// The same, while more than `kept` tokens are left.
    pub(in crate::cloak) fn pass_above(
        &mut self,
        kept: u32,
        (rate, burst): (u32, u32),
        now: Time,
    ) -> bool {
        let each = Duration::from_secs(1) / rate.max(1);
        let debt = self.full_at.since(now);
        if debt + each * kept.saturating_add(1) > each * burst {
            return false;
        }
        self.full_at = now + debt + each;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let mut now = Time::ZERO + Duration::from_secs(100);
        let passed =
            |bucket: &mut Bucket, now| (0..50).filter(|_| bucket.pass((10, 5), now)).count();
        assert_eq!(passed(&mut bucket, now), 5);
        now += Duration::from_secs(3);
        assert_eq!(passed(&mut bucket, now), 5);
        now += Duration::from_millis(200);
        assert_eq!(passed(&mut bucket, now), 2);
    }

    #[test]
    fn what_is_kept_is_left_for_others() {
        let mut bucket = Bucket::default();
        let now = Time::ZERO;
        let low = (0..50).filter(|_| bucket.pass_above(2, (10, 5), now));
        assert_eq!(low.count(), 3);
        let high = (0..50).filter(|_| bucket.pass((10, 5), now));
        assert_eq!(high.count(), 2);
    }
}
