//! The last lines that each instance printed, for `onvmc logs`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use nflib::log::Level;
use onvm_api::LogLine;

/// Bytes that are kept of an instance; the oldest lines go first.
const MOST_BYTES: usize = 128 << 10;
/// What a line takes besides its text, so that lines without one have an end, too.
const LINE_BYTES: usize = 128;
/// Instances whose lines are kept, those that have ended included.
const MOST_INSTANCES: usize = 1024;
/// Lines of one answer.
const MOST_LINES: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The number of the newest line; they count from 1 over all instances.
    last: u64,
    instances: BTreeMap<String, Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nobody panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, instance: &str, level: Level, text: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut kept = self.lock();
        kept.last += 1;
        let line = LogLine {
            number: kept.last,
            at_ms: at.as_millis() as u64,
            instance: instance.to_owned(),
            level: level.as_str().to_ascii_lowercase(),
            text: text.to_owned(),
        };
        if !kept.instances.contains_key(instance) {
            kept.make_room();
        }
        kept.instances.entry(instance.to_owned()).or_default().push(line);
    }

    /// Lines of the instances that are meant, after a number, in the order in which they came: the newest ones where there are more
    /// than are asked for, or, after a number, the oldest. The second value is the number to go on after.
    pub(crate) fn read(
        &self,
        is_meant: impl Fn(&str) -> bool,
        after: Option<u64>,
        most: Option<usize>,
    ) -> (Vec<LogLine>, u64) {
        let kept = self.lock();
        let meant = kept.instances.iter().filter(|(name, _)| is_meant(name));
        let new = meant.flat_map(|(_, lines)| {
            let known = lines
                .lines
                .partition_point(|line| line.number <= after.unwrap_or(0));
            lines.lines.range(known..)
        });
        let mut lines: Vec<LogLine> = new.cloned().collect();
        lines.sort_by_key(|line| line.number);
        let most = most.unwrap_or(MOST_LINES).min(MOST_LINES);
        let over = lines.len().saturating_sub(most);
        match after {
            None => drop(lines.drain(..over)),
            Some(_) => lines.truncate(most),
        }
        let last = match over > 0 && after.is_some() {
            true => lines.last().map_or(kept.last, |line| line.number),
            false => kept.last,
        };
        (lines, last)
    }
}

impl Kept {
    /// Forgets the instance that has been silent for longest, if need be.
    fn make_room(&mut self) {
        if self.instances.len() < MOST_INSTANCES {
            return;
        }
        let newest = |lines: &Lines| lines.lines.back().map(|line| line.number);
        let silent = self.instances.iter().min_by_key(|(_, lines)| newest(lines));
        if let Some(name) = silent.map(|(name, _)| name.clone()) {
            self.instances.remove(&name);
        }
    }
}

impl Lines {
    fn push(&mut self, line: LogLine) {
        self.bytes += bytes(&line);
        self.lines.push_back(line);
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= bytes(&oldest);
        }
    }
}

fn bytes(line: &LogLine) -> usize {
    LINE_BYTES + line.text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_come_in_order_from_where_a_reader_left_off() {
        let journal = Journal::default();
        for (instance, text) in [("a-0", "1"), ("b-0", "2"), ("a-1", "3"), ("a-0", "4")] {
            journal.write(instance, Level::Info, text);
        }
        let of_a = |name: &str| name.starts_with('a');
        let (lines, last) = journal.read(of_a, None, None);
        assert_eq!((texts(&lines), last), (vec!["1", "3", "4"], 4));
        let (newest, last) = journal.read(of_a, None, Some(1));
        assert_eq!((texts(&newest), last), (vec!["4"], 4));
        let (oldest, last) = journal.read(of_a, Some(1), Some(1));
        assert_eq!(
            (texts(&oldest), last),
            (vec!["3"], 3),
            "the rest comes with the next answer"
        );
        let (rest, last) = journal.read(of_a, Some(3), Some(1));
        assert_eq!((texts(&rest), last), (vec!["4"], 4));
        assert!(journal.read(of_a, Some(4), None).0.is_empty());
    }

    #[test]
    fn an_instance_keeps_its_newest_lines_and_no_other_instances_lines_go_for_them() {
        let journal = Journal::default();
        journal.write("quiet-0", Level::Warn, "first");
        for n in 0..100 {
            let text = format!("{n} {}", "x".repeat(4000));
            journal.write("loud-0", Level::Info, &text);
        }
        let (loud, _) = journal.read(|name| name == "loud-0", None, None);
        let bytes: usize = loud.iter().map(bytes).sum();
        assert!(bytes <= MOST_BYTES && bytes > MOST_BYTES - 5000, "{bytes}");
        assert!(loud.last().unwrap().text.starts_with("99 "));
        let (quiet, _) = journal.read(|name| name == "quiet-0", None, None);
        assert_eq!((texts(&quiet), quiet[0].level.as_str()), (vec!["first"], "warn"));
    }

    #[test]
    fn lines_without_a_text_do_not_fill_the_memory() {
        let journal = Journal::default();
        for _ in 0..10_000 {
            journal.write("silent-0", Level::Error, "");
        }
        assert_eq!(
            journal.lock().instances["silent-0"].lines.len(),
            MOST_BYTES / LINE_BYTES
        );
    }

    #[test]
    fn names_without_end_do_not_fill_the_memory() {
        let journal = Journal::default();
        for n in 0..MOST_INSTANCES + 10 {
            journal.write(&format!("nf-{n}"), Level::Info, "x");
        }
        assert_eq!(journal.lock().instances.len(), MOST_INSTANCES);
        assert_eq!(journal.read(|name| name == "nf-0", None, None).0.len(), 0);
    }
}
