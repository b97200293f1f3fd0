//! The words of the language, for who lists or colours them.

use crate::filter::names;

/// The words that begin a declaration.
pub const DECLARATIONS: [&str; 12] = crate::parse::chunk::KEYWORDS;

/// The words inside declarations that are no names: of chains, permissions, assertions and tests.
pub const CLAUSES: [&str; 25] = [
    "as", "with", "drop", "else", "to", "program", "lookup", "max_hops", "passes", "never", "reaches",
    "dropped", "before", "send", "times", "replay", "expect", "file", "secret", "at", "counter", "packet",
    "packets", "same", "steer",
];

/// The words that begin, qualify or join the primitives of a filter.
pub const FILTER: [&str; 22] = names::KEYWORDS;

/// The words that join primitives.
pub const CONNECTIVES: [&str; 3] = ["and", "or", "not"];

/// Tells whether no declaration may take this word as its name.
///
/// See [`is_filter_word`] for more words that no class can be called.
pub fn is_reserved(word: &str) -> bool {
    DECLARATIONS.contains(&word) || names::RESERVED.contains(&word)
}

/// Tells whether a word means something in filters, so that no class may be called like it.
pub fn is_filter_word(word: &str) -> bool {
    names::is_keyword(word)
}
