//! `[[resources]]`: named resources of the site and its nodes.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{NodePattern, Stock, parse_units, resource_name_fault, resource_variable};

use super::Check;
use crate::{
    checked::NamedResource,
    raw::{At, RawResource},
};

pub(super) fn resources(check: &mut Check<'_>, raw: &[At<RawResource>]) -> Vec<NamedResource> {
    let mut all: Vec<NamedResource> = Vec::with_capacity(raw.len());
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for entry in raw {
        let name = entry.name.value();
        if let Some(fault) = resource_name_fault(&name) {
            check.error(&entry.name.span(), fault, "call it something else");
        }
        let other = variables.entry(resource_variable(&name)).or_insert_with(|| name.clone());
        if *other != name {
            let message = format!("jobs would be told of {name:?} and {other:?} by the same variable");
            check.error(&entry.name.span(), message, "call this one something else");
        }
        let (stock, nodes, labels) = (stock(check, entry), nodes(check, entry), labels(check, entry));
        let resource = NamedResource { name, stock, nodes, labels };
        let of_site = |other: &NamedResource| other.is_of_site() || resource.is_of_site();
        if all.iter().any(|other| other.name == resource.name && of_site(other)) {
            let message = format!("{:?} is the whole site's and stands here twice", resource.name);
            check.error(&entry.name.span(), message, "call one of them something else");
        }
        all.push(resource);
    }
    all
}

fn stock(check: &mut Check<'_>, entry: &At<RawResource>) -> Stock {
    let name = entry.name.as_str();
    if let Some(device) = entry.devices.first().filter(|_| entry.units.is_none()) {
        let message = format!("resource {name:?} has devices and no units that they belong to");
        check.error(&device.span(), message, "say which units there are, such as units = \"0-1\"");
    }
    match (&entry.total, &entry.units) {
        (Some(total), None) => Stock::Sum(**total),
        (None, Some(units)) => {
            if entry.nodes.is_empty() && entry.labels.is_empty() {
                let message = format!("resource {name:?} has units and is on no node");
                check.error(
                    &units.span(),
                    message,
                    "say which nodes have them, such as nodes = [\"docker/*\"]",
                );
            }
            let devices = devices(check, entry);
            let numbers = parse_units(units).unwrap_or_else(|fault| {
                check.error(&units.span(), fault, "numbers of units");
                BTreeSet::new()
            });
            let of =
                |unit: u32| devices.iter().map(|path| path.replace("{unit}", &unit.to_string())).collect();
            Stock::Units(numbers.into_iter().map(|unit| (unit, of(unit))).collect())
        }
        (total, _) => {
            let message = match total {
                Some(_) => format!("resource {name:?} has both a total and units"),
                None => format!("resource {name:?} does not say how much of it there is"),
            };
            check.error(&entry.name.span(), message, "write total = 5, or units = \"0-1\"");
            Stock::Sum(0)
        }
    }
}

fn devices(check: &mut Check<'_>, entry: &RawResource) -> Vec<String> {
    for device in entry.devices.iter().filter(|path| !path.starts_with('/') || path.contains(['\0', ':'])) {
        let message = format!("{:?} is no path of a device file", **device);
        check.error(&device.span(), message, "write a whole path, such as /dev/nvidia{unit}");
    }
    entry.devices.iter().map(At::value).collect()
}

fn nodes(check: &mut Check<'_>, entry: &RawResource) -> Vec<NodePattern> {
    let mut patterns = Vec::with_capacity(entry.nodes.len());
    for text in &entry.nodes {
        match text.parse::<NodePattern>() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => check.error(&text.span(), error.to_string(), "such as docker/*"),
        }
    }
    patterns
}

fn labels(check: &mut Check<'_>, entry: &RawResource) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for text in &entry.labels {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                labels.insert(name.to_owned(), value.to_owned());
            }
            _ => check.error(&text.span(), format!("{:?} is no label", **text), "write NAME=VALUE"),
        }
    }
    labels
}
