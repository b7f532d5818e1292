//! Strict JSON (RFC 8259), as I-JSON (RFC 7493) requires: no name twice in an object, at any depth. Two
//! readers of one text must never get two meanings.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Maximum nesting of objects and lists; the contract uses four.
const MAX_DEPTH: u32 = 8;

/// Maximum number of list items that are kept: more than any list of the contract may have, so that a list
/// that was cut short is still rejected as too long.
const MAX_ITEMS: usize = 64;

/// A value, as far as the claims need to distinguish values.
#[derive(PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A whole number from 0 to 2^64 - 1, written without fraction and exponent.
    Unsigned(u64),
    /// Negative, with a fraction or an exponent, or larger than that.
    OtherNumber,
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Reads exactly one object. `None` for any other text.
pub(super) fn object(text: &[u8]) -> Option<BTreeMap<String, Json>> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Node { depth: 0 }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Json::Object(members) => Some(members),
        Json::Null
        | Json::Bool(_)
        | Json::Unsigned(_)
        | Json::OtherNumber
        | Json::Text(_)
        | Json::List(_) => None,
    }
}

#[derive(Clone, Copy)]
struct Node {
    depth: u32,
}

impl Node {
    fn inner<E: Error>(self) -> Result<Node, E> {
        if self.depth < MAX_DEPTH {
            Ok(Node { depth: self.depth + 1 })
        } else {
            Err(E::custom("nested too deeply"))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(inner)? {
            if items.len() < MAX_ITEMS {
                items.push(item);
            }
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in an object"));
            }
        }
        Ok(Json::Object(members))
    }
}
