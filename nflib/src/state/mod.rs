//! State for each flow, in memory of fixed size: [`FlowTable`].

mod table;
#[cfg(test)]
mod tests;
mod wheel;

pub use onvm_filter::flow::FlowKey;
pub use table::{Counts, Direction, Flow, FlowTable, Gone, MAX_FLOWS, Why};
