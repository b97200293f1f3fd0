//! From a bundle's parameter values to what an NF is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use serde_json::Value;

use crate::InstanceConfig;

/// Where the parameters' files and secrets are.
pub trait ParamSource {
    type Error;

    /// The parameters name this file of the bundle.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn file(&mut self, path: &str) -> Result<(), Self::Error>;

    /// The value of a secret.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn secret(&mut self, name: &str) -> Result<String, Self::Error>;
}

impl InstanceConfig {
    /// The parameters' values by name, with secrets in place; every file that they name is asked for once or more.
    ///
    /// # Errors
    /// The first error of the source.
    pub fn values<S: ParamSource>(&self, source: &mut S) -> Result<BTreeMap<String, Value>, S::Error> {
        let params = self.params.iter();
        params
            .map(|(name, v)| Ok((name.clone(), value(v, source)?)))
            .collect()
    }
}

fn value<S: ParamSource>(given: &toml::Value, source: &mut S) -> Result<Value, S::Error> {
    Ok(match given {
        toml::Value::String(s) => Value::from(s.as_str()),
        toml::Value::Integer(i) => Value::from(*i),
        toml::Value::Float(f) => Value::from(*f),
        toml::Value::Boolean(b) => Value::from(*b),
        toml::Value::Datetime(d) => Value::from(d.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(|v| value(v, source))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        toml::Value::Table(table) => {
            if let Some(path) = table.get("file").and_then(|f| f.as_str()) {
                source.file(path)?;
            } else if let Some(name) = table.get("secret").and_then(|s| s.as_str()) {
                return source.secret(name).map(Value::from);
            }
            let mut object = serde_json::Map::new();
            for (key, v) in table {
                object.insert(key.clone(), value(v, source)?);
            }
            object.into()
        }
    })
}

/// The files that parameters name.
#[derive(Default)]
struct Named(BTreeSet<String>);

impl ParamSource for Named {
    type Error = Infallible;

    fn file(&mut self, path: &str) -> Result<(), Infallible> {
        self.0.insert(path.to_owned());
        Ok(())
    }

    fn secret(&mut self, _name: &str) -> Result<String, Infallible> {
        Ok(String::new())
    }
}

impl InstanceConfig {
    /// How many files its parameters name.
    pub fn files(&self) -> usize {
        let mut named = Named::default();
        let Ok(_) = self.values(&mut named);
        named.0.len()
    }
}
