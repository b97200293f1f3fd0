//! Files and declarations.

use super::{Filter, Ident, Record, Rule, Span, Spanned, Steps, Test, Value};

/// One source file: its declarations in source order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    /// Every declaration, those that failed to parse included.
    pub decls: Vec<Decl>,
}

/// A declaration with its doc comments.
#[derive(Debug, Clone, PartialEq)]
pub struct Decl {
    /// The `///` lines above it, without the slashes and one following space.
    pub doc: Vec<Spanned<String>>,
    /// The declaration; its span runs from the keyword to its last token.
    pub kind: Spanned<DeclKind>,
}

/// What is declared.
#[derive(Debug, Clone, PartialEq)]
pub enum DeclKind {
    /// `use "lib.chain"`, `use "acme/waf.nf.toml" as waf`
    Use(Use),
    /// `param NAME: TYPE = VALUE`
    Param(Param),
    /// `let NAME = VALUE`
    Let(Let),
    /// `class NAME = FILTER`
    Class(Class),
    /// `port NAME = KIND { ... }`
    Port(Port),
    /// `nf NAME = TYPE { ... } with { ... }`
    Nf(Nf),
    /// `chain NAME(...) = STEP -> STEP`
    Chain(Chain),
    /// `steer PORT { ... }`
    Steer(Steer),
    /// `allow NF to ...`
    Allow(Allow),
    /// `assert PORT: FILTER ...`
    Assert(Assert),
    /// `test "name" { ... }`
    Test(Test),
    /// `manager { ... }`
    Manager(Manager),
    /// A declaration that did not parse; its diagnostics say why.
    Error(Broken),
}

/// `use "PATH" [as ALIAS]`
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// The path as written, relative to the source file.
    pub path: Spanned<String>,
    /// The type name for an NF manifest.
    pub alias: Option<Ident>,
}

/// `param NAME: TYPE [= VALUE]`
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The input's name, set by `--set NAME=VALUE`.
    pub name: Ident,
    /// The declared type.
    pub ty: TypeRef,
    /// The value when none is given.
    pub default: Option<Spanned<Value>>,
}

/// A type name, or a list of it: `prefix`, `[prefix]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeRef {
    /// The type's name; whether it exists is the compiler's question.
    pub name: Ident,
    /// True for `[NAME]`.
    pub list: bool,
    /// The whole type as written, with brackets.
    pub span: Spanned<()>,
}

/// `let NAME = VALUE`
#[derive(Debug, Clone, PartialEq)]
pub struct Let {
    /// The constant's name.
    pub name: Ident,
    /// Its value.
    pub value: Spanned<Value>,
}

/// `class NAME = FILTER`
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// The class's name, a primitive inside filters.
    pub name: Ident,
    /// What it matches.
    pub filter: Filter,
}

/// `port NAME = KIND [{ ... }]`
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// The port's name.
    pub name: Ident,
    /// `pci`, `tap`, ...
    pub kind: Ident,
    /// Settings, if braces were written.
    pub config: Option<Record>,
}

/// `nf NAME = TYPE [{ ... }] [with { ... }]`
#[derive(Debug, Clone, PartialEq)]
pub struct Nf {
    /// The service's name.
    pub name: Ident,
    /// The manifest that it instantiates.
    pub ty: Ident,
    /// Parameters of the NF, if braces were written.
    pub params: Option<Record>,
    /// How to run it, if `with` was written.
    pub with: Option<Record>,
}

/// `chain NAME[(PARAM, ...)] = STEPS`
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// The chain's name.
    pub name: Ident,
    /// `Some` for a parametrised segment, `Some(vec![])` for `NAME()`.
    pub params: Option<Vec<ChainParam>>,
    /// The path; never empty.
    pub steps: Steps,
}

/// One parameter of a parametrised chain.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainParam {
    /// The name used in the chain's steps.
    pub name: Ident,
    /// What may be passed.
    pub kind: Spanned<ParamKind>,
}

