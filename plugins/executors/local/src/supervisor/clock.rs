//! The two clocks: one for people, one that counts from boot and never jumps.

use std::time::{SystemTime, UNIX_EPOCH};

use berth_executor_api::UtcMs;
use rustix::time::{ClockId, clock_gettime};

pub(super) fn now() -> UtcMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds since boot, the time that the machine slept included.
pub(super) fn since_boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1000 + part(time.tv_nsec) / 1_000_000
}

/// Which boot of the machine this is.
pub(super) fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
