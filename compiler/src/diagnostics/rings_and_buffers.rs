//! C0702: rings too deep for the buffers.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0702",
    title: "rings too deep for the buffers",
    severity: Severity::Error,
    text: r#"Each instance has, for each worker, a ring to it and a ring back. One instance that falls behind fills both;
so together they may hold at most half of the packet buffers; otherwise it could starve every other path.
Without `ring` the compiler chooses the largest power of two up to 4096 for which this holds."#,
    wrong: r#"port wan = null {}
manager { ring = 4096, buffers = 8192 }
steer wan { else -> drop }
"#,
    right: r#"port wan = null {}
manager { ring = 2048, buffers = 8192 }
steer wan { else -> drop }
"#,
};

pub(crate) fn rings_and_buffers(place: Place, ring: u64, workers: u64, buffers: u64) -> Diagnostic {
    let held = ring * workers * 2;
    let half = buffers / 2;
    PAGE.at(
        place,
        format!("one instance could hold {held} of {buffers} buffers"),
        format!(
            "2 rings x {ring} descriptors x {workers} workers = {held}, more than {buffers} / 2 = {half}"
        ),
    )
    .help(format!(
        "set `buffers` to at least {}, or `ring` to at most {}",
        held * 2,
        half / (2 * workers.max(1))
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
