//! Filters and rules over packets, as the manager's steering evaluates them. The compiler has parsed and lowered them, so an NF
//! only asks: see [`Params::filter`](crate::Params::filter) and [`Params::rules`](crate::Params::rules).

pub use onvm_filter::{Expr, FlowRules, Rule, Rules, RulesError};
