//! How many instances a service may have.

use crate::{Instance, Service};

/// How many instances a service may have while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    pub min: u16,
    pub max: u16,
}

impl Replicas {
    /// There is a choice.
    pub fn scales(self) -> bool {
        self.min < self.max
    }

    /// The nearest number within.
    pub fn clamp(self, replicas: u16) -> u16 {
        replicas.clamp(self.min, self.max.max(self.min))
    }
}

/// As the source writes it: `2`, `2..4`.
impl std::fmt::Display for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.scales() {
            true => write!(f, "{}..{}", self.min, self.max),
            false => write!(f, "{}", self.max),
        }
    }
}

impl Service {
    pub fn replicas(&self) -> Replicas {
        let max = u16::try_from(self.instances.len()).unwrap_or(u16::MAX);
        Replicas {
            min: self.min_replicas.unwrap_or(max),
            max,
        }
    }

    /// The instances that run where so many do.
    pub fn first(&self, replicas: u16) -> impl Iterator<Item = &Instance> {
        self.instances.iter().take(replicas.into())
    }
}
