//! Names that become parts of paths. Whatever a bundle or a message calls a file or a directory is checked by one of these
//! before it is used as one, so that nothing leads out of the directory that it belongs in.

/// Bytes of a name; a file's may have 255, and some get an ending.
const LONGEST_NAME: usize = 200;
const LONGEST_BUNDLE_NAME: usize = 64;
const LONGEST_FILE_NAME: usize = 255;
const LONGEST_PATH: usize = 1024;

/// What [`is_name`] takes, for messages.
pub const NAME_RULE: &str = "up to 200 letters, digits, `-`, `_` and `.`, the first not a `.`";

/// Whether this can be the name of an instance or of a secret, and so of a directory or a file: 1 to 200 ASCII letters, digits,
/// `-`, `_` and `.`, of which the first is not `.`.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain)
}

/// Whether this can be the name of a bundle: 1 to 64 ASCII letters, digits, `-` and `_`.
pub fn is_bundle_name(name: &str) -> bool {
    name.len() <= LONGEST_BUNDLE_NAME && !name.contains('.') && is_name(name)
}

/// Whether this is the name of a file, not a path: 1 to 255 bytes without `/`, and not `.` or `..`.
pub fn is_file_name(name: &str) -> bool {
    (1..=LONGEST_FILE_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(['/', '\0'])
}

/// Whether this is a path that stays below where it begins: file names with a `/` between them, at most 1024 bytes.
pub fn is_file_path(path: &str) -> bool {
    path.len() <= LONGEST_PATH && path.split('/').all(is_file_name)
}

/// The variable of a bundle's `compose.yaml` that says something of an instance: `ONVM_USER_FW_0` is the user of `fw-0`.
pub fn compose_variable(what: &str, instance: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    let instance: String = instance.chars().map(plain).collect();
    format!("ONVM_{what}_{instance}")
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    /// Names that a careless check lets through, and arbitrary text.
    fn texts() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "..", ".", "/", "", "a", "-", "\0", "etc", "\\", " ", "\n", "\u{2025}",
        ]);
        let made = prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat());
        prop_oneof![made, any::<String>(), "[a-z./]{0,12}"]
    }

    /// The path has as many components as were meant, and each goes down.
    fn stays_below(path: &str, components: usize) -> bool {
        let parts: Vec<_> = Path::new(path).components().collect();
        parts.len() == components && parts.iter().all(|part| matches!(part, Component::Normal(_)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_name_leads_anywhere_else(text in texts()) {
            for accepts in [is_name, is_bundle_name, is_file_name] {
                prop_assert!(!accepts(&text) || stays_below(&text, 1), "{text:?}");
                prop_assert!(!accepts(&text) || Path::new("/dir").join(&text).parent() == Some(Path::new("/dir")));
            }
            prop_assert!(!is_file_path(&text) || stays_below(&text, text.split('/').count()), "{text:?}");
        }
    }

    #[test]
    fn ordinary_names_are_names() {
        for name in ["fw-0", "my_nf-12", "WAF_KEY", "tls.key", "a"] {
            assert!(is_name(name) && is_file_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "\u{e4}", &"x".repeat(201)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_bundle_name("edge-v2") && !is_bundle_name("edge.v2"));
        assert!(is_file_path("files/0a-web.patterns") && !is_file_path("source/a/../b"));
    }
}
