//! The TOML files of a bundle, laid out for people: fields in the order of their types, and above each entry the
//! source line that it comes from.
//!
//! Each function takes its type apart completely, so that a field added to a type cannot be forgotten here; the tests
//! read everything back.

use onvm_bundle::{
    Arm, Chain, Flows, Hop, Index, Instance, InstanceConfig, ManagerConfig, Port, Program, Rule, Service,
    SourceRef, Table,
};
use serde::Serialize;

use super::{ArtifactError, Quotes};

/// A TOML document that is being written.
struct Doc {
    file: String,
    text: String,
    error: Option<ArtifactError>,
}

impl Doc {
    fn new(file: &str, title: &str) -> Self {
        let text = format!(
            "# {title}\n# Written by `onvmc build`; edit the source instead, hashes cover every byte.\n"
        );
        Self {
            file: file.to_owned(),
            text,
            error: None,
        }
    }

    /// A table's header with the source line that it comes from.
    fn header(&mut self, header: &str, source: Option<(&SourceRef, &Quotes<'_>)>) {
        self.text.push('\n');
        if let Some(line) = source.and_then(|(source, quotes)| quotes.line(source)) {
            self.comment(&line);
        }
        self.text.push_str(header);
        self.text.push('\n');
    }

    fn comment(&mut self, line: &str) {
        self.text.push_str("# ");
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// `key = value`, on one line whatever the value is.
    fn key(&mut self, key: &str, value: &impl Serialize) {
        self.text.push_str(key);
        self.text.push_str(" = ");
        let mut line = String::new();
        match value.serialize(toml::ser::ValueSerializer::new(&mut line)) {
            Ok(_) => self.text.push_str(&line),
            Err(e) => {
                let reason = e.to_string();
                self.error.get_or_insert(ArtifactError::Toml {
                    file: self.file.clone(),
                    reason,
                });
            }
        }
        self.text.push('\n');
    }

    fn optional(&mut self, key: &str, value: Option<&impl Serialize>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    fn list<T: Serialize>(&mut self, key: &str, values: &[T]) {
        if !values.is_empty() {
            self.key(key, &values);
        }
    }

    fn done(self) -> Result<String, ArtifactError> {
        match self.error {
            None => Ok(self.text),
            Some(error) => Err(error),
        }
    }
}

pub(super) fn index(index: &Index) -> Result<String, ArtifactError> {
    let Index {
        format,
        name,
        generation,
        compiler,
        main,
        params,
        secrets,
        files,
    } = index;
    let mut doc = Doc::new("bundle.toml", "What this bundle holds, with a hash of each file.");
    doc.key("format", format);
    doc.key("name", name);
    doc.key("generation", generation);
    doc.key("compiler", compiler);
    doc.key("main", main);
    doc.list("secrets", secrets);
    if !params.is_empty() {
        doc.header("[params]", None);
        for (name, value) in params {
            doc.key(name, value);
        }
    }
    for file in files {
        let onvm_bundle::FileEntry { path, sha256, size } = file;
        doc.header("[[file]]", None);
        doc.key("path", path);
        doc.key("sha256", sha256);
        doc.key("size", size);
    }
    doc.done()
}

pub(super) fn manager(config: &ManagerConfig, quotes: &Quotes<'_>) -> Result<String, ArtifactError> {
    let ManagerConfig {
        ring,
        max_hops,
        hugepages,
        idle,
        backpressure,
        workers,
        buffers,
        ports,
        services,
        chains,
    } = config;
    let mut doc = Doc::new("manager.toml", "The manager's configuration.");
    doc.key("ring", ring);
    doc.key("max_hops", max_hops);
    doc.key("hugepages", hugepages);
    doc.key("idle", idle);
    doc.key("backpressure", backpressure);
    let onvm_bundle::Workers {
        count,
        receivers,
        cores,
    } = workers;
    doc.header("[workers]", None);
    doc.key("count", count);
    if *receivers > 0 {
        doc.key("receivers", receivers);
    }
    doc.list("cores", cores);
    let onvm_bundle::Buffers { count, mtu } = buffers;
    doc.header("[buffers]", None);
    doc.key("count", count);
    doc.key("mtu", mtu);
    ports.iter().for_each(|p| port(&mut doc, p, quotes));
    services.iter().for_each(|s| service(&mut doc, s, quotes));
    chains.iter().for_each(|c| chain(&mut doc, c, quotes));
    doc.done()
}

fn port(doc: &mut Doc, port: &Port, quotes: &Quotes<'_>) {
    let Port {
        id,
        name,
        source,
        queues,
        promiscuous,
        mtu,
        mac,
        domain,
        ignore_tags,
        kind,
    } = port;
    doc.header("[[port]]", Some((source, quotes)));
    doc.key("id", id);
    doc.key("name", name);
    doc.key("source", source);
    doc.key("queues", queues);
    doc.key("promiscuous", promiscuous);
    doc.optional("mtu", mtu.as_ref());
    doc.optional("mac", mac.as_ref());
    doc.optional("domain", domain.as_ref());
    if *ignore_tags {
        doc.key("ignore_tags", ignore_tags);
    }
    doc.key("kind", kind);
}

fn service(doc: &mut Doc, service: &Service, quotes: &Quotes<'_>) {
    let Service {
        id,
        name,
        nf_type,
        source,
        run,
        affinity,
        restart,
        read_only,
        domain,
        outputs,
        min_replicas,
        fuse,
        instances,
    } = service;
    doc.header("[[service]]", Some((source, quotes)));
    doc.key("id", id);
    doc.key("name", name);
    doc.key("type", nf_type);
    doc.key("source", source);
    doc.key("run", run);
    doc.key("affinity", affinity);
    doc.key("restart", restart);
    doc.key("read_only", read_only);
    doc.optional("domain", domain.as_ref());
    doc.list("outputs", outputs);
    doc.optional("min_replicas", min_replicas.as_ref());
    doc.optional("fuse", fuse.as_ref());
    for Instance {
        name,
        cores,
        memory,
        numa,
    } in instances
    {
        doc.header("[[service.instance]]", None);
        doc.key("name", name);
        doc.optional("cores", cores.as_ref());
        doc.optional("memory", memory.as_ref());
        doc.optional("numa", numa.as_ref());
    }
}

fn chain(doc: &mut Doc, chain: &Chain, quotes: &Quotes<'_>) {
    let Chain { name, source, hops } = chain;
    doc.header("[[chain]]", Some((source, quotes)));
    doc.key("name", name);
    doc.key("source", source);
    for (n, hop) in hops.iter().enumerate() {
        let Hop {
            at,
            source,
            next,
            outputs,
            steers,
            lookup,
            bypass,
        } = hop;
        doc.text.push('\n');
        doc.comment(&format!("hop {n}"));
        doc.text.push_str("[[chain.hop]]\n");
        doc.key("at", at);
        doc.key("source", source);
        doc.optional("next", next.as_ref());
        doc.optional("outputs", Some(outputs).filter(|o| !o.is_empty()));
        doc.optional("steers", Some(steers).filter(|s| !s.is_empty()));
        doc.optional("lookup", Some(lookup).filter(|permitted| **permitted));
        doc.optional("bypass", Some(bypass).filter(|bypass| **bypass));
    }
}

pub(super) fn flows(flows: &Flows, quotes: &Quotes<'_>) -> Result<String, ArtifactError> {
    let Flows { tables, programs } = flows;
    let mut doc = Doc::new(
        "flows.toml",
        "The flow-table seed: per port the rules in order, the first match wins.",
    );
    for Table {
        port,
        source,
        otherwise,
        otherwise_source,
        rules,
    } in tables
    {
        doc.header("[[table]]", Some((source, quotes)));
        doc.key("port", port);
        doc.key("source", source);
        doc.key("else", otherwise);
        if let Some(source) = otherwise_source {
            doc.key("else_source", source);
        }
        for Rule {
            text,
            filter,
            chain,
            source,
        } in rules
        {
            doc.header("[[table.rule]]", Some((source, quotes)));
            doc.key("text", text);
            doc.key("filter", filter);
            doc.key("chain", chain);
            doc.key("source", source);
        }
    }
    for Program {
        port,
        nf,
        source,
        arms,
    } in programs
    {
        doc.header("[[program]]", Some((source, quotes)));
        doc.key("port", port);
        doc.key("nf", nf);
        doc.key("source", source);
        for Arm {
            text,
            filter,
            targets,
            source,
        } in arms
        {
            doc.header("[[program.arm]]", Some((source, quotes)));
            doc.key("text", text);
            doc.key("filter", filter);
            doc.key("targets", targets);
            doc.key("source", source);
        }
    }
    doc.done()
}

pub(super) fn instance(
    config: &InstanceConfig,
    source: Option<&SourceRef>,
    quotes: &Quotes<'_>,
) -> Result<String, ArtifactError> {
    let InstanceConfig {
        instance,
        service,
        params,
        manifest,
    } = config;
    let file = format!("nfs/{instance}.toml");
    let mut doc = Doc::new(&file, "What one NF instance is given.");
    if let Some(line) = source.and_then(|s| quotes.line(s)) {
        doc.comment(&line);
    }
    doc.key("instance", instance);
    doc.key("service", service);
    doc.header("[params]", None);
    doc.comment("times in nanoseconds, sizes in bytes, rates in bits or packets a second");
    for (name, value) in params {
        doc.key(name, value);
    }
    let wrapped = toml::Table::from_iter([(
        "manifest".to_owned(),
        toml::Value::try_from(manifest).map_err(|e| ArtifactError::Toml {
            file: file.clone(),
            reason: e.to_string(),
        })?,
    )]);
    let text = toml::to_string(&wrapped).map_err(|e| ArtifactError::Toml {
        file,
        reason: e.to_string(),
    })?;
    doc.text.push('\n');
    doc.text.push_str(&text);
    doc.done()
}
