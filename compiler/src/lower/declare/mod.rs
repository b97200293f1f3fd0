//! Declarations that become entries of `manager.toml` as they stand: ports, services, the manager's own settings.

pub(crate) mod domains;
pub(crate) mod fused;
pub(crate) mod manager;
pub(crate) mod ports;
pub(crate) mod refusals;
pub(crate) mod services;
pub(crate) mod written;

/// Typed access to settings that their specs have checked.
pub(crate) trait Table {
    fn text(&self, name: &str) -> Option<String>;
    fn number(&self, name: &str) -> Option<u64>;
    fn flag(&self, name: &str) -> Option<bool>;
}

impl Table for toml::Table {
    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_integer().and_then(|n| u64::try_from(n).ok())
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }
}

/// A number that its spec has held within the range of its type.
pub(crate) fn narrow<T: TryFrom<u64> + Default>(n: u64) -> T {
    T::try_from(n).unwrap_or_default()
}
