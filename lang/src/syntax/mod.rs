//! The syntax tree: what an operator wrote, with a byte span on every node.
//!
//! One file is one tree. Equality between nodes ignores spans (see [`Spanned`]), so two trees are
//! equal when they mean the same text, wherever it stood.

mod chain;
mod decl;
mod filter;
mod rules;
mod span;
mod test;
mod value;

pub use chain::{Arm, ArmKind, Match, Rule, RuleKind, Step, StepKind, Steps};
pub use decl::{
    Allow, Assert, Broken, Chain, ChainParam, Claim, Class, Decl, DeclKind, File, Grant, Let, Manager, Nf,
    Param, ParamKind, Port, ProgramArm, Steer, TypeRef, Use,
};
pub use filter::{
    ArithOp, Direction, Encapsulation, Expr, ExprKind, Family, Filter, FilterKind, FilterValue, Group,
    Header, Logic, LogicTerm, Operand, Primitive, PrimitiveKind, Protocol, Relation, Written,
};
pub use rules::RuleLine;
pub use span::{Ident, Span, Spanned};
pub use test::{Expect, PacketProto, Stmt, StmtKind, Test};
pub use value::{Field, Mac, Number, Prefix, Record, RecordFields, Value};
