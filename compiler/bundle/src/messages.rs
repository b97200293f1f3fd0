//! Messages to an NF: what a manifest declares of a kind, and whether a message is of it.
//!
//! Neither end of a message is trusted: the manager holds each to what is declared here.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use crate::{MessageKind, Param, ParamKind, Sender};

/// The kind of a message of this name, if the sender may send one; else why not, with the kinds that it may send.
///
/// # Errors
/// The reason, without a dot.
pub fn kind_for<'a>(kinds: &'a [MessageKind], name: &str, sender: Sender) -> Result<&'a MessageKind, String> {
    let whom = sender.words();
    if let Some(kind) = kinds.iter().find(|kind| kind.name == name) {
        return match kind.from.contains(&sender) {
            true => Ok(kind),
            false => Err(format!("it takes no `{name}` from {whom}")),
        };
    }
    let of_sender = kinds.iter().filter(|kind| kind.from.contains(&sender));
    let names: Vec<String> = of_sender.map(|kind| format!("`{}`", kind.name)).collect();
    Err(match names.is_empty() {
        true => format!("it takes no messages from {whom}"),
        false => format!(
            "it takes no message `{name}`; from {whom} it takes {}",
            names.join(", ")
        ),
    })
}

impl Sender {
    fn words(self) -> &'static str {
        match self {
            Self::Operator => "operators",
            Self::Peers => "its peers",
        }
    }
}

impl MessageKind {
    /// The fields as an NF gets them, defaults filled in.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(&self, mut given: Map<String, Value>) -> Result<Map<String, Value>, String> {
        if let Some(unknown) = given.keys().find(|name| self.field(name).is_none()) {
            let names: Vec<String> = self.fields.iter().map(|f| format!("`{}`", f.name)).collect();
            let known = match names.is_empty() {
                true => "it has none".to_owned(),
                false => format!("it has {}", names.join(", ")),
            };
            return Err(format!("`{}` has no field `{unknown}`: {known}", self.name));
        }
        for field in &self.fields {
            let name = &field.name;
            let default = field.default.as_ref().and_then(|text| field.plain(text));
            match (given.get(name), default) {
                (Some(value), _) => field
                    .takes(value)
                    .map_err(|why| format!("field `{name}` of `{}`: {why}", self.name))?,
                (None, Some(default)) => drop(given.insert(name.clone(), default)),
                (None, None) if field.optional => {}
                (None, None) => return Err(format!("`{}` lacks its field `{name}`", self.name)),
            }
        }
        Ok(given)
    }

    fn field(&self, name: &str) -> Option<&Param> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Param {
    /// One value in the source's notation, as an NF gets it; none: it is not one of the type. Quantities are whole numbers.
    pub fn plain(&self, text: &str) -> Option<Value> {
        let units = self.kind.units();
        let value = match self.kind {
            ParamKind::Bool => Value::from(text.parse::<bool>().ok()?),
            ParamKind::Int => Value::from(text.parse::<i64>().ok()?),
            ParamKind::Decimal => Value::from(text.parse::<f64>().ok()?),
            ParamKind::String => Value::from(serde_json::from_str::<String>(text).ok()?),
            _ if units.is_empty() => Value::from(text),
            _ if text == "0" => Value::from(0),
            _ => {
                let (number, unit) = text.split_once(' ')?;
                let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
                Value::from(number.parse::<i64>().ok()?.checked_mul(*size)?)
            }
        };
        self.is_one(&value).then_some(value)
    }

    /// Whether a value, or each of a list, is of the type and within the bounds.
    fn takes(&self, value: &Value) -> Result<(), String> {
        let items = match (value, self.list) {
            (Value::Array(items), true) => items.as_slice(),
            (_, true) => return Err("expected a list".to_owned()),
            (_, false) => std::slice::from_ref(value),
        };
        if !items.iter().all(|item| self.is_one(item)) {
            return Err(match self.kind {
                ParamKind::Enum => format!("expected one of {}", self.values.join(", ")),
                kind => format!("expected a value of the type `{}`", kind.word()),
            });
        }
        let bound = |text: &Option<String>| self.plain(text.as_ref()?)?.as_f64();
        let (min, max) = (bound(&self.min), bound(&self.max));
        let beyond = |item: &Value| {
            let number = item.as_f64();
            number.is_some_and(|n| min.is_some_and(|min| n < min) || max.is_some_and(|max| n > max))
        };
        match items.iter().any(beyond) {
            false => Ok(()),
            true => Err(match (&self.min, &self.max) {
                (Some(min), Some(max)) => format!("expected {min} to {max}"),
                (Some(min), None) => format!("expected {min} or more"),
                (None, max) => format!("expected at most {}", max.as_deref().unwrap_or_default()),
            }),
        }
    }

    fn is_one(&self, value: &Value) -> bool {
        let text = value.as_str();
        match self.kind {
            ParamKind::Bool => value.is_boolean(),
            ParamKind::Int => value.is_i64(),
            ParamKind::Decimal => value.is_number(),
            ParamKind::String => value.is_string(),
            ParamKind::Enum => text.is_some_and(|word| self.values.iter().any(|known| known == word)),
            ParamKind::Time | ParamKind::Size | ParamKind::BitRate | ParamKind::PacketRate => {
                value.as_i64().is_some_and(|n| n >= 0)
            }
            ParamKind::Address => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
            ParamKind::Prefix => text.is_some_and(is_prefix),
            ParamKind::Mac => text.is_some_and(is_mac),
            ParamKind::Endpoint => text.is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
            ParamKind::File | ParamKind::Secret | ParamKind::Filter | ParamKind::Rules => false,
        }
    }
}

impl ParamKind {
    /// Whether a message can hold it.
    pub fn fits_messages(self) -> bool {
        !matches!(self, Self::File | Self::Secret | Self::Filter | Self::Rules)
    }

