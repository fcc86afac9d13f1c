//! Quantities as the file has them: a text with a unit, or a bare number.

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use berth_model::{parse_bytes, parse_cpus, parse_disk, parse_duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Bytes on a disk, where letters stand for powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSize(pub u64);

/// A time span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// CPUs, in milli-cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub u64);

/// Permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

/// Reads permission bits as `chmod` does.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(digits, 8).ok().filter(|&bits| octal && bits <= 0o777)
}

/// A quantity that is read from text; numbers are read as they are written.
trait Quantity: Sized {
    const WHAT: &str;
    fn read(text: &str) -> Result<Self, String>;
    fn from_number(number: i64) -> Result<Self, String> {
        Self::read(&number.to_string())
    }
}

impl Quantity for Size {
    const WHAT: &str = "a size";
    fn read(text: &str) -> Result<Self, String> {
        parse_bytes(text).map(Self).map_err(|error| error.to_string())
    }
}

impl Quantity for DiskSize {
    const WHAT: &str = "a size on a disk";
    fn read(text: &str) -> Result<Self, String> {
        match parse_disk(text) {
            Ok(0) => Err("more than nothing is needed".to_owned()),
            read => read.map(Self).map_err(|error| error.to_string()),
        }
    }
}

impl Quantity for Span {
    const WHAT: &str = "a duration";
    fn read(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self).map_err(|error| error.to_string())
    }
}

impl Quantity for Cpus {
    const WHAT: &str = "a number of CPUs";
    fn read(text: &str) -> Result<Self, String> {
        parse_cpus(text).map(Self).map_err(|error| error.to_string())
    }
}

impl Quantity for Mode {
    const WHAT: &str = "permission bits";
    fn read(text: &str) -> Result<Self, String> {
        parse_mode(text).map(Self).ok_or_else(|| format!("{text:?} are no permission bits"))
    }
    fn from_number(number: i64) -> Result<Self, String> {
        // Berth's own TOML reader has seen to it that it was written in octal.
        u32::try_from(number).ok().filter(|&bits| bits <= 0o777).map(Self).ok_or("too many bits".to_owned())
    }
}

struct TextOrNumber<Q>(PhantomData<Q>);

impl<Q: Quantity> de::Visitor<'_> for TextOrNumber<Q> {
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Q::WHAT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Q, E> {
        Q::read(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Q, E> {
        Q::from_number(number).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Q, E> {
        Q::read(&number.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Q, E> {
        Q::read(&number.to_string()).map_err(E::custom)
    }
}

macro_rules! read_as_text_or_number {
    ($($quantity:ident, $format:literal, $types:tt;)*) => {$(
        impl<'de> Deserialize<'de> for $quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextOrNumber::<Self>(PhantomData))
            }
        }

        impl JsonSchema for $quantity {
            fn schema_name() -> Cow<'static, str> {
                stringify!($quantity).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $types, "format": $format })
            }
        }
    )*};
}

read_as_text_or_number! {
    Size, "size", ["string", "integer"];
    DiskSize, "disk-size", ["string", "integer"];
    Span, "duration", ["string", "integer"];
    Cpus, "cpus", ["string", "number"];
    Mode, "mode", ["string", "integer"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_bits_are_octal_however_they_are_written() {
        for (text, bits) in [("0660", 0o660), ("660", 0o660), ("0o600", 0o600), ("0", 0)] {
            assert_eq!(parse_mode(text), Some(bits), "{text}");
        }
        for wrong in ["", "0999", "1777", "rw", "-660", "+660"] {
            assert_eq!(parse_mode(wrong), None, "{wrong}");
        }
    }
}
