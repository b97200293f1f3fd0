//! The doc comments of declarations.

use std::collections::BTreeMap;

use onvm_lang::syntax::DeclKind;

/// Doc comments by what they stand above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Docs {
    named: BTreeMap<String, String>,
    steering: BTreeMap<String, String>,
}

impl Docs {
    /// Those of sources, given as texts.
    pub fn new<'a>(sources: impl IntoIterator<Item = &'a str>) -> Self {
        let mut docs = Self::default();
        for source in sources {
            for decl in onvm_lang::parse(source).file.decls {
                if !decl.doc.is_empty() {
                    let lines: Vec<&str> = decl.doc.iter().map(|line| line.node.as_str()).collect();
                    docs.add(&decl.kind.node, lines.join("\n"));
                }
            }
        }
        docs
    }

    /// Of the port, NF or chain of this name.
    pub fn of(&self, name: &str) -> Option<String> {
        self.named.get(name).cloned()
    }

    /// Of the `steer` block of a port.
    pub fn of_steering(&self, port: &str) -> Option<String> {
        self.steering.get(port).cloned()
    }

    fn add(&mut self, decl: &DeclKind, doc: String) {
        let name = match decl {
            DeclKind::Port(d) => &d.name,
            DeclKind::Nf(d) => &d.name,
            DeclKind::Chain(d) => &d.name,
            DeclKind::Steer(d) => {
                self.steering.insert(d.port.node.clone(), doc);
                return;
            }
            _ => return,
        };
        self.named.insert(name.node.clone(), doc);
    }
}