/// What a chain parameter stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// `port`
    Port,
    /// `nf`
    Nf,
    /// `chain`
    Chain,
}

/// `steer PORT { RULE ... }`
#[derive(Debug, Clone, PartialEq)]
pub struct Steer {
    /// The ingress port.
    pub port: Ident,
    /// The rules in order; the first that matches wins.
    pub rules: Vec<Rule>,
    /// The block with its braces, for a label on a missing `else`.
    pub block: Spanned<()>,
}

/// `allow NF to ...`
#[derive(Debug, Clone, PartialEq)]
pub struct Allow {
    /// The NF that is permitted.
    pub nf: Ident,
    /// What is permitted.
    pub grant: Grant,
}

/// A permission.
#[derive(Debug, Clone, PartialEq)]
pub enum Grant {
    /// `steer A, B [max_hops N]`
    Steer {
        /// The destinations; never empty.
        targets: Vec<Ident>,
        /// Bound on how often a packet may be steered this way.
        max_hops: Option<Spanned<u32>>,
    },
    /// `lookup`
    Lookup,
    /// `program PORT { FILTER -> TARGET, TARGET ... }`
    Program {
        /// The port whose flow table may be changed.
        port: Ident,
        /// Which packets may be sent where.
        arms: Vec<ProgramArm>,
        /// The block with its braces.
        block: Spanned<()>,
    },
}

/// `FILTER -> TARGET, TARGET`
#[derive(Debug, Clone, PartialEq)]
pub struct ProgramArm {
    /// Which packets.
    pub filter: Filter,
    /// Names of chains, and `drop`; never empty.
    pub targets: Vec<Ident>,
}

/// `assert PORT: FILTER CLAIM`
#[derive(Debug, Clone, PartialEq)]
pub struct Assert {
    /// Where the packets enter.
    pub port: Ident,
    /// Which packets.
    pub filter: Filter,
    /// What holds for them; its span covers the claim's words.
    pub claim: Spanned<Claim>,
}

/// What an assertion claims.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// `passes NF [before NODE]`
    Passes {
        /// The NF on every path.
        nf: Ident,
        /// The node that it comes before.
        before: Option<Ident>,
    },
    /// `never passes NF`
    NeverPasses {
        /// The NF on no path.
        nf: Ident,
    },
    /// `reaches NODE`
    Reaches {
        /// The node on every path.
        node: Ident,
    },
    /// `never reaches NODE`
    NeverReaches {
        /// The node on no path.
        node: Ident,
    },
    /// `dropped`
    Dropped,
}

/// `manager { ... }`
#[derive(Debug, Clone, PartialEq)]
pub struct Manager {
    /// Its settings.
    pub settings: Record,
}

/// The readable part of a declaration that did not parse, so that uses of its name need not be
/// reported as unknown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Broken {
    /// The declaration keyword, if it starts with one.
    pub keyword: Option<&'static str>,
    /// The declared name, if one follows the keyword.
    pub name: Option<Ident>,
}

impl Decl {
    /// Where the declaration stands, doc comments left out.
    pub fn span(&self) -> Span {
        self.kind.span
    }

    /// The file-global name that the declaration introduces. `steer`, `allow`, `assert`, `test`,
    /// `manager` and a `use` without `as` introduce none.
    pub fn name(&self) -> Option<&Ident> {
        match &self.kind.node {
            DeclKind::Use(d) => d.alias.as_ref(),
            DeclKind::Param(d) => Some(&d.name),
            DeclKind::Let(d) => Some(&d.name),
            DeclKind::Class(d) => Some(&d.name),
            DeclKind::Port(d) => Some(&d.name),
            DeclKind::Nf(d) => Some(&d.name),
            DeclKind::Chain(d) => Some(&d.name),
            DeclKind::Error(d) => d.name.as_ref(),
            DeclKind::Steer(_)
            | DeclKind::Allow(_)
            | DeclKind::Assert(_)
            | DeclKind::Test(_)
            | DeclKind::Manager(_) => None,
        }
    }
}
