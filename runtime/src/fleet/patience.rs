//! Deadlines that count only the time in which this process ran: in a snapshot of the machine or a frozen control group the NFs do
//! not run either, and nobody is late.

use std::time::Duration;

/// The time is looked at so often.
const SLICE: Duration = Duration::from_millis(100);

/// Waits for so much time of this process.
pub(super) async fn elapse(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let slice = left.min(SLICE);
        tokio::time::sleep(slice).await;
        left -= slice;
    }
}

/// The result of `work`, if it comes in that much time of this process.
pub(super) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = elapse(time) => None,
    }
}
