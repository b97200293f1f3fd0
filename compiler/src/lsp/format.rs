//! Laying a file out in the one style.

use gen_lsp_types::TextEdit;

use super::{
    client::Fault,
    documents::{Document, Kind},
    position::{Encoding, Lines},
};

/// The edits; none where the file is as it should be.
pub(super) fn format(document: &Document, encoding: Encoding) -> Result<Vec<TextEdit>, Fault> {
    let text = document.text.as_str();
    let format = match document.kind {
        Kind::Rules => onvm_lang::format_rules,
        Kind::Chain | Kind::Other => onvm_lang::format,
    };
    let new = format(text).map_err(|found| {
        let first = found.first().map_or("", |d| &d.message);
        Fault::refused(format!("a file that does not parse is not laid out: {first}"))
    })?;
    if new == text {
        return Ok(Vec::new());
    }
    let (start, end) = differing(text, &new);
    let kept = text.len() - end;
    let range = Lines::new(text, encoding).range(onvm_lang::syntax::Span::new(start, end));
    let new_text = new.get(start..new.len() - kept).unwrap_or("").to_owned();
    Ok(vec![TextEdit { range, new_text }])
}

/// The part of the old text between the lines that both begin and both end with, so that cursors elsewhere stay.
fn differing(old: &str, new: &str) -> (usize, usize) {
    let same = |a: &mut dyn Iterator<Item = &str>, b: &mut dyn Iterator<Item = &str>| -> usize {
        a.zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a.len()).sum()
    };
    let start = same(&mut old.split_inclusive('\n'), &mut new.split_inclusive('\n'));
    let (old_rest, new_rest) = (old.get(start..).unwrap_or(""), new.get(start..).unwrap_or(""));
    let mut backwards = (
        old_rest.split_inclusive('\n').rev(),
        new_rest.split_inclusive('\n').rev(),
    );
    (start, old.len() - same(&mut backwards.0, &mut backwards.1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::differing;

    proptest! {
        /// Replacing that part makes the one text the other.
        #[test]
        fn the_rest_is_the_same(old in "([ab]?\n?){0,8}", new in "([ab]?\n?){0,8}") {
            let (start, end) = differing(&old, &new);
            prop_assert!(start <= end);
            let kept = old.len() - end;
            let made = format!("{}{}{}", &old[..start], &new[start..new.len() - kept], &old[end..]);
            prop_assert_eq!(made, new);
        }
    }
}
