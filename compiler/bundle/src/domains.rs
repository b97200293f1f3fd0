//! Security domains: which NFs and ports share packet memory.

use crate::ManagerConfig;

/// Domains that a manager has in its life, at most.
pub const MAX_DOMAINS: usize = 16;

/// What a domain is called where it is shown; the one of NFs and ports that name none.
pub fn domain_name(domain: Option<&str>) -> &str {
    domain.unwrap_or("default")
}

impl ManagerConfig {
    /// The domains, each once: that of ports and NFs that name none first, if there are any, and the others as they are named.
    pub fn domains(&self) -> Vec<Option<&str>> {
        let ports = self.ports.iter().map(|port| port.domain.as_deref());
        let services = self.services.iter().map(|service| service.domain.as_deref());
        let named: Vec<Option<&str>> = ports.chain(services).collect();
        let mut domains = Vec::new();
        if named.is_empty() || named.contains(&None) {
            domains.push(None);
        }
        for domain in named {
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        domains
    }

    /// The domain of an NF or a port; none: there is none of this name.
    pub fn domain_of(&self, name: &str) -> Option<Option<&str>> {
        let port = self.ports.iter().find(|port| port.name == name);
        let service = || self.services.iter().find(|service| service.name == name);
        match port {
            Some(port) => Some(port.domain.as_deref()),
            None => Some(service()?.domain.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_domain_is_there_once_and_the_unnamed_one_only_if_somebody_is_in_it() {
        let mut manager = crate::fixed::tests::config();
        assert_eq!(manager.domains(), [None]);
        let port = manager.ports[0].clone();
        manager.ports = ["a", "", "b", "a"]
            .map(|domain| crate::Port {
                domain: (!domain.is_empty()).then(|| domain.to_owned()),
                name: format!("p{domain}"),
                ..port.clone()
            })
            .into();
        assert_eq!(manager.domains(), [None, Some("a"), Some("b")]);
        assert_eq!(manager.domain_of("pb"), Some(Some("b")));
        assert_eq!(
            (manager.domain_of("p"), manager.domain_of("x")),
            (Some(None), None)
        );
        manager.ports.remove(1);
        assert_eq!(manager.domains(), [Some("a"), Some("b")]);
        manager.ports.clear();
        assert_eq!(manager.domains(), [None]);
    }
}
