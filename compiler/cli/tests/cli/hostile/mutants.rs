//! Every source of the project, damaged at random: what holds for every text holds for those, too.
//!
//! The properties are those of the fuzz targets in `tests/fuzz`; here a seeded generator makes the inputs, so that a run
//! is the same everywhere. `MUTANTS=1000000 cargo test -p onvmc-cli --test cli mutants` looks further.

use std::{fs, panic, path::Path};

#[path = "../../../../../tests/fuzz/properties.rs"]
mod properties;

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below.max(1) as u64).unwrap()
    }
}

/// The chains of the project and the examples of its documentation.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    let mut open = vec![
        root.join("chains"),
        root.join("docs"),
        root.join("lang/tests/corpus"),
    ];
    while let Some(dir) = open.pop() {
        let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => open.push(path),
                Some("chain") => found.push(fs::read_to_string(path).unwrap()),
                Some("md") => found.extend(examples(&fs::read_to_string(path).unwrap())),
                _ => {}
            }
        }
    }
    assert!(found.len() > 100, "{} sources", found.len());
    found
}

fn examples(page: &str) -> impl Iterator<Item = String> {
    let after = page.split("```chain").skip(1);
    after.filter_map(|rest| Some(rest.split_once('\n')?.1.split("```").next()?.to_owned()))
}

/// Places where a token begins or ends, the text's end included.
fn boundaries(source: &str) -> Vec<usize> {
    let class = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 0,
        c if c.is_whitespace() => 1,
        _ => 2,
    };
    let mut last = None;
    let mut found = Vec::new();
    for (at, c) in source.char_indices() {
        if last != Some(class(c)) || class(c) == 2 {
            found.push(at);
        }
        last = Some(class(c));
    }
    found.push(source.len());
    found
}

const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "->",
    "=",
    "==",
    ",",
    ":",
    "\"",
    "\\",
    "//",
    "///",
    "\n",
    "\r\n",
    "\t",
    "$",
    ".",
    "..",
    "/",
    "-",
    " ",
    "\u{feff}",
    "\0",
    "é",
    "\u{202e}",
    "0",
    "65536",
    "18446744073709551616",
    "1 s",
    "64 MiB",
    "else",
    "not ",
    "and",
    "drop",
    "with",
    "file(\"x\")",
    "steer wan ",
];

fn mutate(dice: &mut Dice, corpus: &[String]) -> String {
    let mut source = corpus[dice.roll(corpus.len())].clone();
    for _ in 0..=dice.roll(3) {
        let places = boundaries(&source);
        let (a, b) = (places[dice.roll(places.len())], places[dice.roll(places.len())]);
        let near = (
            a.min(b),
            a.max(b).min(
                places[(places.partition_point(|p| *p <= a.min(b)) + dice.roll(8)).min(places.len() - 1)],
            ),
        );
        let (from, to) = (near.0, near.1.max(near.0));
        match dice.roll(7) {
            0 => source.replace_range(from..to, ""),
            1 => source.insert_str(from, PIECES[dice.roll(PIECES.len())]),
            2 => source.replace_range(from..to, PIECES[dice.roll(PIECES.len())]),
            3 => {
                let again = source[from..to].to_owned();
                source.insert_str(b.min(source.len()), &again);
            }
            4 => {
                let other = &corpus[dice.roll(corpus.len())];
                let places = boundaries(other);
                let start = dice.roll(places.len());
                let end = (start + 1 + dice.roll(12)).min(places.len() - 1);
                source.insert_str(from, &other[places[start.min(end)]..places[end]]);
            }
            5 => source.truncate(from),
            _ => {
                let mut bytes = source.into_bytes();
                if let Some(byte) = bytes.get_mut(from) {
                    *byte ^= 1 << dice.roll(8);
                }
                source = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    source
}

#[test]
fn what_holds_for_every_text_holds_for_mutants() {
    let mutants: u64 = std::env::var("MUTANTS").map_or(20_000, |n| n.parse().unwrap());
    let corpus = corpus();
    for source in &corpus {
        properties::parse(source);
        properties::format(source);
        properties::check(source);
    }
    let mut dice = Dice(1);
    let mut laid_out = 0;
    for n in 0..mutants {
        let mutant = mutate(&mut dice, &corpus);
        let fine = panic::catch_unwind(|| {
            properties::parse(&mutant);
            properties::format(&mutant);
            properties::check(&mutant);
        });
        assert!(
            fine.is_ok(),
            "mutant {n} breaks a property:\n{mutant}\n({mutant:?})"
        );
        laid_out += u64::from(onvm_lang::format(&mutant).is_ok());
    }
    assert!(
        laid_out > mutants / 20,
        "only {laid_out} of {mutants} mutants reach the formatter"
    );
    assert!(laid_out < mutants, "no mutant is damaged");
}
