//! What a scanner of payloads looks for.

use std::collections::HashSet;

/// Literal patterns, in any payload.
#[derive(Debug)]
pub(crate) struct Scanner {
    pub(crate) patterns: Vec<Vec<u8>>,
    /// ASCII letters match in either case.
    pub(crate) any_case: bool,
}

impl Scanner {
    /// Up to `most` payloads that this one may find and `other` does not; none where it finds nothing that `other` does not.
    pub(crate) fn beyond(&self, other: &Self, most: usize) -> Vec<Vec<u8>> {
        let folded = |pattern: &[u8]| match other.any_case {
            true => pattern.to_ascii_lowercase(),
            false => pattern.to_vec(),
        };
        let theirs: HashSet<Vec<u8>> = other.patterns.iter().map(|p| folded(p)).collect();
        let mine = self.patterns.iter().flat_map(|pattern| self.spellings(pattern));
        let only = mine.filter(|pattern| !theirs.contains(&folded(pattern)));
        // Most patterns of an edited file are still there, so that few come to this.
        let found = |pattern: &[u8]| theirs.iter().any(|t| pattern.windows(t.len()).any(|w| w == t));
        only.filter(|pattern| !found(&folded(pattern)))
            .take(most)
            .collect()
    }

    fn spellings(&self, pattern: &[u8]) -> Vec<Vec<u8>> {
        let mut all = vec![pattern.to_vec()];
        if self.any_case {
            all.extend([pattern.to_ascii_uppercase(), pattern.to_ascii_lowercase()]);
            all.dedup();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner(patterns: &[&str], any_case: bool) -> Scanner {
        let patterns = patterns.iter().map(|p| p.as_bytes().to_vec()).collect();
        Scanner { patterns, any_case }
    }

    #[test]
    fn what_one_finds_beyond_another() {
        let beyond = |a: &Scanner, b: &Scanner| -> Vec<String> {
            let found = a.beyond(b, 10);
            found
                .iter()
                .map(|p| String::from_utf8_lossy(p).into_owned())
                .collect()
        };
        let (ab, b) = (scanner(&["attack", "worm"], false), scanner(&["worm"], false));
        assert_eq!(beyond(&ab, &b), ["attack"]);
        assert_eq!(beyond(&b, &ab), [""; 0]);
        assert_eq!(
            beyond(&ab, &scanner(&["tta", "worm"], false)),
            [""; 0],
            "what holds a pattern of the other"
        );
        let any = scanner(&["Worm"], true);
        assert_eq!(beyond(&any, &b), ["Worm", "WORM"]);
        assert_eq!(beyond(&b, &any), [""; 0]);
        assert_eq!(beyond(&any, &scanner(&["wOrm"], true)), [""; 0]);
    }
}