    /// As a manifest writes it.
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// An address, a length, and no bits behind that.
fn is_prefix(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    length <= width && bits.checked_shl(length).unwrap_or(0) == 0
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    parts.len() == 6 && parts.iter().all(is_byte)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(text: &str) -> Vec<MessageKind> {
        #[derive(serde::Deserialize)]
        struct File {
            messages: Vec<MessageKind>,
        }
        toml::from_str::<File>(text).unwrap().messages
    }

    fn one(field: &str) -> MessageKind {
        let text = format!(
            "[[messages]]\nname = \"m\"\ndoc = \"\"\nfrom = [\"operator\"]\n[[messages.fields]]\nname = \"f\"\ndoc = \"\"\n{field}\n"
        );
        kinds(&text).remove(0)
    }

    fn read(kind: &MessageKind, fields: Value) -> Result<Value, String> {
        let Value::Object(fields) = fields else {
            unreachable!()
        };
        kind.read(fields).map(Value::Object)
    }

    #[test]
    fn kinds_are_found_for_those_who_may_send_them() {
        let kinds = kinds(
            "[[messages]]\nname = \"top\"\ndoc = \"\"\nfrom = [\"operator\"]\n\
             [[messages]]\nname = \"block\"\ndoc = \"\"\nfrom = [\"operator\", \"peers\"]\n\
             [[messages]]\nname = \"seen\"\ndoc = \"\"\nfrom = [\"peers\"]\n",
        );
        let of = |name, sender| kind_for(&kinds, name, sender).map(|kind| kind.name.as_str());
        assert_eq!(of("top", Sender::Operator), Ok("top"));
        assert_eq!(of("block", Sender::Peers), Ok("block"));
        assert_eq!(
            of("top", Sender::Peers).unwrap_err(),
            "it takes no `top` from its peers"
        );
        assert_eq!(
            of("tpo", Sender::Operator).unwrap_err(),
            "it takes no message `tpo`; from operators it takes `top`, `block`"
        );
        let none = kind_for(&[], "top", Sender::Peers).unwrap_err();
        assert_eq!(none, "it takes no messages from its peers");
    }

    #[test]
    fn values_are_of_their_type_and_within_their_bounds() {
        for (field, good, bad) in [
            ("type = \"bool\"", json!([true]), json!([1, "true", null])),
            (
                "type = \"int\"\nmin = \"1\"\nmax = \"9\"",
                json!([1, 9]),
                json!([0, 10, 1.5, "1", u64::MAX]),
            ),
            (
                "type = \"decimal\"\nmax = \"0.5\"",
                json!([0.5, -1]),
                json!([0.6, "0.1"]),
            ),
            ("type = \"string\"", json!(["", "x"]), json!([1, ["x"]])),
            (
                "type = \"enum\"\nvalues = [\"a\", \"b\"]",
                json!(["a"]),
                json!(["c", 0]),
            ),
            (
                "type = \"time\"\nmin = \"1 ms\"\nmax = \"2 s\"",
                json!([1_000_000, 2_000_000_000_u64]),
                json!([999_999, -1, "1 s"]),
            ),
            ("type = \"size\"", json!([0, 5]), json!([-1, 1.5])),
            (
                "type = \"address\"",
                json!(["10.0.0.1", "::1"]),
                json!(["10.0.0", "10.0.0.1/8", 1]),
            ),
            (
                "type = \"prefix\"",
                json!(["10.0.0.0/8", "::/0", "0.0.0.0/0", "::1/128"]),
                json!(["10.0.0.1/8", "::1/64", "10.0.0.0/33", "10.0.0.0"]),
            ),
            (
                "type = \"mac\"",
                json!(["02:00:00:00:00:0a"]),
                json!(["02:00:00:00:00", "2:0:0:0:0:a"]),
            ),
            (
                "type = \"endpoint\"",
                json!(["10.0.0.1:53", "[::1]:53"]),
                json!(["10.0.0.1", "x:53"]),
            ),
            ("type = \"secret\"", json!([]), json!(["x", {"secret": "x"}])),
            (
                "type = \"int\"\nlist = true",
                json!([[], [1, 2]]),
                json!([1, [1, "2"]]),
            ),
        ] {
            let kind = one(field);
            for value in good.as_array().unwrap() {
                let given = json!({ "f": value });
                assert_eq!(read(&kind, given.clone()), Ok(given), "{field}");
            }
            for value in bad.as_array().unwrap() {
                let why = read(&kind, json!({ "f": value })).expect_err(field);
                assert!(why.starts_with("field `f` of `m`: expected "), "{why}");
            }
        }
    }

    #[test]
    fn fields_are_those_that_are_declared() {
        let given = |field: &str, fields| read(&one(field), fields);
        assert_eq!(
            given("type = \"int\"", json!({ "f": 1, "g": 2 })).unwrap_err(),
            "`m` has no field `g`: it has `f`"
        );
        assert_eq!(
            given("type = \"int\"", json!({})).unwrap_err(),
            "`m` lacks its field `f`"
        );
        assert_eq!(given("type = \"int\"\noptional = true", json!({})), Ok(json!({})));
        for (field, value) in [
            ("type = \"time\"\ndefault = \"5 s\"", json!(5_000_000_000_u64)),
            ("type = \"time\"\ndefault = \"0\"", json!(0)),
            ("type = \"string\"\ndefault = '\"a b\"'", json!("a b")),
            ("type = \"enum\"\nvalues = [\"a\"]\ndefault = \"a\"", json!("a")),
            ("type = \"bool\"\ndefault = \"false\"", json!(false)),
        ] {
            assert_eq!(given(field, json!({})), Ok(json!({ "f": value })), "{field}");
        }
    }
}
