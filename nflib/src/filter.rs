//! Filters and rules as parameters: what the compiler lowered, and the evaluator that the manager has.

pub use onvm_filter::{Expr, ParseError, Rule, Rules};

use crate::{Params, ParamsError};

impl Params {
    /// A parameter of the type `filter`, or none when it was not given.
    pub fn optional_filter(&self, name: &str) -> Result<Option<Expr>, ParamsError> {
        let text: Option<String> = self.optional(name)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(|e: ParseError| ParamsError::value(name, e))
    }

    /// A parameter of the type `rules`, whose manifest lists these verdicts, or none when it was not given.
    pub fn optional_rules(&self, name: &str, verdicts: &[&str]) -> Result<Option<Rules>, ParamsError> {
        if self.optional::<serde_json::Value>(name)?.is_none() {
            return Ok(None);
        }
        let text = str::from_utf8(self.file(name)?).map_err(|e| ParamsError::value(name, e))?;
        let rules = Rules::parse(text, verdicts).map_err(|e| ParamsError::value(name, e))?;
        Ok(Some(rules))
    }
}
