//! The rules as they decide: for every frame.

use nflib::{Params, SetupError};

use super::{Action, Malformed, Policy};
use crate::{Model, ModelRule};

pub fn model(params: &Params) -> Result<Model, SetupError> {
    let policy = Policy::new(params)?;
    let verdict = |action| match action {
        Action::Accept => nflib::Verdict::Next,
        Action::Deny => policy.on_deny,
    };
    let rules = policy
        .rules
        .rules()
        .iter()
        .enumerate()
        .map(|(i, rule)| ModelRule {
            name: rule.name.clone(),
            filter: rule.filter.clone(),
            verdict: verdict(policy.action(i)),
        });
    Ok(Model::Rules {
        rules: rules.collect(),
        otherwise: verdict(policy.default),
        may_drop: policy.malformed == Malformed::Drop,
    })
}
