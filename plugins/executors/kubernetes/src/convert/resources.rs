//! Amounts as Kubernetes writes them.

use std::collections::BTreeMap;

use berth_executor_api::LaunchSpec;
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::{KubernetesConfig, options::Options};

/// Requests and limits of the job's container.
pub(super) fn resources(
    spec: &LaunchSpec,
    options: &Options,
    config: &KubernetesConfig,
) -> ResourceRequirements {
    let asked = spec.resources;
    let mut requests = BTreeMap::from([("cpu".to_owned(), Quantity(format!("{}m", asked.cpu_millis)))]);
    let mut limits = BTreeMap::new();
    if spec.enforce_cpu && asked.cpu_millis > 0 {
        limits.insert("cpu".to_owned(), Quantity(format!("{}m", asked.cpu_millis)));
    }
    let mut both = |name: &str, count: String| {
        requests.insert(name.to_owned(), Quantity(count.clone()));
        limits.insert(name.to_owned(), Quantity(count));
    };
    if asked.memory_bytes > 0 {
        both("memory", asked.memory_bytes.to_string());
    }
    // What a node has of other things cannot be shared, and limits have to be what is requested.
    let mut others = options.resources.clone();
    if asked.gpus > 0 {
        *others.entry(config.gpu_resource.clone()).or_default() += u64::from(asked.gpus);
    }
    for (name, count) in others {
        both(&name, count.to_string());
    }
    if spec.scratch_bytes > 0 {
        requests.insert("ephemeral-storage".to_owned(), Quantity(spec.scratch_bytes.to_string()));
    }
    let limits = (!limits.is_empty()).then_some(limits);
    ResourceRequirements { requests: Some(requests), limits, ..ResourceRequirements::default() }
}

/// A quantity in thousandths; `None` for what makes no sense.
fn thousandths(quantity: &Quantity) -> Option<u128> {
    let text = quantity.0.trim();
    let number = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(number);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // Nine places are the finest that there are.
    let nine = format!("{part:0<9}");
    let nanos: u128 = nine.get(..9)?.parse().ok()?;
    let nanos = whole.parse::<u128>().ok().or(whole.is_empty().then_some(0))? * 1_000_000_000 + nanos;
    let (factor, divisor): (u128, u128) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        power => {
            let power: i32 = power.strip_prefix(['e', 'E'])?.parse().ok()?;
            let tens = 10_u128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, tens) } else { (tens, 1) }
        }
    };
    nanos.checked_mul(factor).map(|nanos| nanos / divisor / 1_000_000)
}

/// Milli-cores; nothing for what makes no sense.
pub(crate) fn millis_of(quantity: &Quantity) -> u64 {
    thousandths(quantity).and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0)
}

/// Bytes, or a count of things; nothing for what makes no sense.
pub(crate) fn bytes_of(quantity: &Quantity) -> u64 {
    thousandths(quantity).and_then(|millis| u64::try_from(millis / 1000).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_all_their_forms() {
        let of = |text: &str| Quantity(text.to_owned());
        for (text, millis) in
            [("4", 4000), ("250m", 250), ("0.5", 500), ("1e1", 10_000), ("1500u", 1), ("-1", 0), ("x", 0)]
        {
            assert_eq!(millis_of(&of(text)), millis, "{text}");
        }
        for (text, bytes) in [
            ("16Gi", 16 << 30),
            ("1.5Ki", 1536),
            ("2M", 2_000_000),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("128974848000m", 128_974_848),
            ("7Ei", 7 << 60),
            ("", 0),
            ("1Zi", 0),
        ] {
            assert_eq!(bytes_of(&of(text)), bytes, "{text}");
        }
    }
}
