//! Parts of the text, and how they are joined.

/// A part of the text, and how it can be joined with others.
pub(super) struct Written {
    pub(super) text: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    One,
    Relation,
    And,
    Or,
}

impl Written {
    pub(super) fn one(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: Kind::One,
        }
    }

    pub(super) fn negated(of: Self) -> Self {
        Self::one(match of.kind {
            Kind::One if !of.text.starts_with("not ") => format!("not {}", of.text),
            _ => format!("not ({})", of.text),
        })
    }

    pub(super) fn list(mut of: Vec<Self>, and: bool) -> Self {
        if of.len() == 1 {
            return of.swap_remove(0);
        }
        let (kind, word) = match and {
            true => (Kind::And, " and "),
            false => (Kind::Or, " or "),
        };
        let parts = of.into_iter().map(|part| match part.kind {
            Kind::And | Kind::Or if part.kind != kind => format!("({})", part.text),
            _ => part.text,
        });
        Self {
            text: parts.collect::<Vec<_>>().join(word),
            kind,
        }
    }
}

pub(super) fn list<T: ToString>(of: impl IntoIterator<Item = T>) -> String {
    let of: Vec<String> = of.into_iter().map(|value| value.to_string()).collect();
    match of.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
