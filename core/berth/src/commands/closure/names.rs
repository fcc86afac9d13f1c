//! Nodes as people name them.

use berth_api::{Client, NodeRow};
use berth_model::NodePattern;

/// The nodes that somebody means: each by its whole name, or by a pattern of such names.
///
/// # Errors
/// When the server cannot be asked, or a name is nobody's or several nodes'.
pub async fn patterns(
    client: &Client,
    names: &[String],
    executor: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    let whole = |name: &String| name.contains('/') || executor.is_some();
    let nodes = if names.iter().all(whole) { Vec::new() } else { client.nodes().await? };
    meant(names, executor, &nodes).map_err(anyhow::Error::msg)
}

fn meant(names: &[String], executor: Option<&str>, nodes: &[NodeRow]) -> Result<Vec<String>, String> {
    if let (Some(executor), []) = (executor, names) {
        return checked(format!("{executor}/*")).map(|all| vec![all]);
    }
    names
        .iter()
        .map(|name| match (executor, name.contains('/')) {
            (Some(executor), false) => checked(format!("{executor}/{name}")),
            (Some(executor), true) if !name.starts_with(&format!("{executor}/")) => {
                Err(format!("{name} is no node of executor {executor}"))
            }
            (_, true) => checked(name.clone()),
            (None, false) => one(name, nodes),
        })
        .collect()
}

fn checked(name: String) -> Result<String, String> {
    name.parse::<NodePattern>().map(|_| name).map_err(|error| error.to_string())
}

/// The only node whose own name it is.
fn one(name: &str, nodes: &[NodeRow]) -> Result<String, String> {
    let own = |node: &&NodeRow| node.name.split_once('/').is_some_and(|(_, own)| own == name);
    let found: Vec<&str> = nodes.iter().filter(own).map(|node| node.name.as_str()).collect();
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(format!("there is no node {name}; `berth nodes` lists them")),
        several => Err(format!("{name} may be {}; say which", several.join(" or "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<NodeRow> {
        let row = |name: &&str| NodeRow {
            name: (*name).to_owned(),
            ..crate::commands::nodes::tests::sample().remove(0)
        };
        names.iter().map(row).collect()
    }

    fn read(names: &[&str], executor: Option<&str>) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        meant(&names, executor, &nodes(&["a/n1", "b/n1", "b/n2"]))
    }

    #[test]
    fn nodes_are_named_whole_by_their_own_name_or_with_their_executor() {
        assert_eq!(read(&["a/n1", "n2", "b/*"], None), Ok(vec!["a/n1".into(), "b/n2".into(), "b/*".into()]));
        assert_eq!(read(&["n1", "n*"], Some("b")), Ok(vec!["b/n1".into(), "b/n*".into()]));
        assert_eq!(read(&[], Some("b")), Ok(vec!["b/*".into()]));
    }

    #[test]
    fn who_names_nobody_or_several_is_told_so() {
        assert_eq!(read(&["n9"], None), Err("there is no node n9; `berth nodes` lists them".into()));
        assert_eq!(read(&["n1"], None), Err("n1 may be a/n1 or b/n1; say which".into()));
        assert_eq!(read(&["a/n1"], Some("b")), Err("a/n1 is no node of executor b".into()));
    }
}
