//! Values as the source would write them, for people to read.

use crate::{Affinity, HugePages, Idle, MemifRole, ParamKind, PathRef, PortKind, Restart, Run};

pub(crate) trait Notation {
    fn notation(&self) -> String;
}

macro_rules! as_displayed {
    ($($ty:ty),*) => {
        $(impl Notation for $ty {
            fn notation(&self) -> String {
                self.to_string()
            }
        })*
    };
}

as_displayed![u8, u16, u32, usize, bool, String];

impl<T: Notation> Notation for Option<T> {
    fn notation(&self) -> String {
        self.as_ref()
            .map_or_else(|| "unset".to_owned(), Notation::notation)
    }
}

impl<T: Notation> Notation for Vec<T> {
    fn notation(&self) -> String {
        let items: Vec<String> = self.iter().map(Notation::notation).collect();
        format!("[{}]", items.join(", "))
    }
}

macro_rules! words {
    ($($ty:ident { $($variant:ident = $word:literal),* })*) => {
        $(impl Notation for $ty {
            fn notation(&self) -> String {
                match self {
                    $($ty::$variant => $word.to_owned(),)*
                }
            }
        })*
    };
}

words! {
    Idle { Adaptive = "adaptive", Spin = "spin" }
    Run { Process = "process", Container = "container" }
    Affinity { Flow = "flow", None = "none" }
    Restart { Always = "always", OnFailure = "on_failure", Never = "never" }
    MemifRole { Server = "server", Client = "client" }
}

impl Notation for HugePages {
    fn notation(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Off => "off".to_owned(),
            Self::Size(bytes) => size(*bytes),
        }
    }
}

impl Notation for PathRef {
    fn notation(&self) -> String {
        match self {
            Self::Bundle(path) => format!("file({path:?})"),
            Self::Host(path) => format!("{path:?}"),
        }
    }
}

impl Notation for PortKind {
    fn notation(&self) -> String {
        let settings = match self {
            Self::Pci { address } => format!("address = {address:?}"),
            Self::Tap { name } => format!("name = {name:?}"),
            Self::AfPacket { interface } | Self::AfXdp { interface } => format!("interface = {interface:?}"),
            Self::Pcap { read, write, repeat } => {
                let path = |name: &str, path: &Option<PathRef>| {
                    path.as_ref().map(|p| format!("{name} = {}", p.notation()))
                };
                let repeat = repeat.then(|| "repeat = true".to_owned());
                let settings = [path("read", read), path("write", write), repeat];
                let settings: Vec<String> = settings.into_iter().flatten().collect();
                settings.join(", ")
            }
            Self::Memif { socket, role, id } => {
                format!("socket = {socket:?}, role = {}, id = {id}", role.notation())
            }
            Self::Null { size } => format!("size = {size}"),
            Self::Vdev { device } => format!("device = {device:?}"),
        };
        format!("{} {{ {settings} }}", self.word())
    }
}

/// Bytes in the largest unit that leaves a whole number.
pub(crate) fn size(bytes: u64) -> String {
    i64::try_from(bytes).map_or_else(|_| format!("{bytes} B"), |n| quantity(ParamKind::Size, n))
}

fn quantity(kind: ParamKind, n: i64) -> String {
    let units = kind.units().iter().rev();
    let fitting = units.clone().find(|(_, factor)| n != 0 && n % factor == 0);
    match fitting.or(kind.units().first()) {
        Some((unit, factor)) => format!("{} {unit}", n / factor),
        None => n.to_string(),
    }
}

/// A parameter's value, which a bundle holds without its unit.
pub(crate) fn parameter(kind: Option<ParamKind>, value: &toml::Value) -> String {
    use ParamKind::{Address, Endpoint, Enum, Mac, Prefix};
    match (value, kind) {
        (toml::Value::Integer(n), Some(kind)) => quantity(kind, *n),
        (toml::Value::String(s), Some(Enum | Address | Prefix | Mac | Endpoint)) => s.clone(),
        (toml::Value::Array(items), kind) => {
            let items: Vec<String> = items.iter().map(|item| parameter(kind, item)).collect();
            format!("[{}]", items.join(", "))
        }
        (toml::Value::Table(table), _) => {
            let named = |key: &str| Some(format!("{key}({:?})", table.get(key)?.as_str()?));
            named("file")
                .or_else(|| named("secret"))
                .unwrap_or_else(|| value.to_string())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_get_the_largest_unit_that_fits() {
        let shown = |kind, n: i64| parameter(Some(kind), &n.into());
        assert_eq!(shown(ParamKind::Time, 1_500_000_000), "1500 ms");
        assert_eq!(shown(ParamKind::Time, 0), "0 ns");
        assert_eq!(shown(ParamKind::PacketRate, 2_000_000), "2 Mpps");
        assert_eq!(shown(ParamKind::Int, 2_000_000), "2000000");
        assert_eq!(HugePages::Size(2 << 20).notation(), "2 MiB");
    }

    #[test]
    fn values_are_written_as_in_the_source() {
        let kind = PortKind::Pcap {
            read: Some(PathRef::Bundle("files/in.pcap".into())),
            write: Some(PathRef::Host("a \"b\".pcap".into())),
            repeat: true,
        };
        assert_eq!(
            kind.notation(),
            r#"pcap { read = file("files/in.pcap"), write = "a \"b\".pcap", repeat = true }"#
        );
        let word = toml::Value::from("drop");
        assert_eq!(parameter(Some(ParamKind::Enum), &word), "drop");
        assert_eq!(parameter(Some(ParamKind::String), &word), "\"drop\"");
        let file = toml::Value::Table([("file".to_owned(), "files/x".into())].into_iter().collect());
        assert_eq!(parameter(Some(ParamKind::File), &file), "file(\"files/x\")");
    }
}
