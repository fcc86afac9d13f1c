//! Images, as the executors that run containers have them in berth.toml.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, ensure};
use berth_config::{KeyDoc, KeyKind};
use berth_docker_engine::{ImageRef, ImageRules, Registries, RegistryLogin};
use serde_json::Value;

/// What may stand in their table `images`.
pub fn keys() -> Vec<KeyDoc> {
    let texts = || KeyKind::List(Box::new(KeyKind::Text));
    vec![
        KeyDoc::new(
            "default",
            KeyKind::Text,
            "What jobs run in that name no image; without it they are refused.",
        ),
        KeyDoc::new("offered", texts(), "Images that everybody may use.").or("[]"),
        KeyDoc::new("others", KeyKind::Flag, "Whether users may name images that are not offered.")
            .or("true"),
        KeyDoc::new("allow", texts(), "Patterns with * of those others; any where there are none.").or("[]"),
        KeyDoc::new(
            "registry",
            KeyKind::Text,
            "A private registry, HOST[:PORT][/PATH], that stands before every name.",
        ),
        KeyDoc::new(
            "logins",
            KeyKind::Open,
            "By a registry's host and port: username, and password-file with an absolute path, which nobody else may read.",
        ),
        KeyDoc::new(
            "auth-file",
            KeyKind::File,
            "A file as docker login writes it, for registries without a login here.",
        ),
        KeyDoc::new(
            "user-logins",
            KeyKind::Flag,
            "Whether a job's image is pulled with its user's own login first, as docker login has stored it in ~/.docker/config.json on this machine. A Docker Engine then gives it to nobody else before a registry has, too; the nodes of a Swarm give what they have to everybody.",
        )
        .or("false"),
    ]
}

/// Which ones jobs may run in.
///
/// # Errors
/// When a name of an image or a registry is none.
pub fn rules(table: &Value) -> anyhow::Result<ImageRules> {
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    let image = |name: &str| name.parse::<ImageRef>();
    let offered = list(table, "offered").unwrap_or_default();
    let offered: Result<_, _> = offered.iter().map(|name| image(name)).collect();
    Ok(ImageRules {
        default: text("default").map(image).transpose().context("images.default")?,
        offered: offered.context("images.offered")?,
        others: table.get("others").and_then(Value::as_bool).unwrap_or(ImageRules::default().others),
        allow: list(table, "allow").unwrap_or_default(),
        prefix: text("registry").map(str::parse).transpose().context("images.registry")?,
    })
}

/// What registries want to hear.
///
/// # Errors
/// When a login is not complete.
pub fn registries(table: &Value) -> anyhow::Result<Registries> {
    let auth_file = table.get("auth-file").and_then(Value::as_str).map(Into::into);
    let logins = table.get("logins").and_then(Value::as_object);
    let logins = logins.into_iter().flatten().map(login).collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let user_logins = table.get("user-logins").and_then(Value::as_bool).unwrap_or(false);
    Ok(Registries { logins, auth_file, user_logins })
}

fn login((host, login): (&String, &Value)) -> anyhow::Result<(String, RegistryLogin)> {
    let text = |key: &str| login.get(key).and_then(Value::as_str);
    let known = login
        .as_object()
        .is_some_and(|keys| keys.keys().all(|key| matches!(key.as_str(), "username" | "password-file")));
    let (Some(username), Some(file), true) = (text("username"), text("password-file"), known) else {
        return Err(anyhow!(
            "images.logins.{host:?} has to have username and password-file, and nothing else"
        ));
    };
    ensure!(file.starts_with('/'), "images.logins.{host:?}: password-file needs an absolute path");
    Ok((host.clone(), RegistryLogin { username: username.to_owned(), password_file: file.into() }))
}

/// The texts of a list, where there is one.
pub(super) fn list(table: &Value, key: &str) -> Option<Vec<String>> {
    let all = table.get(key)?.as_array()?;
    Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_and_registries_are_read_key_by_key() {
        let table = json!({
            "default": "site/usual:1",
            "offered": ["site/other:2"],
            "others": false,
            "allow": ["hub/*"],
            "registry": "hub.site:5000",
            "logins": { "hub.site:5000": { "username": "u", "password-file": "/secrets/p" } },
            "auth-file": "/secrets/auth.json",
            "user-logins": true,
        });
        let rules = rules(&table).unwrap();
        assert_eq!(rules.default.as_ref().map(ImageRef::full).as_deref(), Some("site/usual:1"));
        assert_eq!(rules.offered.iter().map(ImageRef::full).collect::<Vec<_>>(), ["site/other:2"]);
        assert_eq!((rules.others, rules.allow), (false, vec!["hub/*".to_owned()]));
        assert!(rules.prefix.is_some());
        let registries = registries(&table).unwrap();
        assert_eq!(
            (registries.logins["hub.site:5000"].username.as_str(), registries.user_logins),
            ("u", true)
        );
        assert!(registries.auth_file.is_some_and(|path| path.ends_with("auth.json")));
        let usual = super::rules(&Value::Null).unwrap();
        assert!(usual.others && usual.default.is_none() && usual.offered.is_empty());
    }

    #[test]
    fn what_is_no_image_registry_or_login_is_refused_by_its_key() {
        for (table, part) in [
            (json!({ "default": "Not An Image" }), "images.default"),
            (json!({ "offered": ["site/good", "a b"] }), "images.offered"),
            (json!({ "registry": "nohost" }), "images.registry"),
            (json!({ "logins": { "h": { "username": "u" } } }), "password-file"),
            (json!({ "logins": { "h": { "username": "u", "password-file": "p" } } }), "absolute"),
        ] {
            let read = rules(&table).and_then(|_| registries(&table));
            let error = format!("{:#}", read.unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
