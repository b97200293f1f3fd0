//! The instances that ask, and what the targets are that they name.

use std::collections::HashMap;

use nflib::FlowTarget;

use super::Grants;

/// An instance that asks.
#[derive(Debug)]
pub struct Client<'a> {
    /// Its slot.
    pub instance: u16,
    /// How often it has been started before.
    pub life: u32,
    /// Its service.
    pub nf: &'a str,
    /// The targets that it knows, which may be those of an older program.
    pub targets: &'a [FlowTarget],
}

/// What the targets of instances are: port id and grant. None: the program does not permit it any more.
#[derive(Debug, Default)]
pub(super) struct Clients(HashMap<u16, Resolved>);

#[derive(Debug)]
struct Resolved {
    nf: String,
    life: u32,
    targets: Vec<Option<(u16, u16)>>,
}

impl Clients {
    /// Another program permits other things.
    pub(super) fn renew(&mut self) {
        self.0.clear();
    }

    pub(super) fn resolve(
        &mut self,
        client: &Client<'_>,
        grants: &Grants,
        target: usize,
    ) -> Result<(u16, u16), String> {
        let is_it = |known: &&Resolved| known.nf == client.nf && known.life == client.life;
        if self.0.get(&client.instance).filter(is_it).is_none() {
            let targets = client.targets.iter();
            let targets = targets
                .map(|t| grants.find(&t.port, client.nf, &t.chain))
                .collect();
            let resolved = Resolved {
                nf: client.nf.to_owned(),
                life: client.life,
                targets,
            };
            self.0.insert(client.instance, resolved);
        }
        let targets = self
            .0
            .get(&client.instance)
            .map_or(&[][..], |known| &known.targets);
        match (targets.get(target), client.targets.get(target)) {
            (Some(Some(found)), _) => Ok(*found),
            (_, Some(t)) => Err(format!(
                "the program does not permit entries of port `{}` that lead to `{}` any more",
                t.port, t.chain
            )),
            (_, None) => Err(format!("there is no target {target}")),
        }
    }
}
