//! What `qhost -q -xml` says: hosts with their queues.

use std::collections::BTreeMap;

use berth_executor_api::{Node, NodeState, Resources};

use crate::{
    SgeConfig,
    xml::{Element, XmlError, parse},
};

/// What all hosts of one queue have.
#[derive(Debug, Default)]
struct Queue {
    slots: u64,
    memory_bytes: u64,
    /// How many of its instances take jobs, take no new ones, or are away.
    up: u32,
    closed: u32,
}

/// The cell's queues as nodes: SGE itself chooses the host.
pub(crate) fn nodes(text: &str, config: &SgeConfig) -> Result<Vec<Node>, XmlError> {
    let tree = parse(text)?;
    if tree.name != "qhost" {
        return Err(XmlError::Broken { words: format!("it is a {:?}", tree.name) });
    }
    let mut queues: BTreeMap<&str, Queue> = BTreeMap::new();
    for host in tree.children.iter().filter(|child| child.name == "host") {
        let memory = value(host, "hostvalue", "mem_total").and_then(bytes);
        for queue in host.children.iter().filter(|child| child.name == "queue") {
            let Some(name) = queue.attribute("name") else { continue };
            let wanted = config.queues.is_empty() || config.queues.iter().any(|wanted| wanted == name);
            // Only those that take batch jobs.
            let batch = value(queue, "queuevalue", "qtype_string").is_none_or(|kind| kind.contains('B'));
            if wanted && batch {
                queues.entry(name).or_default().add(queue, memory);
            }
        }
    }
    Ok(queues.into_iter().map(|(name, queue)| queue.node(name, config)).collect())
}

impl Queue {
    fn add(&mut self, instance: &Element, memory: Option<u64>) {
        let letters = value(instance, "queuevalue", "state_string").unwrap_or("");
        let slots = value(instance, "queuevalue", "slots").and_then(|slots| slots.parse().ok()).unwrap_or(0);
        // Unknown or in error: nobody can say that it is there. A host that says nothing is away, too.
        let Some(memory) = memory.filter(|_| !letters.contains(['u', 'E', 'c', 'o'])) else { return };
        self.slots += slots;
        self.memory_bytes = self.memory_bytes.saturating_add(memory);
        match letters.contains(['d', 'D', 's', 'S', 'C']) {
            true => self.closed += 1,
            false => self.up += 1,
        }
    }

    fn node(self, name: &str, config: &SgeConfig) -> Node {
        let more = |amount: u64| amount.saturating_add(amount.saturating_mul(config.backlog_percent) / 100);
        let state = match (self.up, self.closed) {
            (1.., _) => NodeState::Up,
            (0, 1..) => NodeState::Draining,
            (0, 0) => NodeState::Down,
        };
        let gpus = if config.gpu_complex.is_some() { more(u64::from(config.gpus)) } else { 0 };
        Node {
            name: name.to_owned(),
            total: Resources {
                cpu_millis: more(self.slots.saturating_mul(1000)),
                memory_bytes: more(self.memory_bytes),
                gpus: u32::try_from(gpus).unwrap_or(u32::MAX),
            },
            labels: [("queue".to_owned(), name.to_owned())].into(),
            state,
            named: BTreeMap::new(),
        }
    }
}

fn value<'a>(of: &'a Element, kind: &str, name: &str) -> Option<&'a str> {
    let is_it = |child: &&Element| child.name == kind && child.attribute("name") == Some(name);
    of.children.iter().find(is_it).map(|child| child.text.trim())
}

/// As in `23.5G`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.find(|letter: char| letter.is_ascii_alphabetic()) {
        Some(place) => text.split_at(place),
        None => (text, ""),
    };
    let unit: f64 = match unit {
        "" => 1.0,
        "K" => 1024.0,
        "M" => 1_048_576.0,
        "G" => 1_073_741_824.0,
        "T" => 1_099_511_627_776.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be an amount")]
    (number.is_finite() && number >= 0.0).then_some((number * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = include_str!("../tests/recorded/qhost.xml");

    #[test]
    fn queues_are_nodes_with_what_their_hosts_have() {
        let mut config = SgeConfig::new("c", "/none");
        let told = nodes(HOSTS, &config).unwrap();
        let names: Vec<_> = told.iter().map(|node| (node.name.as_str(), node.total.cpu_millis)).collect();
        assert_eq!(names, [("all.q", 8000), ("short.q", 1000)]);
        assert_eq!((told[0].total.memory_bytes >> 30, told[0].state), (23, NodeState::Up));
        assert_eq!(told[0].labels["queue"], "all.q");

        config.queues = vec!["short.q".into()];
        (config.backlog_percent, config.gpus, config.gpu_complex) = (300, 2, Some("gpu".into()));
        let told = nodes(HOSTS, &config).unwrap();
        assert_eq!((told.len(), told[0].total.cpu_millis, told[0].total.gpus), (1, 4000, 8));
    }

    #[test]
    fn closed_and_unknown_queues_take_nothing() {
        let config = SgeConfig::new("c", "/none");
        for (letters, state) in [("d", NodeState::Draining), ("au", NodeState::Down), ("a", NodeState::Up)] {
            let changed = HOSTS.replace("name='state_string'>", &format!("name='state_string'>{letters}"));
            assert_eq!(nodes(&changed, &config).unwrap()[0].state, state, "{letters}");
        }
        let away = HOSTS.replace("23.5G", "-");
        assert_eq!(nodes(&away, &config).unwrap()[0].state, NodeState::Down);
        assert!(nodes("<job_info></job_info>", &config).is_err());
    }

    #[test]
    fn amounts_have_their_units() {
        for (text, amount) in
            [("0.0", Some(0)), ("1.5K", Some(1536)), ("2G", Some(2 << 30)), ("-", None), ("1X", None)]
        {
            assert_eq!(bytes(text), amount, "{text}");
        }
    }
}
