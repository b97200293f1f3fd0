//! Lowering: from a filter as written to [`Expr`], which is what the runtime evaluates.
//!
//! The meaning is libpcap's, with its two peculiarities:
//! - `vlan` shifts every test to its right in the text by one tag, through `or`, `not`, parentheses and
//!   classes alike, and so do `mpls`, `pppoes` and the tunnels. A class stands where its name stands, as if written there in parentheses.
//! - A load such as `tcp[13]` implies the tests `ip`, `tcp` and "first fragment", but only the
//!   leftmost one of an arithmetic expression does.
//!
//! Both get a warning where they bite.

mod encapsulation;
mod known;
mod logic;
mod primitive;
mod relation;
mod resolve;
mod values;
mod written;

use onvm_bundle::filter::{Expr, MAX_DEPTH, Place};
use onvm_lang::{
    Diagnostic, Severity,
    syntax::{Filter, FilterKind, Ident, Span, Spanned, Value},
};

use self::known::Known;
pub use self::written::written;
pub(crate) use self::{
    resolve::{Filters, meant_else},
    written::{simple, size as written_size},
};
use crate::diagnostics::filters;

/// The most tests, values and operators in one lowered filter, classes and lists spelled out. Keeps
/// its text within [`onvm_bundle::filter::MAX_TEXT`].
pub const MAX_SIZE: usize = 200_000;

/// Where the names in a filter lead, and in which file things stand.
pub trait Names {
    /// A source file.
    type File: Copy;

    /// The body of a class.
    ///
    /// # Errors
    /// A name that is not a class, or one that was not read.
    fn class(&self, file: Self::File, name: &Ident) -> Result<(Self::File, &Filter), Unusable>;

    /// The value of a `let` or a `param`, for the `$name` at `span`.
    ///
    /// # Errors
    /// A name that has no value, or one that was not read.
    fn value(
        &self,
        file: Self::File,
        name: &str,
        span: Span,
    ) -> Result<(Self::File, &Spanned<Value>), Unusable>;

    /// The span for a diagnostic's label, unique over all files.
    fn span(&self, file: Self::File, span: Span) -> Span;

    /// The source text under a span.
    fn text(&self, file: Self::File, span: Span) -> &str;
}

/// Why a name cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// What is wrong is reported where the name is declared, or to nobody.
    Silent,
    /// To be reported where the name is used.
    Because(Diagnostic),
}

impl From<Diagnostic> for Unusable {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Because(diagnostic)
    }
}

/// A filter with a meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// The meaning.
    pub expr: Expr,
    /// The warnings about it.
    pub warnings: Vec<Diagnostic>,
}

/// Gives a filter its meaning. `file` is where it stands.
///
/// # Errors
/// Every error in it and in the classes and values that it names, with the warnings. The list is empty
/// when the only fault is a part that did not parse, for which the parser gave a diagnostic, or a name that
/// is [`Unusable::Silent`].
pub fn lower<N: Names>(filter: &Filter, file: N::File, names: &N) -> Result<Lowered, Vec<Diagnostic>> {
    let mut lowering = Lowering {
        names,
        place: Place::default(),
        shifts: Vec::new(),
        size: 0,
        classes: Vec::new(),
        found: Vec::new(),
    };
    let part = lowering.filter(filter, file, 0);
    let span = names.span(file, filter.span);
    if lowering.size > MAX_SIZE {
        lowering.found.push(filters::too_large(span, MAX_SIZE));
    }
    let faulty = lowering.found.iter().any(|d| d.severity == Severity::Error);
    match part {
        Some(part) if !faulty && part.expr.check_depth() => Ok(Lowered {
            expr: part.expr,
            warnings: lowering.found,
        }),
        Some(_) if !faulty => {
            lowering.found.push(filters::too_deep(span));
            Err(lowering.found)
        }
        _ => Err(lowering.found),
    }
}

/// The meaning of a text that is a filter and names no class and no value; none: it is wrong.
pub(crate) fn lower_alone(text: &str) -> Option<Expr> {
    let (filter, _) = onvm_lang::parse_filter(text);
    lower(&filter?, (), &NoNames).ok().map(|lowered| lowered.expr)
}

/// Names for filters that stand outside of programs.
struct NoNames;

impl Names for NoNames {
    type File = ();

    fn class(&self, (): (), _name: &Ident) -> Result<((), &Filter), Unusable> {
        Err(Unusable::Silent)
    }

    fn value(&self, (): (), _name: &str, _span: Span) -> Result<((), &Spanned<Value>), Unusable> {
        Err(Unusable::Silent)
    }

    fn span(&self, (): (), span: Span) -> Span {
        span
    }

    fn text(&self, (): (), _span: Span) -> &str {
        ""
    }
}

/// The state of one lowering, in text order.
struct Lowering<'n, N: Names> {
    names: &'n N,
    /// What the `vlan`, `mpls` and so on that have gone before stand for.
    place: Place,
    /// One for each layer of it.
    shifts: Vec<Shift>,
    /// Of [`MAX_SIZE`].
    size: usize,
    /// The classes within which we are, and where each is named.
    classes: Vec<(String, Span)>,
    found: Vec<Diagnostic>,
}

/// A word that shifts what stands right of it.
#[derive(Clone, Copy)]
struct Shift {
    span: Span,
    /// It has had its warning.
    warned: bool,
}

/// A lowered part, and the layers that the packet is known to have after it.
struct Part {
    expr: Expr,
    known: Known,
}

impl<N: Names> Lowering<'_, N> {
    /// None when there is an error in it. The first `known` layers are there when it is reached.
    fn filter(&mut self, filter: &Filter, file: N::File, known: u8) -> Option<Part> {
        match &filter.node {
            FilterKind::Paren(inner) => self.filter(inner, file, known),
            FilterKind::Not(inner) => {
                let part = self.filter(inner, file, known)?;
                Some(Part {
                    expr: Expr::negate(part.expr),
                    known: part.known.negate(),
                })
            }
            FilterKind::Logic { first, rest } => self.logic(filter, first, rest, file, known),
            FilterKind::Primitive(primitive) => self.primitive(primitive, filter.span, file, known),
            FilterKind::Error => None,
        }
    }

    fn class(&mut self, name: &Ident, file: N::File, known: u8) -> Option<Part> {
        let span = self.names.span(file, name.span);
        if let Some(at) = self.classes.iter().position(|(class, _)| *class == name.node) {
            let cycle = filters::class_cycle(&self.classes[at..], &name.node, span);
            return self.fail(cycle);
        }
        if self.classes.len() >= MAX_DEPTH {
            return self.fail(filters::too_deep(span));
        }
        let (body_file, body) = match self.names.class(file, name) {
            Ok(found) => found,
            Err(unusable) => return self.refuse(unusable),
        };
        self.classes.push((name.node.clone(), span));
        let part = self.filter(body, body_file, known);
        self.classes.pop();
        part
    }

    /// Counts one test, value or operator; none when there are too many, which ends the lowering soon.
    fn count(&mut self) -> Option<()> {
        self.size += 1;
        (self.size <= MAX_SIZE).then_some(())
    }

    fn refuse<T>(&mut self, name: Unusable) -> Option<T> {
        match name {
            Unusable::Silent => None,
            Unusable::Because(diagnostic) => self.fail(diagnostic),
        }
    }

    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Option<T> {
        self.found.push(diagnostic);
        None
    }
}
