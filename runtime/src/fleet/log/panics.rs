//! Finds the report of a panic among the lines that a Rust program prints.
//!
//! ```text
//! thread 'main' (4711) panicked at src/main.rs:12:9:
//! assertion `left == right` failed
//!   left: 1
//!  right: 2
//! note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
//! ```

/// How a line is to be logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Plain(&'a [u8]),
    /// A part of what is said of a panic; the first has the place and the beginning of the message.
    Panic(Vec<u8>),
}

#[derive(Debug, Default)]
pub(super) struct Panics {
    /// The line that says where, until the message follows it.
    place: Option<Vec<u8>>,
    /// More lines of the message may follow.
    within: bool,
}

impl Panics {
    /// What can be logged now that this line came, in order.
    pub(super) fn look<'a>(&mut self, line: &'a [u8]) -> Vec<Line<'a>> {
        let begins = is_panic(line);
        let mut out = Vec::new();
        if let Some(mut place) = self.place.take() {
            if !begins {
                place.push(b' ');
                place.extend(line);
                self.within = true;
                return vec![Line::Panic(place)];
            }
            out.push(Line::Panic(place));
        }
        // Rust indents what it adds to a message of its own.
        self.within = begins || self.within && line.first() == Some(&b' ');
        match (begins, line.last()) {
            (true, Some(b':')) => self.place = Some(line.to_vec()),
            _ if self.within => out.push(Line::Panic(line.to_vec())),
            _ => out.push(Line::Plain(line)),
        }
        out
    }

    /// A panic whose message did not follow.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        self.place.take()
    }
}

fn is_panic(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"thread '");
    rest.is_some_and(|rest| rest.windows(13).any(|w| w == b" panicked at "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a text as they are logged, panics with a mark.
    fn logged(text: &str) -> Vec<String> {
        let mut panics = Panics::default();
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let mut out = Vec::new();
        for line in text.lines() {
            out.extend(panics.look(line.as_bytes()).into_iter().map(|line| match line {
                Line::Plain(line) => shown(line),
                Line::Panic(line) => format!("! {}", shown(&line)),
            }));
        }
        out.extend(panics.end().map(|line| format!("! {}", shown(&line))));
        out
    }

    #[test]
    fn a_panic_is_found_with_its_message() {
        let text = "hello\nthread 'main' (7) panicked at src/a.rs:1:2:\nassertion failed\n  left: 1\n right: 2\nnote: run\n x";
        let expected = [
            "hello",
            "! thread 'main' (7) panicked at src/a.rs:1:2: assertion failed",
            "!   left: 1",
            "!  right: 2",
            "note: run",
            " x",
        ];
        assert_eq!(logged(text), expected);
    }

    #[test]
    fn nothing_of_a_panic_gets_lost() {
        let old = "thread 'w' panicked at 'gone', a.rs:1:2\nnote: run";
        assert_eq!(
            logged(old),
            ["! thread 'w' panicked at 'gone', a.rs:1:2", "note: run"]
        );
        let twice = "thread 'w' panicked at a.rs:1:2:\nthread 'v' panicked at b.rs:1:2:";
        assert_eq!(
            logged(twice),
            [
                "! thread 'w' panicked at a.rs:1:2:",
                "! thread 'v' panicked at b.rs:1:2:"
            ]
        );
        let talk = "a thread 'x' panicked at noon\nthread 'y' is fine";
        assert_eq!(
            logged(talk),
            ["a thread 'x' panicked at noon", "thread 'y' is fine"]
        );
    }
}
